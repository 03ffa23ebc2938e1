"""Reviews: what a reader of the PDF sees, who reads it, and what several opinions come to."""

from kit.review.ensemble import SCORES, Ensemble
from kit.review.example import Example, read_examples
from kit.review.panel import STANCES, Panel
from kit.review.reading import PaperText, read_paper
from kit.review.versions import TITLES, Versions

__all__ = ["SCORES", "STANCES", "TITLES", "Ensemble", "Example", "Panel", "PaperText", "Versions", "read_examples",
           "read_paper"]  # fmt: skip
