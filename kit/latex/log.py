"""What LaTeX and BibTeX say, as problems."""

import re
from collections.abc import Iterator

from kit.schemas import Problem

ERROR = re.compile(r"^(?:(?P<file>[^:\n]+\.\w+):(?P<line>\d{1,9}): |! )(?P<what>.+)$")
AT_LINE = re.compile(r"^l\.(\d{1,9}) ?(.*)$")
REFERENCE = re.compile(r"LaTeX Warning: (?:Hyper )?[Rr]eference [`'](.+?)' .*?undefined(?: on input line (\d{1,9}))?")
CITATION = re.compile(r"Warning: Citation [`'](.+?)' .*?undefined(?: on input line (\d{1,9}))?")
LABELS = re.compile(r"LaTeX Warning: Label [`'](.+?)' multiply defined")
OVERFULL = re.compile(r"^Overfull \\hbox \((\d{1,6}(?:\.\d+)?)pt too wide\)(?:.*? lines? (\d{1,9}))?")
TALL = re.compile(r"LaTeX Warning: Float too large for page by (\d{1,6}(?:\.\d+)?)pt(?: on input line (\d{1,9}))?")
LETTER = re.compile(r"^Missing character: There is no (.+?) (?:\(U\+\w+\) )?in font")
MISSING = re.compile(r"LaTeX Warning: File [`'](.+?)' not found")
BIBTEX = re.compile(
    r"^(?:Warning--(?P<warning>.+)|(?P<missing>I couldn't open .+)|"
    r"(?P<error>[^-\s].*?)---(?:line (?P<line>\d{1,9}) of|while reading) file (?P<file>.+))$"
)
UNCITED = "The text cites nothing: cite at least one of the references."
WIDE = 10.0  # points; less is not seen


def parse_log(text: str) -> list[Problem]:
    """Errors first, then what is undefined, then what looks bad; each once."""
    lines = text.splitlines()
    found = list(_errors(lines))
    # A run that an error ended knows no label and no citation yet: its warnings would mislead.
    told = ("bibtex",) if found else ("reference", "citation", "label", "file", "overfull", "letter", "bibtex")
    found += [problem for line in lines for problem in _warnings(line) if problem.kind in told]
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
        yield Problem(
            kind="error",
            message=match["what"] + shown,
            file=match["file"] or "",
            line=int(at) if at else None,
        )


def _warnings(line: str) -> Iterator[Problem]:
    if match := REFERENCE.search(line):
        yield Problem(kind="reference", message=f"No label is called {match[1]!r}.", line=_line(match))
    elif match := CITATION.search(line):
        words = f"The key {match[1]!r} is not among the references."
        yield Problem(kind="citation", message=words, line=_line(match))
    elif match := LABELS.search(line):
        yield Problem(kind="label", message=f"The label {match[1]!r} is given more than once.")
    elif match := MISSING.search(line):
        yield Problem(kind="file", message=f"The file {match[1]!r} is missing.")
    elif (match := OVERFULL.match(line)) and float(match[1]) > WIDE:
        words = f"A line runs {float(match[1]):.0f} pt into the margin."
        yield Problem(kind="overfull", message=words, line=_line(match), fatal=False)
    elif (match := TALL.search(line)) and float(match[1]) > WIDE:
        words = f"A figure or table is {float(match[1]):.0f} pt taller than the page: make it smaller or divide it."
        yield Problem(kind="overfull", message=words, line=_line(match), fatal=False)
    elif match := LETTER.match(line):
        yield Problem(
            kind="letter", message=f"The font has no letter {match[1]!r}: it is missing in print.", fatal=False
        )
    elif match := BIBTEX.match(line):
        yield _bibtex(match)


def _bibtex(match: re.Match) -> Problem:
    if match["warning"]:
        return Problem(kind="bibtex", message=match["warning"], fatal=False)
    if match["missing"]:
        return Problem(kind="bibtex", message=match["missing"])
    if "no \\citation" in match["error"]:
        return Problem(kind="citation", message=UNCITED)
    at = int(match["line"]) if match["line"] else None
    return Problem(kind="bibtex", message=match["error"], file=match["file"], line=at)


def _line(match: re.Match) -> int | None:
    return int(match[2]) if match[2] else None
