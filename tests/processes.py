"""Which processes run: from /proc where there is one, since a small Debian has no `ps`."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    pid: int
    state: str  # Z: it has ended and waits to be reaped
    args: str


def running() -> list[Process]:
    """All processes that have not ended."""
    found = _from_proc() if Path("/proc/self/stat").exists() else _from_ps()
    return [process for process in found if process.state != "Z"]


def _from_proc() -> list[Process]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            args = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        found.append(Process(int(folder.name), state, args))
    return found


def _from_ps() -> list[Process]:
    shown = subprocess.run(["ps", "-axo", "pid=,state=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in shown.splitlines())
    return [Process(int(row[0]), row[1][0], row[2]) for row in rows if len(row) == 3]
