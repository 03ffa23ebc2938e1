"""A paper as LaTeX: put it together, check it, compile it, look at it. It asks no model."""

from kit.latex.build import compile
from kit.latex.check import check, unseen, used_keys
from kit.latex.claims import claims
from kit.latex.document import Draft, Section, assemble
from kit.latex.log import parse_log
from kit.latex.pages import pages, text
from kit.latex.points import points
from kit.letters import escape, to_latex

__all__ = [
    "Draft",
    "Section",
    "assemble",
    "check",
    "claims",
    "compile",
    "escape",
    "pages",
    "parse_log",
    "points",
    "text",
    "to_latex",
    "unseen",
    "used_keys",
]
