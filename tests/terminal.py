"""Types a line into a shell on a real terminal, presses TAB, and prints what the line has become.

Arguments: the file of the completions, the text to type, and the shell's own command.
"""

import os
import pty
import select
import sys
import time

MARK = "become:"
PATIENCE = 30


class Terminal:
    """The other end of a shell's terminal."""

    def __init__(self, shell):
        child, self.file = pty.fork()
        if child == 0:
            os.execvp(shell[0], shell)
        self.read = b""

    def type(self, text):
        os.write(self.file, text.encode())

    def wait_for(self, end):
        """Reads until that was written, and gives what came before it."""
        deadline = time.monotonic() + PATIENCE
        while end.encode() not in self.read:
            ready, _, _ = select.select([self.file], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                sys.exit(f"waited in vain for {end!r} in {self.read!r}")
            self.read += os.read(self.file, 4096)
        before, self.read = self.read.split(end.encode(), 1)
        return before.decode()


def main():
    script, typed, *shell = sys.argv[1:]
    terminal = Terminal(shell)
    # The sums are in what comes out and not in what is typed, so an echo is not taken for an answer.
    terminal.type(f". {script}; echo begun$((1 + 1))\n")
    terminal.wait_for("begun2")
    terminal.type(f"{typed}\t")
    # Back to the line's begin: what was completed becomes the words of an echo.
    terminal.type(f"\x01echo {MARK}$((1 + 1)) \n")
    terminal.wait_for(f"{MARK}2 ")
    print(terminal.wait_for("\n").strip())


main()
