"""Numbers and comparisons, as the ledger holds them."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field, model_validator

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


class Weight(BaseModel):
    """How much of a run goes into a yardstick."""

    run: str = Field(description="run_0, or the name of an arm")
    weight: float


class Yardstick(BaseModel):
    """A reference that is computed from several runs, seed by seed: a fifth of the harm, twice the cost."""

    name: str = Field(description="lower case, words joined by underscores", pattern=r"^[a-z][a-z0-9_]{1,59}$")
    title: str = Field(description="the label used in tables, at most 40 characters")
    weights: list[Weight] = Field(min_length=2, description="they add up to 1")
    held: list[str] = Field(min_length=1, description="names of the arms that are held against it")

    @model_validator(mode="after")
    def _adds_up(self) -> "Yardstick":
        if len({part.run for part in self.weights}) < len(self.weights):
            raise ValueError(f"{self.name!r} weighs a run more than once: {self}")
        if abs(sum(part.weight for part in self.weights) - 1) > 1e-6:
            raise ValueError(f"the weights of {self.name!r} do not add up to 1: {self}")
        return self

    def renamed(self, names: Mapping[str, str]) -> "Yardstick":
        """The same, told of run_1 instead of an arm's name."""
        weights = [part.model_copy(update={"run": names.get(part.run, part.run)}) for part in self.weights]
        return self.model_copy(update={"weights": weights, "held": [names[name] for name in self.held]})

    def __str__(self) -> str:
        return " + ".join(f"{part.weight:g} {part.run}" for part in self.weights).replace("+ -", "- ")


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
