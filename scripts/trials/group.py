"""A control group that limits memory, as a container's does, of either version."""

import contextlib
import os
import re
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class Group:
    """Raises `OSError` where this machine gives none."""

    def __init__(self, megabytes: int):
        self.is_first_version = (ROOT / "memory").is_dir()
        parent = ROOT / "memory" if self.is_first_version else ROOT
        if not self.is_first_version and "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            (parent / "cgroup.subtree_control").write_text("+memory")
        self.directory = parent / f"heare-auth-{os.getpid()}"
        self.directory.mkdir()
        self._file("memory.limit_in_bytes", "memory.max").write_text(str(megabytes << 20))

    def around(self, command: list[str]) -> list[str]:
        """The same command, in the group from its first page on."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.directory / "cgroup.procs"), *command]

    def has_killed(self) -> bool:
        events = self._file("memory.oom_control", "memory.events").read_text()
        return not re.search(r"^oom_kill 0$", events, re.MULTILINE)

    def peak_mib(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int(self._file("memory.max_usage_in_bytes", "memory.peak").read_text()) >> 20
        return None

    def remove(self) -> None:
        """Once nothing is in it."""
        self.directory.rmdir()

    def _file(self, first: str, second: str) -> Path:
        return self.directory / (first if self.is_first_version else second)
