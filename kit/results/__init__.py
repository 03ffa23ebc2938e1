"""From final_info.json to numbers that a paper may use: a ledger, computed comparisons, generated tables."""

from kit.results.evaluation import protected_changes
from kit.results.ledger import Ledger, build_ledger
from kit.results.measured import Measured, read_final_info
from kit.results.numbers import show_number
from kit.results.statistics import CONFIDENCE, compare
from kit.results.tables import tables
from kit.results.tex import FLIPPED, macros, provenance
from kit.results.told import tell_comparisons, tell_conditions, tell_numbers, tell_outcome

__all__ = ["CONFIDENCE", "FLIPPED", "Ledger", "Measured", "build_ledger", "compare", "macros",
           "protected_changes", "provenance", "read_final_info", "show_number", "tables", "tell_comparisons",
           "tell_conditions", "tell_numbers", "tell_outcome"]  # fmt: skip
