"""Telnet as RFC 2217 needs it: tells data from commands, and puts both on a line.

Facts: RFC 854 (commands), RFC 855 (subnegotiations).
"""

import re
from dataclasses import dataclass

IAC, SUBNEGOTIATION, SUBNEGOTIATION_END = b"\xff", b"\xfa", b"\xf0"
WILL, WONT, DO, DONT = b"\xfb", b"\xfc", b"\xfd", b"\xfe"

TOKEN = re.compile(
    rb"(?P<data>[^\xff]+)|\xff(?:"
    rb"(?P<doubled>\xff)"
    rb"|(?P<verb>[\xfb-\xfe])(?P<option>.)"
    rb"|\xfa(?P<content>(?:[^\xff]|\xff\xff)*)\xff\xf0"
    rb"|[^\xfa-\xff])",
    re.DOTALL,
)


@dataclass(frozen=True)
class Command:
    """A command of the other side; `raw` is what came over the line.

    Attributes:
        verb: WILL, WONT, DO, DONT, SUBNEGOTIATION, or empty for any other.
        content: the option, and in a subnegotiation what follows it.
    """

    verb: bytes
    content: bytes
    raw: bytes


class Parser:
    """Takes a line apart; pieces may end anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes | Command]:
        """Data and commands that are whole now, in order."""
        line, at = self._rest + piece, 0
        found: list[bytes | Command] = []
        while token := TOKEN.match(line, at):
            found.append(_meaning(token))
            at = token.end()
        self._rest = line[at:]
        return found


def _meaning(token: re.Match[bytes]) -> bytes | Command:
    if data := token["data"] or token["doubled"]:
        return data
    if token["verb"]:
        return Command(token["verb"], token["option"], token[0])
    if token["content"] is not None:
        return Command(SUBNEGOTIATION, _halved(token["content"]), token[0])
    return Command(b"", b"", token[0])


def doubled(data: bytes) -> bytes:
    """Data as it goes over the line."""
    return data.replace(IAC, IAC + IAC)


def _halved(data: bytes) -> bytes:
    return data.replace(IAC + IAC, IAC)


def subnegotiation(content: bytes) -> bytes:
    """A subnegotiation as it goes over the line."""
    return IAC + SUBNEGOTIATION + doubled(content) + IAC + SUBNEGOTIATION_END
