"""Programs are run, read, and brought back with everything that they started."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import running

from kit import process


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-u", "-c", code]


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    return any(process.pid == pid for process in running())


@pytest.mark.parametrize("code", [0, 1, 7])
def test_exit_code_is_handed_on(tmp_path: Path, code: int) -> None:
    finished = process.run(python(f"raise SystemExit({code})"), cwd=tmp_path, timeout=20)
    assert finished.returncode == code
    assert finished.ok == (code == 0)
    assert not finished.timed_out


def test_output_reaches_log_listener_and_tail(tmp_path: Path) -> None:
    code = "import sys\nfor i in range(1000): print(i, file=sys.stderr if i % 2 else sys.stdout)"
    lines: list[str] = []
    log = tmp_path / "log.txt"
    finished = process.run(python(code), cwd=tmp_path, timeout=20, log=log, on_line=lines.append)
    assert lines == [str(i) for i in range(1000)]
    assert log.read_text() == "".join(f"{i}\n" for i in range(1000))
    assert finished.tail.splitlines() == lines[-process.TAIL_LINES :]


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    seen: list[float] = []
    start = time.monotonic()
    code = "import time; print('first'); time.sleep(1.5)"
    process.run(python(code), cwd=tmp_path, timeout=20, on_line=lambda _: seen.append(time.monotonic()))
    assert seen[0] - start < 1.2


def test_progress_bar_is_seen_but_not_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    code = r"""
import sys
sys.stdout.buffer.write(b"start\r\n" + b"".join(b"\r%d%%" % i for i in range(101)) + b"\nend")
"""
    finished = process.run(python(code), cwd=tmp_path, timeout=20, on_line=lines.append)
    assert finished.tail == "start\n100%\nend"
    assert "50%" in lines


def test_huge_output_without_a_newline(tmp_path: Path) -> None:
    size = 5_000_000
    lines: list[str] = []
    log = tmp_path / "log.txt"
    code = f"import sys; sys.stdout.write('x' * {size})"
    finished = process.run(python(code), cwd=tmp_path, timeout=20, log=log, on_line=lines.append)
    assert finished.ok
    assert log.stat().st_size == size == sum(map(len, lines))
    assert finished.tail == "x" * process.TAIL_CHARS


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    code = r"import sys; sys.stdout.buffer.write('é'.encode() + b'\xff\xfe\n' + '日本'.encode()[:-1])"
    finished = process.run(python(code), cwd=tmp_path, timeout=20, log=tmp_path / "log.txt")
    assert finished.tail == "é\ufffd\ufffd\n日\ufffd"
    assert (tmp_path / "log.txt").read_text() == finished.tail


def test_log_does_not_follow_a_link(tmp_path: Path) -> None:
    precious, log = tmp_path / "precious.txt", tmp_path / "log.txt"
    precious.write_text("precious")
    log.symlink_to(precious)
    process.run(["echo", "hello"], cwd=tmp_path, timeout=20, log=log)
    assert precious.read_text() == "precious"
    assert log.read_text() == "hello\n"


def test_standard_input_is_empty(tmp_path: Path) -> None:
    finished = process.run(python("import sys; print(repr(sys.stdin.read()))"), cwd=tmp_path, timeout=20)
    assert finished.tail == "''"


def test_time_limit_ends_grandchildren_too(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
grandchild = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-S", "-u", "-c", grandchild])
print(child.pid)
time.sleep(60)
"""
    lines: list[str] = []
    finished = process.run(python(code), cwd=tmp_path, timeout=1, on_line=lines.append)
    assert finished.timed_out and not finished.ok
    assert finished.seconds < 1 + process.GRACE + 1
    pid = next(int(line) for line in lines if line.isdigit())
    assert wait_for(lambda: not is_alive(pid))


def test_program_may_say_goodbye_at_the_time_limit(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("goodbye")))
time.sleep(60)
"""
    assert process.run(python(code), cwd=tmp_path, timeout=0.7).tail == "goodbye"


def test_what_is_left_of_the_group_is_ended(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"  # it holds the pipe open
    finished = process.run(python(code), cwd=tmp_path, timeout=20)
    assert finished.ok
    assert finished.seconds < 5
    assert wait_for(lambda: not is_alive(int(finished.tail)))


def test_a_daemon_that_prints_for_ever_keeps_nobody_waiting(tmp_path: Path) -> None:
    code = "import subprocess; open('pid', 'w').write(str(subprocess.Popen(['yes'], start_new_session=True).pid))"
    finished = process.run(python(code), cwd=tmp_path, timeout=20, on_line=[].append)
    try:
        assert finished.ok
        assert finished.seconds < 5
    finally:
        pid = int((tmp_path / "pid").read_text())  # not from the pipe, where its line may lie inside of another
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_program_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(3)"
    finished = process.run(python(code), cwd=tmp_path, timeout=20)
    assert finished.returncode == 3
    assert finished.seconds >= 0.5


def test_listener_that_fails_ends_the_program(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="hello"):
        code = "import time; print('hello'); time.sleep(60)"
        process.run(python(code), cwd=tmp_path, timeout=20, on_line=fail, on_start=pids.append)
    assert not is_alive(pids[0])


def test_interrupt_ends_the_program_and_goes_on(tmp_path: Path) -> None:
    pids: list[int] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets background jobs ignore it

    def start(pid: int) -> None:
        pids.append(pid)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        process.run(["sleep", "60"], cwd=tmp_path, timeout=20, on_start=start)
    assert not is_alive(pids[0])


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "/no/such/program"])
def test_missing_program_is_named(tmp_path: Path, program: str) -> None:
    with pytest.raises(FileNotFoundError, match=program):
        process.run([program], cwd=tmp_path, timeout=20)


def test_limits_hold(tmp_path: Path) -> None:
    limits = process.Limits(file_bytes=1_000_000)
    write = python("open('big', 'wb').write(bytes(5_000_000))")
    finished = process.run(write, cwd=tmp_path, timeout=20, limits=limits)
    assert "File too large" in finished.tail
    assert (tmp_path / "big").stat().st_size <= 1_000_000
    assert process.run(["sh", "-c", "ulimit -c"], cwd=tmp_path, timeout=20, limits=limits).tail == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a program's memory")
def test_memory_limit_holds(tmp_path: Path) -> None:
    limits = process.Limits(memory_bytes=500 * 2**20)
    finished = process.run(python("bytearray(2**30)"), cwd=tmp_path, timeout=20, limits=limits)
    assert "MemoryError" in finished.tail
    assert process.run(python("bytearray(2**20)"), cwd=tmp_path, timeout=20, limits=limits).ok


def test_inherited_lock_lives_as_long_as_the_program(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as mine, (tmp_path / "lock").open("w") as other:
        fcntl.flock(mine, fcntl.LOCK_EX)
        held: list[bool] = []

        def try_lock(line: str) -> None:
            mine.close()  # as if this process had died
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)

        limits = process.Limits(file_bytes=10**6)  # through the shell that sets them, too
        code = "print('running'); import time; time.sleep(0.3)"
        process.run(python(code), cwd=tmp_path, timeout=20, pass_fds=[mine.fileno()], limits=limits, on_line=try_lock)
        assert held == [True]
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_stop_ends_only_the_process_it_was_told_of(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        started = process.identity(child.pid)
        assert started
        assert not process.stop(child.pid, "")
        assert not process.stop(child.pid, started + "0")
        assert is_alive(child.pid)
        assert process.stop(child.pid, started)
        assert child.wait(5) == -signal.SIGKILL
    assert process.identity(child.pid) == ""
    assert not process.stop(child.pid, started)


def test_stop_leaves_our_own_group_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:  # in the group of this test
        assert not process.stop(child.pid, process.identity(child.pid))
        assert is_alive(child.pid)
        child.kill()
    assert not process.stop(os.getpid(), process.identity(os.getpid()))


def test_stop_after_the_kit_was_killed(tmp_path: Path) -> None:
    """A killed run leaves its program behind; the next one finds it by what was written down, and ends it."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(process.__file__).parents[1])!r})
from pathlib import Path
from kit import process
def tell(pid):
    print(pid, process.identity(pid), flush=True)
process.run(["sleep", "60"], cwd=Path("."), timeout=60, on_start=tell)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as kit:
        assert kit.stdout
        pid, started = kit.stdout.readline().split(maxsplit=1)
        kit.kill()
    assert is_alive(int(pid))
    assert process.stop(int(pid), started.strip())
    assert wait_for(lambda: not is_alive(int(pid)))
