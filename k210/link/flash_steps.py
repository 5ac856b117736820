"""Flash steps over the link, many under way at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from k210.board import Done, Erase, FlashStep, Program
from k210.errors import UserError
from k210.link.client import Link, Op, Reply
from k210.link.speed import Speed

MAX_STEPS = 48
STEPS_AHEAD = 1 << 16
"""Bytes of steps that wait for the line: more than it carries while a block is erased.
"""

MD5_SIZE = 16


class FlashSteps:
    """Steps on a board's flash, done in order.

    Args:
        link: the link.
        speed: its rate.
        checked: gives what an answer holds, or raises what it says.
    """

    def __init__(
        self, link: Link, speed: Speed, checked: Callable[[Reply], bytes]
    ) -> None:
        self._link, self._speed, self._checked = link, speed, checked
        self._asked: deque[FlashStep] = deque()

    def run(self, steps: Iterable[FlashStep]) -> Iterator[Done]:
        """Do them, giving each when it is done; see ``k210.board.Flash.flash_run``."""
        for step in steps:
            self._submit(step)
            self._asked.append(step)
            while self._asked and (
                len(self._asked) >= MAX_STEPS or self._link.backlog > STEPS_AHEAD
            ):
                yield self._finish_one()
        while self._asked:
            yield self._finish_one()

    def _submit(self, step: FlashStep) -> None:
        place = step.address.to_bytes(4, "little")
        if isinstance(step, Program):
            self._link.submit(Op.FLASH_WRITE, place + step.data)
        else:
            op = Op.FLASH_ERASE if isinstance(step, Erase) else Op.FLASH_SECTORS
            self._link.submit(op, place + step.length.to_bytes(4, "little"))

    def _finish_one(self) -> Done:
        """The result of the oldest step."""
        if self._link.lossy:
            self._slow_down()
        try:
            data = self._checked(self._link.result())
        except UserError:
            self._drop_results()
            raise
        digests = (data[at : at + MD5_SIZE] for at in range(0, len(data), MD5_SIZE))
        return self._asked.popleft(), tuple(digests)

    def _slow_down(self) -> None:
        """Lower the rate and ask again.

        A new session makes the board drop what it has not done yet; to do a step twice
        does no harm.
        """
        if self._speed.down():
            for step in self._asked:
                self._submit(step)

    def _drop_results(self) -> None:
        """After a refusal, take the answers to what else was asked."""
        while self._link.waiting:
            self._link.result()
