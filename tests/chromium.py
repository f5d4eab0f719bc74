"""A browser for tests: Chromium without a window, led over its debugging protocol.

`with chromium() as browser:` and `browser.open(url)`; `browser.asked` has every address that it was about to ask.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

#: How long whatever is waited for may take on a busy machine.
PATIENCE = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class Browser:
    """One tab. `asked` has the addresses of all requests and sockets, `complaints` what its console and its policies said."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.numbers = itertools.count(1)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something, and what it answers."""
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv(PATIENCE))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.asked.append(told["url"])
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression in the page is true."""
        until = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < until, (script, self.complaints, self.run("document.body.innerText"))
            time.sleep(0.1)

    def open(self, url: str, *, wait_for: str = "document.readyState === 'complete'") -> None:
        """Go to a page, as if its address was typed."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href.split('#')[0] === {json.dumps(url.partition('#')[0])} && ({wait_for})")

    def size(self, width: int, height: int) -> None:
        """Be as large as some device."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def dark(self, dark: bool) -> None:
        """Prefer dark pages."""
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=wanted)

    def press(self, key: str, code: int, *, control: bool = False) -> None:
        """Press a key, and let it go."""
        for event in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=event, key=key, code=key, windowsVirtualKeyCode=code, modifiers=2 if control else 0
            )

    def write(self, text: str) -> None:
        """Write where the cursor stands."""
        self.call("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """What is seen."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def program() -> str:
    """Where Chromium is. It fails where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, f"none of {', '.join(NAMES)} is on PATH"
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ordergraph-", ignore_cleanup_errors=True) as profile:
        command = [program(), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stderr is not None
                line = ""
                for line in process.stderr:
                    if "DevTools listening on" in line:
                        break
                found = re.search(r"ws://([^/]+)/", line)
                assert found, "Chromium did not come up"
                with urlopen(f"http://{found[1]}/json/list", timeout=PATIENCE) as answer:
                    page = next(each for each in json.load(answer) if each["type"] == "page")
                with connect(
                    page["webSocketDebuggerUrl"], max_size=None, open_timeout=PATIENCE, ping_interval=None, compression=None
                ) as connection:
                    yield Browser(connection)
            finally:
                process.terminate()
                process.wait(PATIENCE)
