"""A page in headless Chromium, driven over its debugging pipe: real keys, clicks and screens, without a package."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str:
    """The browser of this machine; where there is none the test is skipped, or fails if ``RELSPLIT_BROWSER`` is set."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        required = os.environ.get("RELSPLIT_BROWSER")
        assert not required, f"there is no browser: install {NAMES[0]}, a package of Debian and Ubuntu"
        pytest.skip("no Chromium or Chrome on this machine")
    return found


class Tab:
    """A page that is open.

    Attributes:
        errors: what the page has thrown, and what it has written to the console as an error.
    """

    def __init__(self, sending: int, receiving: int) -> None:
        self._out = os.fdopen(sending, "wb", buffering=0)
        self._in = os.fdopen(receiving, "rb")
        self._number = 0
        self._session: str | None = None
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """What a command of the DevTools protocol returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has ended"
            content += byte
        answer: dict[str, Any] = json.loads(content)
        given = answer.get("params", {})
        if answer.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(given["exceptionDetails"].get("exception", given["exceptionDetails"])))
        if answer.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(given["entry"]["text"])
        return answer

    def screen(self, width: int, height: int = 900, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        while not self.run(f"new Promise(done => setTimeout(() => done(Boolean({condition})), 20))"):
            pass

    def press(self, key: str, shift: bool = False) -> None:
        given: dict[str, Any] = {"key": key, "modifiers": 8 if shift else 0}
        if len(key) == 1:
            given["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **{**given, "text": ""})

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened() -> Iterator[Tab]:
    """An empty page in a browser of its own, which ends with the context."""
    program = browser()
    (its_in, sending), (receiving, its_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # Chromium reads commands from descriptor 3 and answers on 4.
        script = f'exec 3<&{its_in} 4>&{its_out}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *options],
            pass_fds=(its_in, its_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(its_in)
        os.close(its_out)
        try:
            yield Tab(sending, receiving)
        finally:
            process.terminate()
            process.wait()
