"""What the kit needs of a machine: say what is missing and the line that mends it, or mend it.

`python3 kit/doctor.py setup` runs before anything is installed, so this file needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOCK, VENV = ROOT / "requirements.lock", ROOT / ".venv"
PYTHON, STAMP = VENV / "bin" / "python", VENV / "installed"
OLDEST, NEWEST = (3, 11), (3, 13)
DISK_BYTES = 3 * 10**9  # the packages take 1.7 GB with a CPU build of PyTorch; runs come on top

# A paper needs these programs, these files (one from each set of packages), and these Debian packages.
TEX = ("latexmk", "pdflatex", "bibtex", "chktex")
TEX_FILES = ("article.cls", "booktabs.sty", "ptmr7t.tfm")
TEX_PACKAGES = ("texlive-latex-recommended", "texlive-fonts-recommended", "latexmk", "chktex")
TEX_SIZE = "73 MB to fetch, 227 MB on disk"
APT = "sudo apt-get install --no-install-recommends"
TEX_LINES = {  # an installer that may be there: what to type
    "apt-get": f"{APT} {' '.join(TEX_PACKAGES)}",
    "brew": "brew install tectonic",
    "dnf": "sudo dnf install latexmk texlive-chktex texlive-collection-{latex,fonts}recommended",
    "conda": "conda install -c conda-forge tectonic",
}
TORCH_INDEX = os.environ.get("TORCH_INDEX_URL", "")  # where to take PyTorch from; empty: as pip does
TORCH_PAGE = "address on pytorch.org/get-started/locally"


class SetupError(Exception):
    """The set-up cannot go on."""

    def __init__(self, trouble: str, cure: str) -> None:
        super().__init__(f"{trouble}. To mend it:\n\n    {cure}\n\nThen type the same command again.")


class Finding(NamedTuple):
    """One thing the kit looks for; `cure` is empty where nothing is missing."""

    name: str
    ok: bool
    found: str
    cure: str = ""
    needed: bool = True

    @property
    def mark(self) -> str:
        return "ok" if self.ok else "missing" if self.needed else "-"


class Findings(list[Finding]):
    """All findings; they show themselves as a table."""

    def __str__(self) -> str:
        cured = f"\n{'':19}→ "
        return "\n".join(f"{f.mark:9}{f.name:10}{f.found}{cured * bool(f.cure)}{f.cure}" for f in self)

    def _repr_html_(self) -> str:
        from kit.show import table

        return table(["", "", "Found", "To mend it"], [[f.mark, f.name, f.found, f.cure] for f in self])


def check() -> Findings:
    """Look at everything and change nothing."""
    machine = [check_python, check_packages, check_kernel, check_torch, check_tex, check_sandbox]
    return Findings(look() for look in [*machine, check_disk, check_keys, check_browser])


def check_python() -> Finding:
    """The Python that runs this."""
    fits = OLDEST <= sys.version_info[:2] <= NEWEST
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("Python", fits, found, "" if fits else "make setup PYTHON=/path/to/python3.13")


def check_packages() -> Finding:
    """The packages, and whether they are the ones that the lock names for every system."""
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    there = {name: _version(name) for name in pins}
    if missing := [name for name in pins if not there[name]]:
        names = ", ".join(missing[:5]) + ", …" * (len(missing) > 5)
        return Finding("Packages", False, f"{len(missing)} of {len(pins)} missing: {names}", "make setup")
    others = ", ".join(f"{name} {there[name]}" for name in pins if there[name] != pins[name])
    found = f"{len(pins)}, not as pinned: {others}" if others else f"{len(pins)}, as pinned"
    return Finding("Packages", True, found)


def _version(package: str) -> str:
    """Its version without the build's name (2.13.0+cpu is 2.13.0), empty where it is not installed."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_kernel() -> Finding:
    """The kernel that the notebooks name."""
    spec = Path(sys.prefix) / "share/jupyter/kernels/python3/kernel.json"
    ok = spec.is_file() and importlib.util.find_spec("ipykernel") is not None
    return Finding("Kernel", ok, "python3" if ok else f"no {spec}", "" if ok else "make setup")


def check_torch() -> Finding:
    """PyTorch, and what it computes on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("PyTorch", False, str(error).splitlines()[0], "make setup")
    cuda, apple = torch.cuda.is_available(), torch.backends.mps.is_available()
    device = torch.cuda.get_device_name() if cuda else "an Apple GPU" if apple else "a CPU"
    idle = has_nvidia() and not cuda
    found = f"{torch.__version__} on {device}" + ", though there is an NVIDIA GPU" * idle
    cure = f"make setup TORCH_INDEX_URL=<the CUDA {TORCH_PAGE}>" * idle
    return Finding("PyTorch", not idle, found, cure, needed=False)


def has_nvidia() -> bool:
    """Whether there is an NVIDIA GPU with its driver."""
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia/version").exists()


def check_tex() -> Finding:
    """What makes a PDF of a paper."""
    missing = missing_tex()
    ok = not missing or bool(shutil.which("tectonic"))
    found = f"no {', '.join(missing)}" if not ok else "tectonic" if missing else "latexmk"
    return Finding("TeX", ok, found, "" if ok else tex_line())


def missing_tex() -> list[str]:
    """The programs and files of TeX that are not there."""
    if missing := [name for name in TEX if not shutil.which(name)]:
        return missing
    look = subprocess.run(["kpsewhich", *TEX_FILES], capture_output=True, text=True)
    return [name for name in TEX_FILES if name not in look.stdout]


def tex_line() -> str:
    """What to type to get TeX here."""
    lines = [line for installer, line in TEX_LINES.items() if shutil.which(installer)]
    return lines[0] if lines else f"install TeX Live with {', '.join(TEX)}, or tectonic, and put it on PATH"


def check_sandbox() -> Finding:
    """How well programs that a model wrote are locked in."""
    try:
        from kit import sandbox
    except ImportError:  # it needs a package
        return Finding("Sandbox", False, "not known without the packages", "make setup", needed=False)
    best = sandbox.levels()[0]
    cure = sandbox.CURES["bubblewrap"] * (best != "bubblewrap")
    return Finding("Sandbox", not cure, best, cure, needed=False)


def check_disk() -> Finding:
    """The room that is left."""
    free = shutil.disk_usage(ROOT).free
    cure = "" if free > DISK_BYTES else f"make room for {DISK_BYTES / 1e9:.0f} GB, then: make setup"
    return Finding("Disk", not cure, f"{free / 1e9:.1f} GB free", cure)


def check_keys() -> Finding:
    """Which of the keys that .env.example names are there; their values are not looked at."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    there = [name for name in re.findall(r"^(\w+_KEY)=", example, re.MULTILINE) if os.environ.get(name)]
    cure = "" if there else "cp .env.example .env, and write the key of a provider into it"
    found = ", ".join(there) or "none; the model offline needs none"
    return Finding("Keys", bool(there), found, cure, needed=False)


def check_browser() -> Finding:
    """A browser, for the test that clicks through JupyterLab."""
    found = [name for name in ("chromium", "google-chrome", "chromium-browser") if shutil.which(name)]
    cure = "" if found else f"only a test wants it: {APT} chromium"
    return Finding("Browser", not cure, "".join(found[:1]) or "no chromium", cure, needed=False)


def set_up() -> None:
    """Make this machine and .venv ready; what is there already is not done again."""
    if not (python := check_python()).ok:
        raise SetupError(f"Python 3.11, 3.12 or 3.13 is needed, and this is {python.found}", python.cure)
    done = is_set_up()
    install_system_packages(wanted_packages(everything=not done))
    if done:
        return
    if not (disk := check_disk()).ok:
        raise SetupError(f"{disk.found} at {ROOT}", disk.cure)
    STAMP.unlink(missing_ok=True)
    install_packages()
    STAMP.write_text(f"{_digest()} {TORCH_INDEX}")


def is_set_up() -> bool:
    """Whether .venv holds what the lock says, and the build of PyTorch that is asked for, if one is."""
    digest, _, torch_index = (STAMP.read_text() if STAMP.is_file() else "").partition(" ")
    as_asked = digest == _digest() and TORCH_INDEX in ("", torch_index)
    return as_asked and _succeeds(PYTHON, "-c", "import pip")


def _digest() -> str:
    """Of what an installation depends on; the linter's settings in pyproject.toml are no part of it."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
    return hashlib.sha256(LOCK.read_bytes() + project.encode()).hexdigest()


def _succeeds(*command: Path | str) -> bool:
    """Whether the program is there (and not a link that leads nowhere) and ends without complaint."""
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True).returncode


def wanted_packages(everything: bool) -> dict[str, str]:
    """The Debian packages that are missing, and what for; `everything`: also what a run can do without."""
    wanted = {}
    if everything and not importlib.util.find_spec("ensurepip") and not _succeeds(PYTHON, "-c", "import pip"):
        wanted[f"python3.{sys.version_info[1]}-venv"] = "makes .venv"  # Debian takes it out of Python
    if not shutil.which("tectonic") and missing_tex():
        wanted |= dict.fromkeys(TEX_PACKAGES, f"makes the paper: {TEX_SIZE}")
    if everything and sys.platform == "linux" and not shutil.which("bwrap"):
        wanted["bubblewrap"] = "locks in programs that a model wrote"
    return wanted


def install_system_packages(wanted: dict[str, str]) -> None:
    """Install them where apt-get may be used without asking, else stop with the line to type."""
    needed = [name for name in wanted if name != "bubblewrap"]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]  # -n: never ask for a password
    may = shutil.which("apt-get") and _succeeds(*sudo, "true")
    if needed and not may:
        if not shutil.which("apt-get"):
            raise SetupError(f"Missing: {', '.join(missing_tex() or needed)}", tex_line())
        raise SetupError(f"Missing: {', '.join(needed)}", f"{APT} {' '.join(wanted)}")
    if not wanted or not may:
        return
    for why in dict.fromkeys(wanted.values()):
        say(f"apt-get installs {' '.join(name for name in wanted if wanted[name] == why)} ({why})")
    apt_get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    run_step("system package lists", [*apt_get, "update"])
    run_step("system packages", [*apt_get, "install", "-y", "--no-install-recommends", *wanted])


def install_packages() -> None:
    """Make .venv and put the pinned packages into it, PyTorch first, because it comes in several builds."""
    if not _succeeds(PYTHON, "-c", "import pip"):
        run_step(".venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install"]
    build = ["--force-reinstall", "--no-deps", "--index-url", TORCH_INDEX] if TORCH_INDEX else []
    if sys.platform == "linux" and not build and not has_nvidia():
        say("no NVIDIA GPU here; should pip now fetch PyTorch's CUDA build (3 GB), stop it and type")
        say(f"    make setup TORCH_INDEX_URL=<the CPU {TORCH_PAGE}>")
    pinned = re.findall(r"^torch==\S+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    run_step("PyTorch", [*pip, *build, *pinned])
    run_step("packages", [*pip, "-r", str(LOCK)])
    run_step("kit", [*pip, "--no-deps", "-e", str(ROOT)])


def run_step(name: str, command: list[str]) -> None:
    """Run a command and say how long it took; its output is shown only when it fails."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    if done.returncode:
        tail = [*done.stdout.splitlines()[-15:], f"{name} failed"]
        raise SetupError("\n".join(tail), f"see all it says: {shlex.join(command)}")
    say(f"{name:22}{time.monotonic() - start:5.0f} s")


def say(line: str) -> None:
    """Print it at once, also where the output goes into a file."""
    print(f"  {line}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """`setup` mends, `check` only looks; 1 where something needed is missing."""
    command = sys.argv[1:] if argv is None else argv
    if command == ["check"]:
        print(findings := check())
        return int(any(finding.needed and not finding.ok for finding in findings))
    if command != ["setup"]:
        sys.exit("usage: python3 kit/doctor.py setup | check")
    try:
        set_up()
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
