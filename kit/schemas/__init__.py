"""What the stages hand on to each other, and what a model is asked to reply with.

Field names in capitals are those of The AI Scientist, so that its files and ours can be exchanged.
No type that a model fills in holds an open dictionary: providers' strict modes refuse them.
"""

import ast
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from kit import show
from kit.schemas.paper import (  # noqa: F401  # stage 3 has a file of its own
    Build,
    Choice,
    Choices,
    Critique,
    Finding,
    Paper,
    Point,
    Problem,
    Queries,
    Reference,
)
from kit.schemas.review import Review, ReviewReflection  # noqa: F401  # and so has stage 4

Verdict = Literal["better", "worse", "inconclusive", "not comparable"]


class KitError(Exception):
    """Something a person can mend: the message names the thing and the cure."""


class FormatError(ValueError):
    """A reply that does not have the form that was asked for; the message goes back to the model."""


# --- stage 1: ideas -----------------------------------------------------------------------------


class Idea(BaseModel):
    """One research idea for a template."""

    Name: str = Field(description="lower case, words joined by underscores", pattern=r"^[a-z0-9][a-z0-9_]{1,59}$")
    Title: str = Field(description="title of the paper it could become")
    Hypothesis: str = Field(default="", description="one sentence that an experiment can prove wrong")
    Experiment: str = Field(description="what to change in experiment.py, which runs, what is measured")
    Metric: str = Field(default="", description="the metric that decides, by its name in final_info.json")
    Interestingness: int = Field(ge=1, le=10)
    Feasibility: int = Field(ge=1, le=10)
    Novelty: int = Field(ge=1, le=10)


class Reflection(BaseModel):
    """An idea looked at once more."""

    thoughts: str
    idea: Idea
    done: bool = Field(description="true when nothing is left to improve")


class Query(BaseModel):
    """A literature search, or the decision that no more is needed."""

    thoughts: str
    query: str = Field(description="a few words as one would type them into a search engine; may be empty when done")
    done: bool


class Novelty(BaseModel):
    """Whether the literature already holds an idea."""

    verdict: Literal["novel", "not novel", "unchecked"] = "unchecked"
    reason: str = ""
    papers: list[str] = Field(default_factory=list, description="keys of the closest papers that were found")


# --- stage 2: experiments -----------------------------------------------------------------------


class Arm(BaseModel):
    """One planned run: what it changes, and what it is for."""

    name: str = Field(description="lower case, words joined by underscores", pattern=r"^[a-z0-9][a-z0-9_]{1,59}$")
    title: str = Field(description="the label used in tables and figures, at most 40 characters")
    role: Literal["variant", "control", "ablation", "reference"] = Field(
        default="variant", description="reference: a baseline of its own, for another size or setting"
    )
    start_from: str = Field(default="run_0", description="run_0 for the baseline's code, or the name of an earlier arm")
    compare_with: str = Field(
        default="run_0", description="the arm that this one is held against, beside run_0, where that is another"
    )
    change: str = Field(description="what is changed in the code, and why")
    prediction: str = Field(description="what the result will be, written before the run")


class NewMetric(BaseModel):
    """A number that the planned edits add to final_info.json, declared before the first run."""

    name: str = Field(description="its name in final_info.json", pattern=r"^[A-Za-z][A-Za-z0-9_]{1,59}$")
    label: str = Field(description="the name that tables show")
    direction: Literal["min", "max", "none"] = Field(description="min: lower is better; none: it is not compared")


class Plan(BaseModel):
    """The runs that will decide an idea, fixed before the first of them."""

    question: str = Field(description="the question that the runs answer together")
    arms: list[Arm] = Field(min_length=1)
    pilots: list[Arm] = Field(
        default_factory=list, description="small runs that you need before you can fix this plan; most often none"
    )
    seeds: int = Field(default=0, ge=0, description="seeds of every run and of the baseline; 0: as many as it has now")
    metrics: list[NewMetric] = Field(
        default_factory=list, description="numbers that the template does not measure yet; often empty"
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Plan":
        for pilot in self.pilots:
            self._must_know([pilot])
        self._must_know(self.arms)
        return self

    @staticmethod
    def _must_know(arms: list[Arm]) -> None:
        known = ["run_0"]
        for arm in arms:
            if arm.name in known:
                raise ValueError(f"two runs are called {arm.name!r}")
            for field, name in (("start_from", arm.start_from), ("compare_with", arm.compare_with)):
                if name not in known:
                    raise ValueError(f"{field} of {arm.name!r} is {name!r}; before it there are {', '.join(known)}")
            known.append(arm.name)

    def _repr_html_(self) -> str:
        rows = [[f"run_{n}", arm.title, arm.role, arm.change, arm.prediction] for n, arm in enumerate(self.arms, 1)]
        columns = ["Run", "Arm", "Role", "What changes, and why", "Predicted before the run"]
        seeds = show.tinted(f"{self.seeds} seeds each", "soft") if self.seeds else ""
        return show.block(show.title(self.question, seeds), show.table(columns, rows))


class Edit(BaseModel):
    """One SEARCH/REPLACE block: these exact lines of this file become those."""

    path: str
    search: str
    replace: str


class RunResult(BaseModel):
    """How one run of a program went."""

    run: str  # run_1
    title: str = ""
    ok: bool
    returncode: int = 0
    seconds: float = 0.0
    timed_out: bool = False
    level: str = ""  # of the sandbox
    trouble: str = ""  # what a model is told when it did not go well
    protected: list[str] = []  # parts of the evaluation that the edit changed
    beside: bool = False  # whether other runs went on at the same time, so that its times say little
    code: str = ""  # experiment.py as it ran


class Note(BaseModel):
    """What a run taught, written after reading its computed comparison."""

    text: str = Field(description="what was tried, what came out, what it means; no number that is not in the ledger")
    settled: bool = Field(description="true when the remaining runs would not change the conclusion")


class Probe(BaseModel):
    """A small analysis after the runs, or the decision that none is needed."""

    question: str = Field(description="what it shall find out, in one sentence; may be empty when done")
    code: str = Field(description="analysis.py, the whole program; may be empty when done")
    done: bool = Field(description="true when the runs have said enough")

    @model_validator(mode="after")
    def _is_python(self) -> "Probe":
        if self.done:
            return self
        if not self.code.strip():
            raise ValueError("a probe needs its program in `code`")
        try:
            ast.parse(self.code)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"`code` is no Python: {error}") from error
        return self


class Probed(BaseModel):
    """What a probe found, or why it found nothing."""

    name: str  # probe_1
    question: str
    ok: bool
    numbers: dict[str, list[float]] = {}  # one value, or one a seed
    figures: list[str] = []  # names in figures/
    trouble: str = ""  # what a model is told when it did not go well
    tail: str = ""  # its last words
    seconds: float = 0.0
    level: str = ""  # of the sandbox


class Conclusion(BaseModel):
    """What the runs together came to."""

    answer: str = Field(description="the answer to the plan's question, with its limits")
    mispredicted: list[str] = Field(description="each prediction that did not come true, and what came instead")
    lesson: str = Field(description="one or two sentences that a later idea can build on")

    def _repr_html_(self) -> str:
        missed = show.cards({"Predicted otherwise": self.mispredicted})
        return show.block(show.paragraph(self.answer), missed, show.facts([("Lesson", self.lesson)]))


class FigureProblem(BaseModel):
    """Something that a reader of a figure would stumble over."""

    figure: str
    problem: str


class FigureLook(BaseModel):
    """What is wrong with the figures, or that nothing is."""

    problems: list[FigureProblem]
    done: bool = Field(description="true when the figures can go into the paper as they are")


class Caption(BaseModel):
    """What a figure shows, for the writer of the paper."""

    file: str
    caption: str


class Captions(BaseModel):
    """The captions of all figures of an idea."""

    figures: list[Caption]


# --- the quiz of templates/plots_vs_text ---------------------------------------------------------


class QuizAnswer(BaseModel):
    """The answer to a question with lettered choices."""

    reason: str = Field(description="what decides, in one sentence")
    choice: Literal["A", "B", "C", "D", "E", "none"] = Field(
        description="the letter of your answer; none if you were shown nothing to answer from"
    )


# --- numbers ------------------------------------------------------------------------------------


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
    method: Literal["paired t", "Welch", "none"]
    verdict: Verdict
    reason: str = ""  # why it is not comparable, where it is not
