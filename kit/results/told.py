"""The ledger in few words, for a model: keys with their values, comparisons with their verdicts, and what came out."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kit.schemas import Comparison, Number

if TYPE_CHECKING:
    from kit.results.ledger import Ledger

METHODS = {
    "paired t": "a two-sided t-test on paired differences, seed by seed, not corrected for the number of comparisons",
    "Welch": "Welch's t-test from means and standard errors, not corrected for the number of comparisons",
}
MANY = 12  # values behind a mean; more are not listed one by one


def tell_numbers(ledger: "Ledger", run: str = "") -> str:
    """Every number, or those that a note on one run needs; keys that begin alike share a line, a name completes them.

    For one run: its own, the baseline's and those of the runs that it is compared with. A time that all datasets
    share is told once.
    """
    wanted = {run, "run_0", *(c.baseline for c in ledger.comparisons if c.run == run)}
    wanted |= {part.run for stick in ledger.yardsticks if run in stick.held for part in stick.weights}
    beside = {f"{other}/summary" for other in wanted - {run}}
    spreads = {n.key.removesuffix("/stderr"): n.value for n in ledger.numbers if n.statistic == "stderr"}
    lines: dict[str, list[str]] = defaultdict(list)
    timing = {name for name, about in ledger.metrics.items() if about.timing}
    told: set[tuple] = set()
    for number in ledger.numbers:
        place, _, name = number.key.rpartition("/")
        time = (number.run, number.metric, number.value)
        if number.statistic == "stderr" or (number.metric in timing and time in told):
            continue
        if place == "summary" and name != "num_seeds" and not ledger.comparisons:  # nothing to count yet
            continue
        if not run or (place.partition("/")[0] in wanted and place not in beside):
            lines[place].append(f"{name} {_value(number, spreads)}")
            told.add(time)
    return "\n".join(f"`{place}/`: {'; '.join(values)}" for place, values in lines.items())


def _value(number: Number, spreads: dict[str, float]) -> str:
    """The number with its standard error; what a probe measured many times with its range as well."""
    spread = f" ± {spreads[number.key]:.2g}" if number.key in spreads else ""
    if len(number.seeds) > MANY:
        spread += f" ({len(number.seeds)} values, {min(number.seeds):.4g} to {max(number.seeds):.4g})"
    return f"{number.value:.4g}{spread}"


def tell_comparisons(ledger: "Ledger", run: str = "") -> str:
    """One line for two runs and a metric, with intervals; metrics beside the point by their verdicts alone.

    For one run only its own comparisons are told, each with its interval, and seed by seed where the argument hangs
    on the metric.
    """
    seeds = {n.key: n.seeds for n in ledger.numbers if n.statistic == "mean"}
    lines, untold = [], defaultdict[tuple[str, str], list[str]](list)
    for (one, other, metric), group in groups(c for c in ledger.comparisons if run in ("", c.run)).items():
        if all(c.low is None for c in group) and len({c.reason for c in group}) == 1:
            untold[group[0].reason, f"{one} against {other}"].append(metric)
        elif len(group) > 1 and all(c.verdict == "identical" for c in group):
            lines.append(f"{one} against {other}, {metric}: identical in every seed of every dataset")
        elif run and metric in ledger.headline():
            lines.append(f"{one} against {other}, {metric}: {'; '.join(_seed_by_seed(c, seeds) for c in group)}")
        else:
            whole = run or metric in ledger.headline()
            said = "; ".join(map(_interval, group)) if whole else _by_verdict(group)
            lines.append(f"{one} against {other}, {metric}: {said}")
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)  # runs in which the same cannot be compared
    for (reason, runs), metrics in untold.items():
        alike[reason, ", ".join(metrics)].append(runs)
    lines += [f"Not comparable ({reason}): {metrics} of {', '.join(runs)}" for (reason, metrics), runs in alike.items()]
    lines += _declared(ledger)
    return "\n".join(lines) or "No run has been compared with the baseline yet."


def tell_outcome(ledger: "Ledger") -> str:
    """What came out, by verdicts alone, with the counts that a text may print."""
    lines = [f"- {run}: {label}" for run, label in ledger.runs.items()]
    carrying = groups(c for c in ledger.comparisons if c.metric in ledger.headline())
    lines += ["", *(f"{run} against {baseline}, {metric}: {_by_verdict(group)}"
                    for (run, baseline, metric), group in carrying.items())]  # fmt: skip
    counts = [f"`{n.key}` = {n.value:g}" for n in ledger.numbers if n.key.startswith("summary/")]
    return "\n".join([*lines, "", f"Of all: {', '.join(counts)}"])


def tell_conditions(ledger: "Ledger") -> str:
    """Under which conditions the runs were made and compared, as a section on the setup has to say."""
    seeds = ledger.value("summary/num_seeds").value
    lines = [f"Each run has {seeds:g} seed{'s' * (seeds != 1)}, the same for all runs (`\\val{{summary/num_seeds}}`)."]
    if ledger.preset:
        lines.append(f"The environment variable KIT_PRESET was `{ledger.preset}`: where the program has several sizes, "
                     "those of this preset hold.")  # fmt: skip
    methods = {c.method for c in ledger.comparisons}
    lines += [f"Intervals come from {said}." for method, said in METHODS.items() if method in methods]
    return "\n".join([*lines, *_declared(ledger)])


def _declared(ledger: "Ledger") -> Iterable[str]:
    """What the plan declared that comparisons hang on."""
    if ledger.margins:
        said = (f"{margin} for {metric} (`plan/margin/{metric}`)" for metric, margin in ledger.margins.items())
        yield f"Equivalent: the interval lies within a margin that the plan named: {', '.join(said)}."
    for stick in ledger.yardsticks:
        yield f"`{stick.name}` is computed seed by seed: {stick} ({stick.title})."


def groups(comparisons: Iterable[Comparison]) -> dict[tuple[str, str, str], list[Comparison]]:
    """The comparisons of two runs by a metric, one a dataset."""
    found: dict[tuple[str, str, str], list[Comparison]] = defaultdict(list)
    for c in comparisons:
        found[c.run, c.baseline, c.metric].append(c)
    return found


def _interval(c: Comparison) -> str:
    if c.low is None:
        return f"{c.dataset} {c.verdict} ({c.reason})"
    if c.verdict == "identical":
        return f"{c.dataset} identical in every seed"
    small = c.verdict in ("better", "worse") and c.margin is not None and -c.margin < c.low < (c.high or 0) < c.margin
    return f"{c.dataset} {c.difference:.3g} [{c.low:.3g}, {c.high:.3g}] {c.verdict}{', within the margin' * small}"


def _seed_by_seed(c: Comparison, seeds: dict[str, list[float]]) -> str:
    """The comparison, and where it is paired the difference of each seed and its share of the reference."""
    ours, theirs = (seeds.get(f"{run}/{c.dataset}/{c.metric}", []) for run in (c.run, c.baseline))
    if c.method != "paired t" or len(ours) != len(theirs) or len(ours) > MANY or c.verdict == "identical":
        return _interval(c)
    each = ", ".join(f"{one - other:.3g}" for one, other in zip(ours, theirs, strict=True))
    share, of = "", abs(sum(theirs) / len(theirs)) / 100
    if of:
        mean, low, high = (f"{part / of:.2g}" for part in (c.difference, c.low, c.high) if part is not None)
        share = f"; in % of {c.baseline}: {mean} [{low}, {high}]"
    return f"{_interval(c)} (by seed: {each}{share})"


def _by_verdict(group: list[Comparison]) -> str:
    """Better on dino; inconclusive on circle, line."""
    sets: dict[str, list[str]] = defaultdict(list)
    for c in group:
        sets[f"{c.verdict} ({c.reason})" if c.reason else c.verdict].append(c.dataset)
    return "; ".join(f"{verdict} on {', '.join(names)}" for verdict, names in sets.items())
