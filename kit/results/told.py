"""The ledger in few words, for a writer: keys with their values, comparisons with their verdicts, and what came out."""

from collections import defaultdict
from collections.abc import Iterable

from kit.results.ledger import Ledger
from kit.schemas import Comparison


def tell_numbers(ledger: Ledger) -> str:
    """Every number, one line for those whose keys begin alike: a name completes the key before it."""
    spreads = {n.key.removesuffix("/stderr"): n.value for n in ledger.numbers if n.statistic == "stderr"}
    lines: dict[str, list[str]] = defaultdict(list)
    for number in ledger.numbers:
        if number.statistic != "stderr":
            place, _, name = number.key.rpartition("/")
            spread = f" ± {spreads[number.key]:.2g}" if number.key in spreads else ""
            lines[place].append(f"{name} {number.value:.4g}{spread}")
    return "\n".join(f"`{place}/`: {'; '.join(values)}" for place, values in lines.items())


def tell_comparisons(ledger: Ledger) -> str:
    """One line for two runs and a metric; intervals where the metric carries the argument, verdicts for the others."""
    lines = []
    for (run, baseline, metric), group in _groups(ledger.comparisons).items():
        headline = metric in ledger.headline()
        said = "; ".join(map(_with_interval, group)) if headline else _by_verdict(group)
        lines.append(f"{run} against {baseline}, {metric}: {said}")
    return "\n".join(lines) or "No runs were compared."


def tell_outcome(ledger: Ledger) -> str:
    """What came out, by verdicts alone, with the counts that a text may print."""
    lines = [f"- {run}: {label}" for run, label in ledger.runs.items()]
    groups = _groups(c for c in ledger.comparisons if c.metric in ledger.headline())
    lines += ["", *(f"{run} against {baseline}, {metric}: {_by_verdict(group)}"
                    for (run, baseline, metric), group in groups.items())]  # fmt: skip
    counts = [f"`{n.key}` = {n.value:g}" for n in ledger.numbers if n.key.startswith("summary/")]
    return "\n".join([*lines, "", f"Of all: {', '.join(counts)}"])


def _groups(comparisons: Iterable[Comparison]) -> dict[tuple[str, str, str], list[Comparison]]:
    groups: dict[tuple[str, str, str], list[Comparison]] = defaultdict(list)
    for c in comparisons:
        groups[c.run, c.baseline, c.metric].append(c)
    return groups


def _with_interval(c: Comparison) -> str:
    if c.low is None:
        return f"{c.dataset} {c.verdict} ({c.reason})"
    return f"{c.dataset} {c.difference:.3g} [{c.low:.3g}, {c.high:.3g}] {c.verdict}"


def _by_verdict(group: list[Comparison]) -> str:
    """Better on dino; inconclusive on circle, line."""
    sets: dict[str, list[str]] = defaultdict(list)
    for c in group:
        sets[f"{c.verdict} ({c.reason})" if c.reason else c.verdict].append(c.dataset)
    return "; ".join(f"{verdict} on {', '.join(names)}" for verdict, names in sets.items())
