"""Comparisons, computed and never written by a model."""

import math

from kit.results.measured import Measured, Sample
from kit.schemas import Comparison, Margin, Verdict
from kit.template import Metric

CONFIDENCE = 0.95
SAME = 1e-12  # differences that vary less than this, relative to the values, do not vary

Interval = tuple[float, float, float, float]  # low, high, effect, p


def compare(
    measured: Measured, reference: Measured, metric: str, about: Metric, *, confidence: float = CONFIDENCE,
    margin: Margin | None = None, **place: str,
) -> Comparison:  # fmt: skip
    """One metric of a run against its baseline; `place` holds dataset, run and baseline.

    Paired t interval over seeds where both runs have the same number of values, else Welch's from means and
    standard errors where the number of seeds is known. Effect size: Cohen's d_z (paired), else d with the
    pooled deviation. Without a direction, or without spread, there is no verdict. Within `margin` a difference would
    not matter.
    """
    facts = {"metric": metric, "confidence": confidence, **place}
    if metric not in measured.means or metric not in reference.means:
        return no_verdict(facts, None, "the metric is missing in one of the runs")
    difference = measured.means[metric] - reference.means[metric]
    if about.direction is None:
        return no_verdict(facts, difference, "the template declares no direction for this metric")
    ours, theirs = measured.seeds.get(metric, []), reference.seeds.get(metric, [])
    one, other = measured.sample(metric), reference.sample(metric)
    if len(ours) == len(theirs) >= 2:
        found, method, n = paired_t(ours, theirs, confidence), "paired t", len(ours)
    elif one and other:
        found, method, n = welch(one, other, confidence), "Welch", min(one.n, other.n)
    else:
        return no_verdict(facts, difference, _why(measured, reference, metric))
    if one and other:
        difference = one.mean - other.mean
    if found is None:
        return no_verdict(facts, difference, "the values do not vary over seeds: no spread to judge by")
    low, high, effect, p = found
    within = margin.within(reference.means[metric]) if margin else 0.0
    return Comparison(**facts, difference=difference, low=low, high=high, effect=effect, p_value=p, n=n, method=method,
                      margin=within or None, verdict=judge(low, high, about.direction, within))  # fmt: skip


def judge(low: float, high: float, direction: str, margin: float = 0) -> Verdict:
    """The verdict of an interval: decided only where it leaves out zero; one without width is of equal values.

    What is not decided is equivalent where the interval lies within ± margin: two one-sided tests (Schuirmann 1987),
    each at half of what the confidence leaves.
    """
    if low == high == 0:
        return "identical"
    if low <= 0 <= high:
        return "equivalent" if -margin < low and high < margin else "inconclusive"
    return "better" if (high < 0) == (direction == "min") else "worse"


def paired_t(ours: list[float], theirs: list[float], confidence: float) -> Interval | None:
    """Interval of the mean difference, d_z and two-sided p-value of Student's paired t; nothing without spread."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    n, mean = len(differences), math.fsum(differences) / len(differences)
    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if deviation <= SAME * max(map(abs, [*ours, *theirs])):  # the same difference on every seed
        return (0.0, 0.0, 0.0, 1.0) if not any(differences) else None
    error = deviation / math.sqrt(n)
    return *_interval(mean, error, n - 1, confidence), mean / deviation, _p(mean, error, n - 1)


def welch(ours: Sample, theirs: Sample, confidence: float) -> Interval | None:
    """The same from two means, their standard errors and numbers of seeds (Welch 1947)."""
    parts = [(sample.stderr**2, sample.n) for sample in (ours, theirs)]
    mean, error = ours.mean - theirs.mean, math.sqrt(sum(part for part, _ in parts))
    if error <= SAME * max(abs(ours.mean), abs(theirs.mean)):
        return (0.0, 0.0, 0.0, 1.0) if mean == 0 else None
    freedom = sum(part for part, _ in parts) ** 2 / sum(part**2 / (n - 1) for part, n in parts)
    effect = mean / math.sqrt(sum(part * n for part, n in parts) / 2)
    return *_interval(mean, error, freedom, confidence), effect, _p(mean, error, freedom)


def no_verdict(facts: dict, difference: float | None, reason: str) -> Comparison:
    """A comparison that cannot be made, and why."""
    return Comparison(**facts, difference=difference, low=None, high=None, method="none",
                      verdict="not comparable", reason=reason)  # fmt: skip


def _why(measured: Measured, reference: Measured, metric: str) -> str:
    if metric in measured.stderrs and metric in reference.stderrs:
        return "the number of seeds behind its standard errors is not known"
    return "fewer than two seeds: no spread to judge by"


def _interval(mean: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    from scipy.special import stdtrit  # scipy.stats says the same and takes half a second to import

    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    return mean - half, mean + half


def _p(mean: float, error: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(mean / error)))
