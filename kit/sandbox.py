"""A room for somebody else's program: its own folder, limits, no secrets, and where possible no network."""

import functools
import importlib.util
import os
import re
import shutil
import site
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from kit import process
from kit.schemas import KitError

Level = Literal["bubblewrap", "namespaces", "limits"]  # strongest first

PASSED_ON = re.compile(r"(LD_LIBRARY_)?PATH|LANG|LC_\w+|TZ|\w+_NUM_THREADS|CUDA_(VISIBLE|DEVICE)_\w+")
SECRET = re.compile(r"(?i)(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")
ETC = ("ld.so.cache", "alternatives", "passwd", "group", "nsswitch.conf", "localtime", "fonts")  # in /etc
ENDS_WITH_US = ("--pdeathsig", "KILL", "--no-new-privs")  # setpriv: the parent's end is the program's end
UNSHARED = ("--user", "--map-current-user", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
            "--mount-proc", "--")  # fmt: skip
GPU_DEVICES = ("nvidia*", "kfd", "dri", "dxg")  # in /dev: NVIDIA, AMD, both, Windows' Linux
FILE_BYTES = 8 * 2**30
PROBE_SECONDS = 20

CURES = {
    "bubblewrap": "install it (`apt-get install bubblewrap`) and allow user namespaces "
    "(on Ubuntu 24.04 and later: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`)",
    "namespaces": "install util-linux (`apt-get install util-linux`) and allow user namespaces",
}
SENTENCES = {
    "bubblewrap": "Programs run under bubblewrap: they see the system read-only, can write only to their own "
    "folder, have no network, no home folder and no keys, and end when this process ends.",
    "namespaces": "Programs run in namespaces of their own: no network, no other processes, no keys in their "
    "environment; but they can read and write the files that you can.",
    "limits": "Programs run with limits only (time, file size, memory where set) and without keys in their "
    "environment; but they can reach the network, your files and your processes.",
}


class SandboxError(KitError):
    """The sandbox cannot be what was asked for."""


@dataclass(frozen=True)
class Finished(process.Finished):
    """A program that has run in a sandbox, and how well it was locked in."""

    level: Level


def levels() -> list[Level]:
    """What this machine can do, strongest first; found out by doing it, once for each PATH."""
    return [level for level in get_args(Level) if not _obstacle(level, os.environ.get("PATH", os.defpath))]


def describe(level: Level) -> str:
    """One sentence on what a level keeps in and what it lets through."""
    return SENTENCES[level]


def choose(level: str = "auto") -> Level:
    """The strongest level for "auto", else the one asked for; SandboxError where it cannot be had."""
    if level == "auto":
        return levels()[0]
    if level not in get_args(Level):
        raise SandboxError(f"no sandbox level is called {level!r}; choose auto, {', '.join(get_args(Level))}")
    if obstacle := _obstacle(level, os.environ.get("PATH", os.defpath)):
        raise SandboxError(
            f"the sandbox level {level!r} was asked for and this machine cannot do it: {obstacle}. "
            f"To get it, {CURES[level]}; or ask for less, here {levels()[0]!r}."
        )
    return level  # type: ignore[return-value]


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    timeout: float,
    env: Mapping[str, str] | None = None,
    readable: Sequence[Path] = (),
    level: str = "auto",
    memory_bytes: int | None = None,
    file_bytes: int | None = FILE_BYTES,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
    on_start: Callable[[int], None] | None = None,
) -> Finished:
    """Run a program that is not trusted, with `folder` as its working and (bubblewrap) only writable folder.

    `env` is added to a small environment without secrets; `readable` are folders it may read besides the
    system and this Python. Limits are in bytes: private memory of one process, size of one file.
    Bubblewrap and namespaces end with this process even if it is killed; below them the program may go on,
    and a lock handed on through `pass_fds` stays held as long as it does. The calling thread waits for the
    program, as it must: the kernel takes the end of the thread that started it for the end of the parent.
    Raises SandboxError where the level cannot be had, FileNotFoundError where the program is missing.
    """
    chosen = choose(level)
    folder = folder.resolve(strict=True)
    limits = process.Limits(memory_bytes, file_bytes)
    with tempfile.TemporaryDirectory(prefix="kit-", ignore_cleanup_errors=True) as scratch:
        _lay_out_fonts(Path(scratch))
        inner_env = _environment(env or {}, home="/tmp" if chosen == "bubblewrap" else scratch)
        program = sys.executable if argv[0] in ("python", "python3") else argv[0]  # the one the kit runs on
        command = _command(chosen, [program, *argv[1:]], folder, Path(scratch), inner_env, readable)
        finished = process.run(
            command, cwd=folder, timeout=timeout, env=inner_env, log=log, on_line=on_line,
            pass_fds=pass_fds, limits=limits, on_start=on_start,
        )  # fmt: skip
    if finished.returncode == 1 and finished.tail.startswith("bwrap: "):
        raise SandboxError(f"bubblewrap could not lock in {argv[0]}: {finished.tail}")
    return Finished(**vars(replace(finished, argv=tuple(argv))), level=chosen)


def _command(
    level: Level,
    argv: Sequence[str],
    folder: Path,
    scratch: Path,
    env: Mapping[str, str],
    readable: Sequence[Path],
) -> list[str]:
    """The command line that locks `argv` in at a level."""
    program = process.locate(argv[0], folder, env)
    for path in readable:
        if not path.exists() or path.resolve() == Path("/"):
            raise SandboxError(f"cannot make {path} readable in the sandbox: name a path that exists, not /")
    if level == "limits":
        return list(argv)
    if os.geteuid() == 0 and folder.stat().st_uid != 0:
        raise SandboxError(
            f"{folder} belongs to another user, and in the sandbox root has no power over it: "
            f"work as its owner, or `chown -R root {folder}`"
        )
    if level == "namespaces":
        tools = [shutil.which(tool) or tool for tool in ("setpriv", "unshare")]
        return [tools[0], *ENDS_WITH_US, tools[1], *UNSHARED, *argv]
    rooms = _rooms(readable, folder)
    if not any(program.is_relative_to(room) for room in (Path("/usr"), Path("/bin"), folder, *rooms)):
        raise SandboxError(f"{program} cannot be seen in the sandbox: give its folder as `readable`")
    return [*_bubblewrap(folder, scratch, rooms), *argv]


def _bubblewrap(folder: Path, scratch: Path, rooms: Sequence[Path]) -> list[str]:
    gpus = sorted(path for pattern in GPU_DEVICES for path in Path("/dev").glob(pattern))
    mounts = [("--ro-bind", room) for room in rooms] + [("--bind", folder)]
    mounts.sort(key=lambda mount: len(mount[1].parts))  # what lies deeper is laid on top
    return [
        shutil.which("bwrap") or "bwrap",
        *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--proc", "/proc", "--dev", "/dev"),
        *_system(),
        *_bind("--ro-bind-try", "/sys" if gpus else "/sys/devices/system"),
        *(part for gpu in gpus for part in _bind("--dev-bind", gpu)),
        *("--bind", str(scratch), "/tmp"),
        *(part for kind, path in mounts for part in _bind(kind, path)),
        *("--remount-ro", "/", "--chdir", str(folder), "--"),
    ]


def _system() -> Iterator[str]:
    """The system's programs and libraries; on most machines /bin and /lib are links into /usr."""
    root = Path("/")
    for path in (root / "usr", root / "nix/store", root / "bin", root / "sbin", *sorted(root.glob("lib*"))):
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))
        elif path.is_dir():
            yield from _bind("--ro-bind", path)
    for name in ETC:
        yield from _bind("--ro-bind-try", f"/etc/{name}")


def _bind(kind: str, path: Path | str) -> tuple[str, str, str]:
    return kind, str(path), str(path)  # the same path inside, so that messages make sense outside


def _rooms(readable: Sequence[Path], folder: Path) -> list[Path]:
    """What is bound read-only: this Python, its packages, `readable`; as named, and where links lead."""
    named = [Path(sys.prefix), Path(sys.base_prefix), *(path.absolute() for path in readable)]
    user_site = Path(site.getusersitepackages())
    if site.ENABLE_USER_SITE and user_site.is_dir():
        named.append(user_site)
    found = {*named, *(path.resolve() for path in named)} - {folder}
    # In a bound folder a second mount is not needed, and would fail on a link; in `folder` it protects.
    covering = [Path("/usr"), *found]
    covered = {path for path in found for top in covering if path != top and path.is_relative_to(top)}
    return sorted(path for path in found if path not in covered or path.is_relative_to(folder))


def _environment(extra: Mapping[str, str], home: str) -> dict[str, str]:
    """An environment made from an allow-list; it refuses to carry a key even when told to."""
    for name in extra:
        if SECRET.search(name):
            raise SandboxError(f"{name} looks like a secret, and none goes into the sandbox: leave it out")
    kept = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    own = os.path.dirname(sys.executable)  # so that what the program calls is the same Python, too
    return {
        **kept,
        "PATH": os.pathsep.join([own, kept.get("PATH", os.defpath)]),
        "HOME": home,
        "TMPDIR": home,
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GOMP_SPINCOUNT": "1000",  # a thread that waits gives way: two programs on the same cores would stall
        "MPLBACKEND": "Agg",  # a kernel's own backend is not there for its children
        "MPLCONFIGDIR": f"{home}/matplotlib",
        **extra,
    }


@functools.cache
def _obstacle(level: Level, path: str) -> str:
    """Why this machine cannot do a level; empty where a Python ran in it. The PATH is a key of the cache."""
    if level == "limits":
        return ""
    for tool in ("bwrap",) if level == "bubblewrap" else ("unshare", "setpriv"):
        if not shutil.which(tool):
            return f"there is no program {tool} on PATH"
    with tempfile.TemporaryDirectory(prefix="kit-") as name:
        folder, scratch = Path(name).resolve() / "folder", Path(name).resolve() / "scratch"
        folder.mkdir()
        scratch.mkdir()
        env = _environment({}, home="/tmp")
        command = _command(level, [sys.executable, "-I", "-S", "-c", "pass"], folder, scratch, env, ())
        tried = process.run(command, cwd=folder, timeout=PROBE_SECONDS, env=env)
    return "" if tried.ok else tried.tail or f"a trial ended with code {tried.returncode}"


def _lay_out_fonts(scratch: Path) -> None:
    """Give matplotlib a list of the fonts, which it would otherwise make again in every run.

    A copy, because matplotlib turns away a folder that it cannot write to.
    """
    (scratch / "matplotlib").mkdir()
    for file in _font_lists():
        shutil.copy(file, scratch / "matplotlib")


@functools.cache
def _font_lists() -> list[Path]:
    """matplotlib's own lists of fonts, made now where there is none yet; found without importing it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = os.environ.get("MPLCONFIGDIR")
    places = [Path(own)] if own else [cache / "matplotlib", Path.home() / ".matplotlib"]
    found = [file for place in places for file in place.glob("fontlist-*.json")]
    if not found and importlib.util.find_spec("matplotlib"):
        code = "import matplotlib.font_manager; print(matplotlib.get_cachedir())"
        made = process.run([sys.executable, "-c", code], cwd=Path.cwd(), timeout=120)
        found = list(Path(made.tail.splitlines()[-1]).glob("fontlist-*.json")) if made.ok else []
    return found
