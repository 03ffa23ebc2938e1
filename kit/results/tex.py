"""The ledger as LaTeX: numbers by key, and the appendix that says where each comes from."""

import re
from collections.abc import Collection, Mapping, Sequence
from statistics import median

from kit.letters import escape
from kit.results.ledger import Ledger
from kit.results.numbers import show_comparison, show_count, show_number
from kit.schemas import Number

FLIPPED = {"better": "worse", "worse": "better"}
SHOWN_SEEDS = 8  # values per seed in the appendix


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
    """Each number as it is printed: the means of one metric with the same decimals, a count with those it has."""
    means = [n for n in ledger.numbers if n.statistic == "mean"]
    spreads = {n.key.removesuffix("/stderr"): n.value for n in ledger.numbers if n.statistic == "stderr"}
    steps = {metric: _step([n for n in means if n.metric == metric], spreads) for metric in {n.metric for n in means}}
    return [(n, _one(n, steps, spreads)) for n in ledger.numbers]


def _one(number: Number, steps: Mapping[str, float | None], spreads: Mapping[str, float]) -> str:
    if number.statistic in ("count", "setting"):
        return show_count(number.value)
    if number.statistic == "stderr":
        return show_number(number.value, number.value)
    common = show_number(number.value, steps.get(number.metric, spreads.get(number.key)))
    lost = number.value and not re.search(r"[1-9]", common)  # it is smaller than what the others vary by
    return show_number(number.value, spreads.get(number.key)) if lost else common


def _step(numbers: Sequence[Number], spreads: Mapping[str, float]) -> float | None:
    """The spread that is usual for a metric: its decimals are those of all its means."""
    known = [spreads[n.key] for n in numbers if spreads.get(n.key)]
    sizes = [abs(n.value) / 100 for n in numbers if n.value and n.value != int(n.value)]
    return median(known or sizes) if known or sizes else None


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
