"""Numbers and comparisons, as the ledger holds them."""

from typing import Literal

from pydantic import BaseModel, Field

# equivalent: not told apart from zero, and the whole interval lies within the margin that the plan named.
# identical: the same in every seed, to the last digit. Nothing is left open there, and nothing was decided by chance.
Verdict = Literal["better", "worse", "equivalent", "inconclusive", "identical", "not comparable"]


class Number(BaseModel):
    """One number of the ledger and where it comes from."""

    key: str  # run_1/circle/kl_divergence, .../stderr
    value: float
    run: str
    dataset: str
    metric: str
    statistic: Literal["mean", "stderr", "probe", "setting", "count"]
    seeds: list[float] = []  # the values per seed behind a mean
    file: str  # relative to the idea's folder
    pointer: str  # where in that file (JSON pointer)


class Margin(BaseModel):
    """How large a difference would still not matter, said before anybody has seen one."""

    metric: str
    size: float = Field(gt=0, description="of the difference, to either side of zero")
    unit: Literal["percent", "absolute"] = Field(
        default="percent", description="percent: of the reference's mean; absolute: in the metric's own unit"
    )

    def within(self, mean: float) -> float:
        """The margin in the metric's unit, against a reference of that mean."""
        return self.size * abs(mean) / 100 if self.unit == "percent" else self.size

    def __str__(self) -> str:
        return f"{self.size:g}{' % of the reference' if self.unit == 'percent' else ''}"


class Comparison(BaseModel):
    """Two runs on one metric of one dataset, computed and never written by a model."""

    dataset: str
    metric: str
    run: str
    baseline: str
    difference: float | None  # run minus baseline, in the metric's unit
    low: float | None  # confidence interval of the difference
    high: float | None
    confidence: float = 0.95
    effect: float | None = None  # difference in units of its standard deviation over seeds
    p_value: float | None = None
    n: int = 0  # seeds
    margin: float | None = None  # the difference, in the metric's unit, that the plan said would not matter
    method: Literal["paired t", "Welch", "none"]
    verdict: Verdict
    reason: str = ""  # why it is not comparable, where it is not
