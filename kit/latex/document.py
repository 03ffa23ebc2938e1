"""A section as a model writes it, and the paper that is put together from sections."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from kit.letters import escape, to_latex, uncommented
from kit.schemas import SOURCES, FormatError, KitError
from kit.store import save
from kit.workspace import project_root

FENCE = re.compile(r"```(?:latex|tex)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
HEADING = re.compile(r"\A\s*(?:\\label\{[^}]*\}\s*)?\\section\*?\{(?:[^{}]|\{[^{}]*\})*\}\s*(?:\\label\{[^}]*\})?")
ABSTRACT = re.compile(r"\\(?:begin|end)\{abstract\}")
NAMED = re.compile(r"^[\s#*`>_-]*([A-Za-z][\w-]*)\.tex\b[^\n]*$", re.MULTILINE)
ENVIRONMENT = re.compile(r"\\(begin|end)\{([^{}]*)\}")
BIBLIOGRAPHY = re.compile(r"\\bibliography(?:style)?\{[^{}]*\}")
PLACE = re.compile(r"%%KIT:([A-Z]+)%%")
# What would reach outside of the section: files, packages, the meaning of other commands, numbers of one's
# own. TeX itself is paranoid as well (see build.py); this is the wall that can say why. An environment of
# such a name runs the command, and ^^5c is a backslash.
COMMANDS = (
    r"documentclass|usepackage|RequirePackage|(?:verbatim)?input|include|includeonly|write|open(?:in|out)|read(?:line)?|"
    r"(?:cat|lc|uc|math)code|cs(?:name|use)|[a-zA-Z]*def|(?:cs|future)?let(?:cs)?|scantokens|makeatletter|endinput|special|directlua|"
    r"(?:(?:re)?new(?!line|page)|provide|robustify|Declare|New|Renew|Provide)[A-Za-z]*|bibliography(?:style)?|immediate|shipout|"
    r"pdf[a-z]+|At(?:Begin|End)[A-Za-z]+|Add[A-Z][A-Za-z]+|Kit[A-Za-z]+|filecontents|document|(?:batch|scroll)mode"
)
REFUSED = re.compile(rf"\\(?:{COMMANDS})(?![A-Za-z])|\\(?:begin|end)\s*\{{\s*(?:{COMMANDS})\*?\s*\}}|\^\^")


class Section(BaseModel):
    """The LaTeX of one section, without its heading."""

    body: str

    @classmethod
    def parse(cls, text: str) -> "Section":
        """Read a reply: LaTeX in a fence, or bare; FormatError says what cannot stand in a section."""
        fenced = FENCE.findall(text)
        body = max(fenced, key=len) if fenced else text
        body = to_latex(body)  # first: a letter that vanishes could hide a command from the eyes below
        body = ABSTRACT.sub("", HEADING.sub("", body)).strip()
        if not body:
            raise FormatError("The section is empty.")
        if "```" in body:
            raise FormatError("A ``` fence is not closed: reply with the whole section in one fence.")
        if found := REFUSED.search(uncommented(body)):
            words = "cannot stand in a section: write plain text, formulas and floats."
            raise FormatError(f"{found.group()} {words}")
        _must_balance(body)
        return cls(body=body)


class Draft(BaseModel):
    """Several sections in one reply, each in a fence with the name of its file before it."""

    sections: dict[str, str]  # name → LaTeX; "" for one whose name was not said

    @classmethod
    def parse(cls, text: str) -> "Draft":
        """Read a reply; FormatError says in which section something cannot stand."""
        fences = list(FENCE.finditer(text)) or [None]
        if len(fences) < 2 and not NAMED.search(text):
            return cls(sections={"": Section.parse(text).body})
        found, start = {}, 0
        for fence in fences:
            said = NAMED.findall(text[start : fence.start()]) if fence else []
            if not fence or not said:
                raise FormatError(
                    "Send each section in a ```latex fence, with the name of its file on the line before."
                )
            try:
                found[said[-1]] = Section.parse(fence.group()).body
            except FormatError as error:
                raise FormatError(f"{said[-1]}.tex: {error}") from error
            start = fence.end()
        return cls(sections=found)

    def named(self, names: Sequence[str]) -> dict[str, str]:
        """The sections that were asked for; FormatError where one is missing, or is another."""
        sections = {names[0]: self.sections[""]} if list(self.sections) == [""] and len(names) == 1 else self.sections
        if wrong := [name or "a section without a name" for name in sections if name not in names]:
            raise FormatError(f"Not asked for: {', '.join(wrong)}. Asked for: {', '.join(names)}.")
        if missing := [f"{name}.tex" for name in names if name not in sections]:
            raise FormatError(f"The reply lacks {', '.join(missing)}.")
        return {name: sections[name] for name in names}


def _must_balance(body: str) -> None:
    plain = uncommented(body)
    depth = 0
    for token in re.findall(r"\\.|[{}]", plain):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            raise FormatError("There is a } without its {.")
    if depth:
        raise FormatError(f"{depth} braces are not closed.")
    stack: list[str] = []
    for kind, name in ENVIRONMENT.findall(plain):
        if kind == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            raise FormatError(rf"\end{{{name}}} does not match what was begun before it.")
    if stack:
        raise FormatError(rf"\begin{{{stack[-1]}}} is never ended.")


def assemble(
    folder: Path,
    *,
    title: str,
    authors: str,
    notice: str,
    abstract: str,
    sections: Mapping[str, str],
    appendix: str,
    template: Path | None = None,
    cites: bool = True,
) -> Path:
    """Write paper.tex into the folder, with kit.sty beside it; returns the path of paper.tex.

    `title`, `authors` and `notice` are plain text; the rest is LaTeX. A foreign template gets kit.sty and
    numbers.tex put before its \\begin{document}. Without `cites` there is no list of references.
    """
    home = project_root() / "templates" / "latex"
    text = (template or home / "template.tex").read_text(encoding="utf-8")
    body = "\n\n".join(_section(name, tex) for name, tex in sections.items())
    filled = {
        "TITLE": escape(title), "AUTHORS": escape(authors), "NOTICE": escape(notice), "ABSTRACT": abstract,
        "BODY": body,
        "APPENDIX": _section(SOURCES, appendix, "sources") if appendix else "",
    }  # fmt: skip
    if unknown := set(PLACE.findall(text)) - set(filled):
        raise KitError(f"{template} has a place called {min(unknown)}; there are {', '.join(filled)}.")
    text = PLACE.sub(lambda place: filled[place[1]], text)
    if not cites:  # BibTeX takes a paper that cites nothing for a mistake
        text = BIBLIOGRAPHY.sub("", text)
    if "{kit}" not in text:
        text = text.replace(r"\begin{document}", "\\usepackage{kit}\n\\input{numbers}\n\\begin{document}", 1)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "kit.sty", folder / "kit.sty")
    return save(folder / "paper.tex", text)


def _section(name: str, tex: str, label: str = "") -> str:
    label = label or re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"\\section{{{escape(name)}}}\n\\label{{sec:{label}}}\n{tex}"
