"""A child program: run it, read what it says, and always get it back, with everything it started."""

import codecs
import contextlib
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

GRACE = 2.0  # seconds between asking a group to end and ending it
TICK = 0.05  # seconds at most until the end of a silent program is noticed
TAIL_LINES, TAIL_CHARS = 60, 8000
LINE_CHARS = 65_536  # a longer line is handed on in pieces
LOG_CHARS = 256 * 2**20  # a program that prints for ever must not fill the disk
CHUNK = 65_536  # bytes a read
PIPE_BYTES = 2**20  # the most a pipe can still hold when its writer is gone
LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")  # a last \r waits: it may be half of \r\n


@dataclass(frozen=True)
class Limits:
    """What one process may use: bytes of private memory, bytes of one file; it never dumps core."""

    memory_bytes: int | None = None
    file_bytes: int | None = None


@dataclass(frozen=True)
class Finished:
    """A program that is no longer running; `tail` is the end of stdout and stderr together."""

    argv: tuple[str, ...]
    returncode: int  # negative: the signal that ended it
    seconds: float
    tail: str
    timed_out: bool

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and without complaint."""
        return self.returncode == 0 and not self.timed_out


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    timeout: float,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
    limits: Limits | None = None,
    on_start: Callable[[int], None] | None = None,
) -> Finished:
    """Run a program in a process group of its own until it ends or `timeout` seconds have passed.

    Nothing of its group is left running afterwards, whichever way this function is left. All output goes
    to `log` as it comes, and line by line to `on_line`, in the calling thread. `on_start` is told the pid.
    Raises FileNotFoundError where the program is missing; whatever `on_line` raises ends the program.
    """
    argv = tuple(os.fspath(part) for part in argv)
    locate(argv[0], cwd, env)
    start = time.monotonic()
    with _Output(log, on_line) as output:
        child = subprocess.Popen(
            _limited(argv, limits), cwd=cwd, env=env, pass_fds=pass_fds, bufsize=0, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            stack.callback(_kill, child)
            if on_start:
                on_start(child.pid)
            timed_out = not _follow(child, output, start + timeout)
            if timed_out:
                _signal(child.pid, signal.SIGTERM)
                _follow(child, output, time.monotonic() + GRACE)
            _signal(child.pid, signal.SIGKILL)
            _drain(child, output)
        output.finish()
    return Finished(argv, child.returncode, time.monotonic() - start, output.tail, timed_out)


def locate(program: str, cwd: Path, env: Mapping[str, str] | None = None) -> Path:
    """The file behind a program's name, as seen from `cwd` with the PATH of `env`; else FileNotFoundError."""
    path = (os.environ if env is None else env).get("PATH", os.defpath)
    name = str(cwd / program) if os.sep in program else program
    if found := shutil.which(name, path=path):
        return Path(found)
    cure = "give the path of an executable file" if os.sep in program else "install it, or add it to PATH"
    raise FileNotFoundError(f"cannot run {program!r}: no such program; {cure}")


def identity(pid: int) -> str:
    """When a process started, on which boot of which machine; empty when there is none of that number."""
    if sys.platform != "linux":
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return asked.stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # Field 22 counts from the boot, so that belongs to it. Field 2, the name, may hold spaces, brackets.
    ticks = stat.rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip() if boot.exists() else ''}/{ticks}"


def stop(pid: int, started: str) -> bool:
    """Kill the group of a child that an earlier, killed run left behind; True where there was one.

    Nothing is signalled unless `pid` still is the process that `identity` described as `started`.
    """
    if pid <= 1 or not started or identity(pid) != started:
        return False
    if os.getpgid(pid) != pid or pid == os.getpgrp():
        return False  # a child of ours led a group, and not the one we are in
    _signal(pid, signal.SIGKILL)
    end = time.monotonic() + GRACE
    while time.monotonic() < end and identity(pid) == started and not _is_zombie(pid):
        time.sleep(TICK / 5)
    return True


class _Output:
    """What a program prints: the whole of it into a log, its lines to a listener, its end kept."""

    def __init__(self, log: Path | None, on_line: Callable[[str], None] | None) -> None:
        self._log = None
        if log:
            log.unlink(missing_ok=True)  # never through a link that the program may have put there
            self._log = log.open("x", encoding="utf-8", newline="")
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._room = LOG_CHARS
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._log:
            self._log.close()

    @property
    def tail(self) -> str:
        return "\n".join(self._lines)[-TAIL_CHARS:]

    def feed(self, data: bytes, final: bool = False) -> None:
        text = self._decoder.decode(data, final)
        self._write(text)
        self._pending += text
        start = 0
        for end in LINE_END.finditer(self._pending):
            self._hand_on(self._pending[start : end.start()], keep=end[0] != "\r")  # a bar overwrites itself
            start = end.end()
        self._pending = self._pending[start:]
        while len(self._pending) > LINE_CHARS:
            self._hand_on(self._pending[:LINE_CHARS])
            self._pending = self._pending[LINE_CHARS:]

    def finish(self) -> None:
        self.feed(b"", final=True)
        if rest := self._pending.rstrip("\r"):
            self._hand_on(rest)

    def _hand_on(self, line: str, keep: bool = True) -> None:
        if keep:
            self._lines.append(line[-TAIL_CHARS:])
        if self._on_line and (keep or line):
            self._on_line(line)

    def _write(self, text: str) -> None:
        if not self._log or self._room <= 0:
            return
        self._log.write(text[: self._room])
        self._room -= len(text)
        if self._room <= 0:
            self._log.write(f"\n[the log ends here: the program printed more than {LOG_CHARS} characters]\n")
        self._log.flush()


def _limited(argv: Sequence[str], limits: Limits | None) -> Sequence[str]:
    """The command that sets the limits and becomes `argv`.

    A shell does it, because code between fork and exec (`preexec_fn`) can deadlock where there are threads.
    """
    if limits is None:
        return argv
    steps = ["ulimit -c 0"]
    if limits.file_bytes is not None:
        steps.append(f"ulimit -f {_allowed(limits.file_bytes, resource.RLIMIT_FSIZE) // 512}")
    if limits.memory_bytes is not None:
        if sys.platform != "linux":
            raise ValueError("this system cannot limit a program's memory; leave memory_bytes unset")
        # RLIMIT_DATA and not the address space: CUDA reserves far more addresses than it ever uses.
        steps.append(f"ulimit -d {_allowed(limits.memory_bytes, resource.RLIMIT_DATA) // 1024}")
    return ["/bin/sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh", *argv]


def _allowed(value: int, kind: int) -> int:
    hard = resource.getrlimit(kind)[1]  # raising a hard limit is forbidden, a lower one holds anyway
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _follow(child: subprocess.Popen[bytes], output: _Output, deadline: float) -> bool:
    """Read until the child has ended (True) or the deadline has passed (False).

    The end of the child counts, not the end of its output: a grandchild may hold the pipe open.
    """
    assert child.stdout
    os.set_blocking(child.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.get_map():
                time.sleep(min(left, TICK / 5))
            elif selector.select(min(left, TICK)) and not _read(child, output):
                selector.unregister(child.stdout)
            if _has_ended(child):
                return True
    return False


def _read(child: subprocess.Popen[bytes], output: _Output) -> int:
    """Pass on what is there; the number of bytes, 0 at the end of the output."""
    assert child.stdout
    data = os.read(child.stdout.fileno(), CHUNK)
    output.feed(data)
    return len(data)


def _drain(child: subprocess.Popen[bytes], output: _Output) -> None:
    """Read what the pipe still holds, and no more: a program that left the group may print for ever."""
    left = PIPE_BYTES
    with contextlib.suppress(BlockingIOError):
        while left > 0 and (count := _read(child, output)):
            left -= count


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended; it stays a zombie, so that its group's number is not given to another."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return child.poll() is not None
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:
        _signal(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout
    child.stdout.close()


def _signal(group: int, number: signal.Signals) -> None:
    # Gone already, or (macOS says "not permitted") only zombies are left of it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
