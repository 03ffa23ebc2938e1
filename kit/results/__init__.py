"""From final_info.json to numbers that a paper may use: a ledger, computed comparisons, generated tables."""

from kit.results.evaluation import protected_changes
from kit.results.ledger import Ledger, build_ledger
from kit.results.measured import Measured, read_final_info
from kit.results.numbers import show_number
from kit.results.statistics import compare
from kit.results.tables import tables
from kit.results.tex import macros, provenance

__all__ = ["Ledger", "Measured", "build_ledger", "compare", "macros", "protected_changes", "provenance",
           "read_final_info", "show_number", "tables"]  # fmt: skip
