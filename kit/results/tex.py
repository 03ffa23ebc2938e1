"""The ledger as LaTeX: numbers by key, and the appendix that says where each comes from."""

import re
import unicodedata
from collections.abc import Collection

from kit.results.ledger import Ledger
from kit.results.numbers import show_comparison, show_count, show_number
from kit.schemas import Number

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
SIGNS = {"→": r"\rightarrow", "←": r"\leftarrow", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "∞": r"\infty",
         "−": "-", "↑": r"\uparrow", "↓": r"\downarrow", "√": r"\surd", "∇": r"\nabla"}  # fmt: skip
QUOTES = {"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "‑": "-"}
CAPITALS = "GAMMA|DELTA|THETA|LAMBDA|XI|PI|SIGMA|UPSILON|PHI|PSI|OMEGA"  # the others look like Latin ones
GREEK = re.compile(rf"GREEK SMALL LETTER ((?!OMICRON)[A-Z]+)|GREEK CAPITAL LETTER ({CAPITALS})")
FLIPPED = {"better": "worse", "worse": "better"}
SHOWN_SEEDS = 8  # values per seed in the appendix


def escape(text: str) -> str:
    """Plain text as LaTeX; a label that somebody wrote may hold any letter."""
    return "".join(SPECIAL.get(letter) or _letter(letter) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> str:
    if " " <= letter < "\u0180" or letter in QUOTES:
        return QUOTES.get(letter, letter)
    if letter in SIGNS:
        return rf"\ensuremath{{{SIGNS[letter]}}}"
    if greek := GREEK.fullmatch(unicodedata.name(letter, "").replace("LAMDA", "LAMBDA").replace("FINAL ", "VAR")):
        return rf"\ensuremath{{\{greek[1].lower() if greek[1] else greek[2].capitalize()}}}"
    return "".join(c for c in unicodedata.normalize("NFKD", letter) if " " <= c <= "~") or "?"


# --- numbers.tex --------------------------------------------------------------------------------


def macros(ledger: Ledger) -> str:
    """numbers.tex: what \\val and \\cmp of kit.sty expand to."""
    lines = [rf"\KitNumber{{{n.key}}}{{{shown}}}" for n, shown in _shown(ledger)]
    for c in ledger.comparisons:
        other = c.model_copy(update={
            "difference": _negated(c.difference), "low": _negated(c.high), "high": _negated(c.low),
            "verdict": FLIPPED.get(c.verdict, c.verdict), "run": c.baseline, "baseline": c.run,
        })  # fmt: skip
        lines += [rf"\KitComparison{{{x.dataset}/{x.metric}}}{{{x.run}}}{{{x.baseline}}}"
                  rf"{{{show_comparison(x)}}}{{{x.verdict}}}" for x in (c, other)]  # fmt: skip
    return "% Generated from results.json.\n" + "\n".join(lines) + "\n"


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _shown(ledger: Ledger) -> list[tuple[Number, str]]:
    """Each number as it is printed: a mean with the decimals of its standard error."""
    spreads = {n.key: n.value for n in ledger.numbers if n.statistic == "stderr"}
    mean = lambda n: show_number(n.value, spreads.get(f"{n.key}/stderr"))  # noqa: E731
    show = {"stderr": lambda n: show_number(n.value, n.value), "mean": mean, "probe": mean,
            "count": lambda n: show_count(n.value), "setting": lambda n: show_count(n.value)}  # fmt: skip
    return [(n, show[n.statistic](n)) for n in ledger.numbers]


# --- the appendix -------------------------------------------------------------------------------


def provenance(ledger: Ledger, used: Collection[str]) -> str:
    """The appendix: one row for each number that the paper uses, with its seeds and its place in a file."""
    rows = [rf"\KitSource{{{n.key}}}{{{shown}}}{{{_seeds(n)}}}{{{_breakable(f'{n.file} {n.pointer}'.strip())}}}"
            for n, shown in _shown(ledger) if n.key in used]  # fmt: skip
    if not rows:
        return ""
    runs = ", ".join(rf"\texttt{{{escape(run)}}} is {escape(title)}" for run, title in ledger.runs.items())
    lead = f"Each number in the text links to its row here. Of the keys, {runs}; files lie in the folder of the idea."
    return "\n".join([lead, "", r"\begin{kitsources}", *rows, r"\end{kitsources}", ""])


def _seeds(number: Number) -> str:
    more = [r"\ldots"] if len(number.seeds) > SHOWN_SEEDS else []
    return ", ".join([*(rf"\ensuremath{{{value:.4g}}}" for value in number.seeds[:SHOWN_SEEDS]), *more]) or "--"


def _breakable(text: str) -> str:
    return escape(text).replace("/", r"/\allowbreak ").replace(r"\_", r"\_\allowbreak ")
