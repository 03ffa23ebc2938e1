"""Reviews: what a reader of the PDF sees, and the arithmetic of several opinions."""

from kit.review.ensemble import SCORES, Ensemble
from kit.review.reading import PaperText, read_paper

__all__ = ["SCORES", "Ensemble", "PaperText", "read_paper"]
