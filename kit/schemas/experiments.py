"""Stage 2: plans, edits, runs, and what was made of them."""

import ast
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from kit import show
from kit.schemas.numbers import Margin, Yardstick


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
    margins: list[Margin] = Field(
        default_factory=list, description="for metrics by which something is predicted to stay the same; often empty"
    )

    yardsticks: list[Yardstick] = Field(
        default_factory=list, description="references computed from runs, where a hypothesis takes three; often empty"
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Plan":
        for pilot in self.pilots:
            self._must_know([pilot])
        self._must_know(self.arms)
        named = [margin.metric for margin in self.margins]
        if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
            raise ValueError(f"`margins` names {twice[0]!r} more than once")
        known = ["run_0", *(arm.name for arm in self.arms)]
        taken = [*known, *(f"run_{number}" for number in range(1, len(known)))]  # what the ledger calls the arms
        for stick in self.yardsticks:
            for name in [*(part.run for part in stick.weights), *stick.held]:
                if name not in known or (name in stick.held and name == "run_0"):
                    raise ValueError(f"{stick.name!r} names {name!r}; the arms are {', '.join(known[1:])}")
            if stick.name in taken:
                raise ValueError(f"the name {stick.name!r} is taken")
            taken = [*taken, stick.name]
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
        said = [f"{self.seeds} seeds each"] if self.seeds else []
        said += [f"{margin.metric}: less than {margin} would not matter" for margin in self.margins]
        said += [f"{stick.title}: {stick}, for {', '.join(stick.held)}" for stick in self.yardsticks]
        return show.block(show.title(self.question, show.tinted("; ".join(said), "soft")), show.table(columns, rows))


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
    """A small analysis after the runs, or none."""

    question: str = Field(description="what it shall find out, in one sentence; empty for no probe")
    code: str = Field(description="analysis.py, the whole program; empty for no probe")
    done: bool = Field(description="true when nothing is to be looked into after this")

    @model_validator(mode="after")
    def _is_python(self) -> "Probe":
        if not self.code.strip():
            if not self.done:
                raise ValueError("a probe needs its program in `code`; where none is needed, set `done` to true")
            return self
        try:
            ast.parse(self.code)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"`code` is no Python: {error}") from error
        return self


class Probed(BaseModel):
    """What a probe found, or why it found nothing."""

    name: str  # probe_1
    question: str
    code: str = ""  # analysis.py
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
