"""The literature: one search, whichever engine answers, and BibTeX that compiles."""

from kit.literature.ask import LiteratureUnavailable
from kit.literature.bib import bibtex, read_bib
from kit.literature.search import ENGINES, SHIPPED, Inquiry, Literature, connect, merge, rank

__all__ = ["ENGINES", "SHIPPED", "Inquiry", "Literature", "LiteratureUnavailable", "bibtex", "connect", "merge", "rank",
           "read_bib"]  # fmt: skip
