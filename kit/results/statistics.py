"""Comparisons, computed and never written by a model."""

import math

from kit.results.measured import Measured
from kit.schemas import Comparison, Verdict
from kit.template import Metric

CONFIDENCE = 0.95


def compare(
    measured: Measured, reference: Measured, metric: str, about: Metric, *, confidence: float = CONFIDENCE,
    **place: str,
) -> Comparison:  # fmt: skip
    """One metric of a run against its baseline; `place` holds dataset, run and baseline.

    Paired t interval over seeds where both runs have the same number of values, else Welch's from means and
    standard errors where the number of seeds is known. Effect size: Cohen's d_z (paired), else d with the
    pooled deviation. Without a direction, or without spread, there is no verdict.
    """
    facts = {"metric": metric, "confidence": confidence, **place}
    if metric not in measured.means or metric not in reference.means:
        return _none(facts, None, "the metric is missing in one of the runs")
    difference = measured.means[metric] - reference.means[metric]
    if about.direction is None:
        return _none(facts, difference, "the template declares no direction for this metric")
    ours, theirs = measured.seeds.get(metric, []), reference.seeds.get(metric, [])
    if len(ours) == len(theirs) >= 2:
        low, high, effect, p = paired_t(ours, theirs, confidence)
        difference, method, n = sum(ours) / len(ours) - sum(theirs) / len(theirs), "paired t", len(ours)
    elif len(ours) >= 2 and len(theirs) >= 2:
        low, high, effect, p = welch(measured, reference, metric, confidence)
        method, n = "Welch", min(len(ours), len(theirs))
    else:
        return _none(facts, difference, "fewer than two seeds: no spread to judge by")
    return Comparison(**facts, difference=difference, low=low, high=high, effect=effect, p_value=p, n=n, method=method,
                      verdict=judge(low, high, about.direction))  # fmt: skip


def judge(low: float, high: float, direction: str) -> Verdict:
    """The verdict of an interval: decided only where it leaves out zero."""
    if low <= 0 <= high:
        return "inconclusive"
    return "better" if (high < 0) == (direction == "min") else "worse"


def paired_t(ours: list[float], theirs: list[float], confidence: float) -> tuple[float, float, float | None, float]:
    """Interval of the mean difference, d_z and two-sided p-value of Student's paired t."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    n, mean = len(differences), sum(differences) / len(differences)
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    if deviation == 0:  # the same shift on every seed: an interval of no width
        return mean, mean, None, 1.0 if mean == 0 else 0.0
    return (
        *_interval(mean, deviation / math.sqrt(n), n - 1, confidence),
        mean / deviation,
        _p(mean, deviation / math.sqrt(n), n - 1),
    )


def welch(ours: Measured, theirs: Measured, metric: str, confidence: float) -> tuple[float, float, float | None, float]:
    """The same from means and spreads of two runs with different numbers of seeds (Welch 1947)."""
    values = [run.seeds[metric] for run in (ours, theirs)]
    means = [sum(v) / len(v) for v in values]
    variances = [sum((x - m) ** 2 for x in v) / (len(v) - 1) for v, m in zip(values, means, strict=True)]
    parts = [s / len(v) for s, v in zip(variances, values, strict=True)]
    mean, error = means[0] - means[1], math.sqrt(sum(parts))
    if error == 0:
        return mean, mean, None, 1.0 if mean == 0 else 0.0
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, values, strict=True))
    effect = mean / math.sqrt(sum(variances) / 2)
    return *_interval(mean, error, freedom, confidence), effect, _p(mean, error, freedom)


def _interval(mean: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    from scipy.special import stdtrit  # scipy.stats says the same and takes half a second to import

    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    return mean - half, mean + half


def _p(mean: float, error: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(mean / error)))


def _none(facts: dict, difference: float | None, reason: str) -> Comparison:
    return Comparison(**facts, difference=difference, low=None, high=None, method="none",
                      verdict="not comparable", reason=reason)  # fmt: skip
