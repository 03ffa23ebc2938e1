"""Compile a paper, with nothing that TeX could reach outside of its folder."""

import os
import re
import shutil
from pathlib import Path

from kit import process
from kit.latex.log import parse_log
from kit.latex.pages import page_count, text
from kit.schemas import Build, KitError, Problem
from kit.store import save

LATEXMK = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error",
           "-latexoption=-no-shell-escape", "paper.tex"]  # fmt: skip
TECTONIC = ["tectonic", "--untrusted", "--keep-logs", "paper.tex"]
CURE = (
    "There is no TeX on this machine. Debian, Ubuntu: apt-get install latexmk chktex "
    "texlive-latex-recommended texlive-fonts-recommended. macOS: brew install tectonic. "
    "Elsewhere: conda install -c conda-forge tectonic."
)
# TeX by itself reads any file of the user; `p` (paranoid) keeps it in its folder. Log lines stay whole.
TEX_SETTINGS = {"openin_any": "p", "openout_any": "p", "max_print_line": "10000", "TEXMFOUTPUT": "."}
MUTED = ["1", "2", "8", "12", "13", "24", "36", "44", "46"]  # chktex: matters of taste


def compile(folder: Path, timeout: float = 120, keep: Path | None = None) -> Build:
    """Compile folder/paper.tex to paper.pdf; problems come back, and a former PDF stays unless it worked.

    `keep` is where a copy of the PDF is put.
    """
    command = _engine()
    room = folder / "build"
    done = _run(command, folder, room, timeout)
    if done.timed_out:  # the text may never end, or the machine be busy: more time tells them apart
        timeout *= 3
        done = _run(command, folder, room, timeout)
    problems = _problems(room, done, timeout)
    pdf = room / "paper.pdf"
    ended = done.ok and pdf.is_file()  # a PDF that TeX did not finish cannot be read
    if ended and not any(problem.fatal for problem in problems) and "??" in text(pdf):
        problems.append(Problem(kind="reference", message="The PDF shows ?? where a reference should be."))
    ok = ended and not any(problem.fatal for problem in problems)
    if ok:
        problems += _chktex(room)
        if keep:
            save(keep, pdf.read_bytes())
        os.replace(pdf, folder / "paper.pdf")
    return Build(ok=ok, pdf="paper.pdf" if ok else "", pages=page_count(folder / "paper.pdf") if ok else 0,
                 seconds=round(done.seconds, 2), engine=command[0], problems=problems)  # fmt: skip


def _run(command: list[str], folder: Path, room: Path, timeout: float) -> process.Finished:
    shutil.rmtree(room, ignore_errors=True)
    shutil.copytree(folder, room, ignore=shutil.ignore_patterns("build", "built", "pages", "sections", "paper.pdf"))
    return process.run(command, cwd=room, timeout=timeout, env=_environment(), log=room / "engine.log")


def _engine() -> list[str]:
    if all(shutil.which(program) for program in ("latexmk", "pdflatex", "bibtex")):
        return LATEXMK
    if shutil.which("tectonic"):
        return TECTONIC
    raise KitError(CURE)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | TEX_SETTINGS


def _problems(room: Path, done: process.Finished, timeout: float) -> list[Problem]:
    files = [file for file in (room / "paper.log", room / "paper.blg") if file.is_file()]
    logs = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    problems = parse_log("\n".join(logs))
    if done.timed_out:  # what a first pass has not resolved yet is no fault of the text
        problems = [problem for problem in problems if problem.kind == "error"]
        problems.insert(0, Problem(kind="error", message=f"TeX did not end within {timeout:g} seconds."))
    elif not done.ok and not any(problem.fatal for problem in problems):
        problems.insert(0, Problem(kind="error", message=f"{done.argv[0]} failed:\n{done.tail[-1500:]}"))
    return problems


def _chktex(room: Path) -> list[Problem]:
    """Typographic slips in our own text; never fatal."""
    if not shutil.which("chktex"):
        return []
    muted = [f"-n{number}" for number in MUTED]
    command = ["chktex", "-q", "-I0", "-f", "%l:%m\n", *muted, "paper.tex"]
    done = process.run(command, cwd=room, timeout=30, env=_environment())
    found = re.findall(r"^(\d+):(.+)$", done.tail, re.MULTILINE)
    return [Problem(kind="chktex", message=what, line=int(line), fatal=False) for line, what in found]
