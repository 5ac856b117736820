"""Virtual time: what the program of the virtual board takes for the time of day.

One tick is one cycle of the 400 MHz core. Time goes on with the instructions that
the core executes, at a stated number of cycles each, and with what a peripheral adds
or a wait skips; it never follows the host's clock, so a run repeats itself exactly.
"""

import heapq
from collections.abc import Callable
from itertools import count

HZ = 400_000_000
CYCLES_PER_4_INSTRUCTIONS = 5
"""1.25 cycles an instruction: a guess at an in-order core with warm caches."""


def ticks(seconds: float) -> int:
    """The ticks in a time."""
    return round(seconds * HZ)


class Clock:
    """The time, and what is to happen at a given time.

    Args:
        instructions: gives the number of instructions executed so far.

    Attributes:
        on_schedule: called when there is a new event to be on time for.
    """

    def __init__(self, instructions: Callable[[], int]) -> None:
        self._instructions = instructions
        self._added = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self.on_schedule: Callable[[], None] = lambda: None

    @property
    def now(self) -> int:
        """Ticks since power-on."""
        return self._instructions() * CYCLES_PER_4_INSTRUCTIONS // 4 + self._added

    @property
    def seconds(self) -> float:
        """Seconds since power-on."""
        return self.now / HZ

    def spend(self, amount: int) -> None:
        """Let so many ticks pass at once, for work that no instruction does."""
        self._added += amount

    def skip_to(self, time: int) -> None:
        """Go on to a time, unless it is past: what a wait comes to."""
        self._added += max(0, time - self.now)

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Have an action done at a time, or soon after it."""
        heapq.heappush(self._events, (time, next(self._order), action))
        self.on_schedule()

    def expect(self, time: int) -> None:
        """Say that something under way ends at a time: a wait is not for outside."""
        self.at(time, lambda: None)

    @property
    def next_event(self) -> int | None:
        """When the next action is due."""
        return self._events[0][0] if self._events else None

    def run_due(self) -> None:
        """Do all actions whose time has come."""
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()

    def clear(self) -> None:
        """Forget all actions, as at a reset."""
        self._events.clear()

    def instructions_until(self, time: int) -> int:
        """How many instructions fit before a time, at least one."""
        return max(1, (time - self.now) * 4 // CYCLES_PER_4_INSTRUCTIONS)
