"""A section as a model writes it, and the paper that is put together from sections."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from kit.latex.words import escape, to_latex
from kit.schemas import FormatError
from kit.store import save
from kit.workspace import project_root

FENCE = re.compile(r"```(?:latex|tex)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
HEADING = re.compile(r"\A\s*(?:\\label\{[^}]*\}\s*)?\\section\*?\{[^{}]*\}\s*(?:\\label\{[^}]*\})?")
ABSTRACT = re.compile(r"\\(?:begin|end)\{abstract\}")
ENVIRONMENT = re.compile(r"\\(begin|end)\{([^{}]*)\}")
REFUSED = re.compile(
    r"\\(documentclass|usepackage|input|include|includeonly|write|openin|openout|read|catcode|csname|def|edef|gdef|let|"
    r"newcommand|renewcommand|bibliography|bibliographystyle|immediate|special|directlua|url@|KitNumber|KitComparison|"
    r"KitSource)(?![A-Za-z@])|\\(?:begin|end)\{document\}"
)
COMMENT = re.compile(r"(?<!\\)%.*")


class Section(BaseModel):
    """The LaTeX of one section, without its heading."""

    body: str

    @classmethod
    def parse(cls, text: str) -> "Section":
        """Read a reply: LaTeX in a fence, or bare; FormatError says what cannot stand in a section."""
        fenced = FENCE.findall(text)
        body = max(fenced, key=len) if fenced else text
        body = ABSTRACT.sub("", HEADING.sub("", body)).strip()
        if not body:
            raise FormatError("The section is empty.")
        if found := REFUSED.search(COMMENT.sub("", body)):
            raise FormatError(f"{found.group()} cannot stand in a section: write plain text, formulas and floats.")
        _must_balance(body)
        return cls(body=to_latex(body))


def _must_balance(body: str) -> None:
    plain = COMMENT.sub("", body)
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
    folder: Path, *, title: str, authors: str, notice: str, abstract: str, sections: Mapping[str, str], appendix: str,
    template: Path | None = None,
) -> Path:  # fmt: skip
    """Write paper.tex into the folder, with kit.sty beside it; returns the path of paper.tex.

    `title`, `authors` and `notice` are plain text; the rest is LaTeX. A foreign template gets kit.sty and
    numbers.tex put before its \\begin{document}.
    """
    home = project_root() / "templates" / "latex"
    text = (template or home / "template.tex").read_text(encoding="utf-8")
    body = "\n\n".join(f"\\section{{{escape(name)}}}\n\\label{{sec:{_slug(name)}}}\n{tex}" for name, tex in sections.items())
    filled = {
        "TITLE": escape(title), "AUTHORS": escape(authors), "NOTICE": escape(notice), "ABSTRACT": abstract, "BODY": body,
        "APPENDIX": f"\\section{{Where the Numbers Come From}}\n\\label{{sec:sources}}\n{appendix}" if appendix else "",
    }  # fmt: skip
    for name, tex in filled.items():
        text = text.replace(f"%%KIT:{name}%%", tex)
    if "{kit}" not in text:
        text = text.replace(r"\begin{document}", "\\usepackage{kit}\n\\input{numbers}\n\\begin{document}", 1)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "kit.sty", folder / "kit.sty")
    return save(folder / "paper.tex", text)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
