"""A server under measurement: started on one core, watched through /proc, ended for certain."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1 if (os.cpu_count() or 1) > 1 else 0
TICKS = os.sysconf("SC_CLK_TCK")

_running: list["Process"] = []


def version_of(binary: Path) -> str:
    """What it says of itself: version, commit and date."""
    return subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True).stdout.strip()


class Process:
    """Its own session, so that the whole tree can be ended together."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path, stdout: Path, core: int):
        stdout.parent.mkdir(parents=True, exist_ok=True)
        # Appending, so that the file can be emptied between rounds while it is written.
        with open(stdout, "ab") as out, open(stdout.with_suffix(".err"), "ab") as errors:
            self.child = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
        self.pid = self.child.pid
        self.errors = stdout.with_suffix(".err")
        _running.append(self)

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree, children that ended included."""
        ticks = sum(sum(int(field) for field in _stat(pid)[11:13]) for pid in self.tree())
        ended = sum(int(field) for field in _stat(self.pid)[13:15])
        return (ticks + ended) / TICKS

    def memory_kib(self) -> int:
        """Resident memory of the whole tree, pages shared by several processes counted once (PSS)."""
        return sum(_memory_line(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in self.tree())

    def resident_kib(self) -> int:
        """Resident memory of the first process alone, as `ps` shows it (RSS)."""
        return _memory_line(Path(f"/proc/{self.pid}/status"), "VmRSS:")

    def peak_kib(self) -> int:
        """The most that the first process ever had resident."""
        return _memory_line(Path(f"/proc/{self.pid}/status"), "VmHWM:")

    def tree(self) -> list[int]:
        parents = {pid: int(fields[1]) for pid in _all_pids() if (fields := _stat(pid))}
        tree = [self.pid]
        for pid in tree:
            tree.extend(child for child, parent in parents.items() if parent == pid)
        return tree

    def is_running(self) -> bool:
        return self.child.poll() is None

    def stop(self, patience: float = 15.0) -> None:
        if self in _running:
            _running.remove(self)
        if self.is_running():
            self.child.terminate()
        try:
            self.child.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def stop_all() -> None:
    while _running:
        _running[-1].stop(patience=3)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(process: Process, port: int, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not process.is_running():
            raise SystemExit(f"{process.child.args} ended at once:\n{process.errors.read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.001)
    raise SystemExit(f"{process.child.args} does not answer on its port")


def core_seconds(core: int) -> float:
    """How long the core has worked for anybody, the hypervisor's other guests included."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _waiting, interrupts, softirq, stolen = (int(field) for field in line.split()[1:9])
    return (user + nice + system + interrupts + softirq + stolen) / TICKS


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, or nothing if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _memory_line(path: Path, name: str) -> int:
    lines = (line for line in path.read_text().splitlines() if line.startswith(name))
    return sum(int(line.split()[1]) for line in lines)
