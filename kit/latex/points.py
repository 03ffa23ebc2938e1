"""What the build found, as points for a writer who sees sections and not the whole file."""

from collections.abc import Iterable, Mapping

from kit.schemas import Problem

TASTE = {"chktex", "bibtex"}  # not worth a call of their own, or not in the writer's hands
HOMES = {"figure": "results", "table": "results", "citation": "related_work"}  # of what stands in no line
SHOWN = 160  # letters of a line


def points(problems: Iterable[Problem], sections: Mapping[str, str], tex: str) -> list[str]:
    """One line a problem: the section's file, the words where it stands, what is wrong."""
    lines = tex.splitlines()
    told = []
    for problem in problems:
        if problem.fatal or problem.kind not in TASTE:
            told.append(f"{_place(problem, sections, lines)}{problem.kind}: {problem.message}")
    return list(dict.fromkeys(told))


def _place(problem: Problem, sections: Mapping[str, str], lines: list[str]) -> str:
    """The file of the section that holds the problem's line, and the line; nothing where none does."""
    known = problem.line and problem.line <= len(lines) and problem.file.removeprefix("./") in ("", "paper.tex")
    here = lines[problem.line - 1].strip() if known and problem.line else ""
    for name, body in sections.items():
        if here and here in body:
            return f'{name}.tex, at "{here[:SHOWN]}": '
    home = HOMES.get(problem.kind, "")
    return f"{home}.tex: " if home in sections else ""
