"""Reviews: what a reader of the PDF sees, who reads it, and the arithmetic of several opinions."""

from kit.review.ensemble import SCORES, Ensemble
from kit.review.example import Example, read_examples
from kit.review.panel import STANCES, Panel
from kit.review.reading import PaperText, read_paper

__all__ = ["SCORES", "STANCES", "Ensemble", "Example", "Panel", "PaperText", "read_examples", "read_paper"]
