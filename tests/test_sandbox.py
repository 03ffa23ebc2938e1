"""Somebody else's program gets its folder and its limits, but no keys, no network, no more of the disk."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import running

from kit import sandbox

LEVELS = ("bubblewrap", "namespaces", "limits")
LOCKED = ("bubblewrap", "namespaces")  # those with namespaces of their own


def needs(level: str) -> None:
    if level not in sandbox.levels():
        pytest.skip(f"this machine has no sandbox level {level!r}")


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return request.param


@pytest.fixture(params=LOCKED)
def locked(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return request.param


@pytest.fixture
def bubblewrap() -> str:
    needs("bubblewrap")
    return "bubblewrap"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def port() -> Iterator[int]:
    """A server on this machine that a program with a network would reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run(code: str, folder: Path, level: str, **options: Any) -> sandbox.Finished:
    return sandbox.run(["python", "-c", code], folder=folder, level=level, timeout=60, **options)


def is_running(marker: str) -> bool:
    """Whether a `sleep` of that many seconds runs; a pid inside a namespace says nothing outside."""
    return any(process.args.endswith(f"sleep {marker}") for process in running())


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def test_levels_are_ordered_and_described() -> None:
    found = sandbox.levels()
    assert found == [level for level in LEVELS if level in found]
    assert found[-1] == "limits"
    assert sandbox.choose() == found[0]
    assert len({sandbox.describe(level) for level in found}) == len(found)


def test_program_works_in_its_folder(folder: Path, level: str) -> None:
    (folder / "experiment.py").write_text("import os; open('out.txt', 'w').write('done'); print(os.getcwd())")
    lines: list[str] = []
    finished = sandbox.run(
        ["python", "experiment.py"], folder=folder, timeout=60, level=level,
        log=folder / "log.txt", on_line=lines.append,
    )  # fmt: skip
    assert finished.ok
    assert finished.level == level
    assert finished.argv == ("python", "experiment.py")
    assert (folder / "out.txt").read_text() == "done"
    assert (folder / "log.txt").read_text().strip() == finished.tail == lines[0] == str(folder.resolve())


def test_exit_code_is_handed_on(folder: Path, level: str) -> None:
    assert run("raise SystemExit(3)", folder, level).returncode == 3
    assert run("1/0", folder, level).tail.endswith("ZeroDivisionError: division by zero")


def test_python_is_the_one_of_the_kit(folder: Path, level: str) -> None:
    assert run("import sys; print(sys.prefix)", folder, level).tail == sys.prefix


def test_no_key_is_visible(folder: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-very-secret"
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "KIT_API_KEY", "AWS_SECRET_ACCESS_KEY", "OTHER"):
        monkeypatch.setenv(name, secret)
    code = """
import glob, os
found = [dict(os.environ)]
for file in glob.glob("/proc/1/environ") + glob.glob("/proc/self/environ") if ALL else []:
    found.append(open(file).read())
print(found)
"""
    finished = run(code.replace("ALL", str(level != "limits")), folder, level, env={"KIT_PRESET": "smoke"})
    assert finished.ok
    assert secret not in finished.tail
    assert "'KIT_PRESET': 'smoke'" in finished.tail
    assert "'MPLBACKEND': 'Agg'" in finished.tail


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "KIT_PASSWORD", "S2_KEY"])
def test_key_is_refused_even_when_passed(folder: Path, name: str) -> None:
    with pytest.raises(sandbox.SandboxError, match=name):
        run("pass", folder, "limits", env={name: "x"})


def test_other_processes_are_out_of_sight(folder: Path, locked: str) -> None:
    code = "import os; print([p for p in os.listdir('/proc') if p.isdigit()])"
    assert len(eval(run(code, folder, locked).tail)) <= 3


def test_network_is_out_of_reach(folder: Path, locked: str, port: int) -> None:
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
    assert run(code, folder, "limits").ok  # the server is there
    assert not run(code, folder, locked).ok


def test_writing_outside_the_folder_fails(folder: Path, bubblewrap: str) -> None:
    places = ["", "/usr", "/etc", "/var/tmp", sys.prefix, str(Path.home()), str(folder.parent)]
    outside = [f"{place}/outside" for place in places]
    code = f"""
for path in {outside}:
    try:
        open(path, "w")
        print("written", path)
    except OSError:
        pass
open("inside", "w")
"""
    finished = run(code, folder, bubblewrap)
    assert finished.ok
    # /tmp is the program's own, and gone when it ends
    assert all(line.startswith("written /tmp/") for line in finished.tail.splitlines())
    assert (folder / "inside").exists()
    assert not any(Path(path).exists() for path in outside)


def test_the_rest_of_the_disk_cannot_be_read(folder: Path, bubblewrap: str, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("private")
    home = Path.home()
    private = ["/etc/shadow", "/var/log", f"{tmp_path}/private.txt", f"{home}/.bashrc", f"{home}/.cache"]
    code = f"import os; print([path for path in {private} if os.path.exists(path)])"
    assert run(code, folder, bubblewrap).tail == "[]"


def test_readable_folders_can_be_read_and_not_written(folder: Path, level: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("1,2")
    (tmp_path / "link").symlink_to(data)
    code = f"print(open({str(tmp_path / 'link' / 'train.csv')!r}).read()); open({str(data / 'new')!r}, 'w')"
    finished = run(code, folder, level, readable=[tmp_path / "link"])
    assert finished.tail.startswith("1,2")
    assert finished.ok == (level != "bubblewrap")
    with pytest.raises(sandbox.SandboxError, match="missing"):
        run("pass", folder, level, readable=[tmp_path / "missing"])


def test_read_only_folder_inside_the_folder(folder: Path, bubblewrap: str) -> None:
    (folder / "data").mkdir()
    finished = run("open('a', 'w'); open('data/b', 'w')", folder, bubblewrap, readable=[folder / "data"])
    assert "Read-only file system: 'data/b'" in finished.tail


def test_time_limit_ends_even_daemons(folder: Path, locked: str) -> None:
    marker = str(1000 + os.getpid() % 1000 + LOCKED.index(locked) / 10)
    code = f"""
import subprocess, time
subprocess.Popen(["sleep", "{marker}"], start_new_session=True)
print("started")
time.sleep(60)
"""
    seen: list[bool] = []
    finished = sandbox.run(
        ["python", "-c", code], folder=folder, timeout=1.5, level=locked,
        on_line=lambda _: seen.append(wait_for(lambda: is_running(marker), 1)),
    )  # fmt: skip
    assert finished.timed_out
    assert seen == [True]
    assert wait_for(lambda: not is_running(marker))


def test_program_ends_when_the_kit_is_killed(folder: Path, locked: str) -> None:
    marker = str(2000 + os.getpid() % 1000 + LOCKED.index(locked) / 10)
    code = f"""
import sys; sys.path.insert(0, {str(Path(sandbox.__file__).parents[1])!r})
from pathlib import Path
from kit import sandbox
sandbox.run(["sleep", "{marker}"], folder=Path("."), level="{locked}", timeout=60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=folder) as kit:
        assert wait_for(lambda: is_running(marker), 15)
        kit.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not is_running(marker))


def test_inherited_lock_is_held_inside(folder: Path, level: str) -> None:
    path = folder / "lock"
    with path.open("w") as mine, path.open("w") as other:
        fcntl.flock(mine, fcntl.LOCK_EX)
        held: list[str] = []

        def try_lock(line: str) -> None:
            mine.close()  # as if this process had died
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(line)

        code = "print('running', flush=True); import time; time.sleep(0.3)"
        run(code, folder, level, pass_fds=[mine.fileno()], on_line=try_lock)
        assert held == ["running"]
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_file_limit_holds(folder: Path, level: str) -> None:
    finished = run("open('big', 'wb').write(bytes(5_000_000))", folder, level, file_bytes=1_000_000)
    assert "File too large" in finished.tail


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a program's memory")
def test_memory_limit_holds(folder: Path, level: str) -> None:
    assert "MemoryError" in run("bytearray(2**30)", folder, level, memory_bytes=500 * 2**20).tail


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a program's memory")
def test_torch_works_under_a_memory_limit(folder: Path, level: str) -> None:
    code = "import torch; print(torch.ones(3, requires_grad=True).sum().backward() or 'trained')"
    assert run(code, folder, level, memory_bytes=2 * 2**30).tail.endswith("trained")


def test_matplotlib_finds_its_fonts(folder: Path, level: str) -> None:
    code = """
import logging; logging.basicConfig(level=logging.INFO)
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.title("title"); plt.savefig("figure.png"); print("drawn")
"""
    finished = run(code, folder, level)
    assert finished.tail.endswith("drawn")
    assert "font" not in finished.tail.lower()  # no list made anew, no complaint about its folder
    assert (folder / "figure.png").stat().st_size > 1000


def test_missing_level_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # a machine without bwrap
    assert sandbox.levels() == ["limits"]
    with pytest.raises(sandbox.SandboxError, match=r"no program bwrap .*apt-get install bubblewrap"):
        run("pass", folder, "bubblewrap")
    with pytest.raises(sandbox.SandboxError, match="util-linux"):
        run("pass", folder, "namespaces")
    with pytest.raises(sandbox.SandboxError, match="fortress"):
        run("pass", folder, "fortress")
    assert run("pass", folder, "auto").level == "limits"


def test_level_that_fails_here_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"  # as on a system that forbids user namespaces
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied'; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sandbox.SandboxError, match="uid map: Permission denied"):
        sandbox.choose("bubblewrap")


def test_program_out_of_sight_is_refused(folder: Path, bubblewrap: str, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho works\n")
    tool.chmod(0o755)
    with pytest.raises(sandbox.SandboxError, match="readable"):
        sandbox.run([str(tool)], folder=folder, timeout=20, level=bubblewrap)
    finished = sandbox.run([str(tool)], folder=folder, timeout=20, level=bubblewrap, readable=[tool])
    assert finished.tail == "works"


def test_missing_program_is_named(folder: Path, level: str) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        sandbox.run(["no-such-program"], folder=folder, timeout=20, level=level)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused_with_the_cure(folder: Path, locked: str) -> None:
    os.chown(folder, 12345, 12345)
    with pytest.raises(sandbox.SandboxError, match="chown"):
        run("pass", folder, locked)


def test_nothing_is_left_behind(folder: Path, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert run("import os; open(os.environ['HOME'] + '/a', 'w'); open('a.tmp', 'w')", folder, level).ok
    assert list(scratch.iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["a.tmp"]
