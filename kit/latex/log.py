"""What LaTeX and BibTeX say, as problems."""

import re
from collections.abc import Iterator

from kit.schemas import Problem

ERROR = re.compile(r"^(?:(?P<file>[^:\n]+\.\w+):(?P<line>\d+): |! )(?P<what>.+)$")
AT_LINE = re.compile(r"^l\.(\d+) ?(.*)$")
REFERENCE = re.compile(r"LaTeX Warning: (?:Hyper )?[Rr]eference [`'](.+?)' .*?undefined(?: on input line (\d+))?")
CITATION = re.compile(r"Warning: Citation [`'](.+?)' .*?undefined(?: on input line (\d+))?")
LABELS = re.compile(r"LaTeX Warning: Label [`'](.+?)' multiply defined")
OVERFULL = re.compile(r"^Overfull \\hbox \(([\d.]+)pt too wide\).*?(?:lines? (\d+))?")
MISSING = re.compile(r"LaTeX Warning: File [`'](.+?)' not found")
BIBTEX = re.compile(r"^(Warning--.*|I couldn't .*|I found no .*|Repeated entry.*)$")
WIDE = 10.0  # points; less is not seen


def parse_log(text: str) -> list[Problem]:
    """Errors first, then what is undefined, then what looks bad; each once."""
    lines = text.splitlines()
    found = [*_errors(lines), *(problem for line in lines for problem in _warnings(line))]
    unique = {(problem.kind, problem.message): problem for problem in found}
    return sorted(unique.values(), key=lambda problem: not problem.fatal)


def _errors(lines: list[str]) -> Iterator[Problem]:
    for number, line in enumerate(lines):
        match = ERROR.match(line)
        if not match or "==> Fatal error" in line:
            continue
        where = next((m for later in lines[number : number + 12] if (m := AT_LINE.match(later))), None)
        shown = f" — at: {where.group(2).strip()}" if where and where.group(2).strip() else ""
        at = match["line"] or (where.group(1) if where else None)
        yield Problem(kind="error", message=match["what"] + shown, file=match["file"] or "", line=int(at) if at else None)


def _warnings(line: str) -> Iterator[Problem]:
    if match := REFERENCE.search(line):
        yield Problem(kind="reference", message=f"No label is called {match[1]!r}.", line=_line(match))
    elif match := CITATION.search(line):
        yield Problem(kind="citation", message=f"The key {match[1]!r} is not among the references.", line=_line(match))
    elif match := LABELS.search(line):
        yield Problem(kind="label", message=f"The label {match[1]!r} is given more than once.")
    elif match := MISSING.search(line):
        yield Problem(kind="file", message=f"The file {match[1]!r} is missing.")
    elif (match := OVERFULL.match(line)) and float(match[1] if match[1].count(".") < 2 else 0) > WIDE:
        at = re.search(r"lines? (\d+)", line)
        words = f"A line runs {float(match[1]):.0f} pt into the margin."
        yield Problem(kind="overfull", message=words, line=int(at[1]) if at else None, fatal=False)
    elif match := BIBTEX.match(line):
        yield Problem(kind="bibtex", message=match[1], fatal=not line.startswith("Warning--"))


def _line(match: re.Match) -> int | None:
    return int(match[2]) if match[2] else None
