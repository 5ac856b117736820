"""A headless Chromium, spoken to over two pipes in the DevTools protocol.

The browser reads messages on file descriptor 3 and writes on 4, each JSON and ended
by a zero byte (``--remote-debugging-pipe``), so that no port is opened and nothing
but the standard library is needed.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
    *("--disable-dev-shm-usage", "--force-device-scale-factor=1"),
)
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes where the browser expects them, and becomes it."""

WAIT_S = 120
"""The browser gives up by itself long before; a busy machine may need it."""


class Browser:
    """One tab. ``events`` are the protocol's, in the order they came."""

    def __init__(self, to: int, back: IO[bytes]) -> None:
        self._to, self._back = to, back
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"})
        attach = {"targetId": target["targetId"], "flatten": True}
        self._session = self._ask("Target.attachToTarget", attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """The result of one command to the tab."""
        return self._ask(method, parameters, self._session)

    def open(self, path: Path, scheme: str, width: int = 1120) -> None:
        """Show a file, "light" or "dark", and wait until it is loaded."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self.events.append(self._read())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, as JSON can hold it."""
        done = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"]["value"]

    def screenshot(self, path: Path) -> bytes:
        """The whole page as a PNG, written to a file too."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return data

    def _ask(self, method: str, parameters: Any, session: str | None = None) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._back.fileno(), 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile folder of its own, gone at the end."""
    assert CHROMIUM is not None
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read_in, write_out)]
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, theirs), *command],
        pass_fds=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (read_in, write_out, *theirs):
        os.close(end)
    try:
        with os.fdopen(read_out, "rb") as back:
            yield Browser(write_in, back)
    finally:
        os.close(write_in)  # which ends it
        try:
            process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()
