"""Drives headless Chromium, over its own debugging pipe: browser.py CHROMIUM PROFILE, with steps on stdin.

Each line is one step, a JSON object with one member, and is answered by one line: {"said": …}, or {"failed": …}.
{"open": URL}, {"ask": JavaScript}, {"keys": ["Tab", "a text"]}, {"size": [width, height]}, {"scheme": "dark"},
{"allow": PERMISSION}, {"picture": FILE}, {"errors": null} for what the console showed so far, {"run": FILE of JavaScript}.
"""

import base64
import json
import os
import subprocess
import sys

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
]


# The number that Windows has for a key, what it types, and whether Shift is held.
KEYS = {
    "Tab": (9, "", 0), "Shift+Tab": (9, "", 8), "Enter": (13, "\r", 0), "Escape": (27, "", 0), "Space": (32, " ", 0),
    "ArrowRight": (39, "", 0), "ArrowDown": (40, "", 0),
}


class Browser:
    def __init__(self, program, profile):
        to_browser, own_out = os.pipe()
        own_in, from_browser = os.pipe()

        def connect():
            # First away from the numbers that the browser wants, which may be taken by these very pipes.
            ends = [os.dup(to_browser), os.dup(from_browser)]
            while min(ends) < 5:
                ends = [os.dup(end) for end in ends]
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, close_fds=False, preexec_fn=connect,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.out, self.read = own_out, os.fdopen(own_in, "rb")
        self.number, self.session, self.console = 0, None, []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def next(self):
        message = bytearray()
        while (byte := self.read.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser is gone")
            message += byte
        event = json.loads(message)
        kind, told = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.console.append(told["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.console.append(told["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(told["args"]))
        return event

    def open(self, url):
        self.call("Page.navigate", url=url)
        while self.next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def run(self, file):
        with open(file) as script:
            self.ask(f"{script.read()};0")

    def keys(self, keys):
        """Each is pressed as by a hand; what is no name of a key is a text that is typed."""
        for key in keys:
            if key not in KEYS:
                self.call("Input.insertText", text=key)
                continue
            code, text, shift = KEYS[key]
            pressed = {"key": key.removeprefix("Shift+"), "code": key.removeprefix("Shift+"), "windowsVirtualKeyCode": code, "modifiers": shift}
            if text:
                pressed["text"] = text
            self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **{name: value for name, value in pressed.items() if name != "text"})

    def allow(self, permission):
        session, self.session = self.session, None
        self.call("Browser.grantPermissions", permissions=[permission])
        self.session = session

    def errors(self, _):
        self.ask("0")
        return self.console

    def size(self, size):
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=size[0] < 600)

    def scheme(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, file):
        with open(file, "wb") as drawn:
            drawn.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


def main():
    browser = Browser(*sys.argv[1:3])
    try:
        for line in sys.stdin:
            (what, argument), = json.loads(line).items()
            try:
                answer = {"said": getattr(browser, what)(argument)}
            except RuntimeError as error:
                answer = {"failed": str(error)}
            print(json.dumps(answer), flush=True)
    finally:
        browser.process.kill()
        browser.process.wait()


main()
