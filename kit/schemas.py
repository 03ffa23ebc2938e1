"""What the stages hand on to each other, and what a model is asked to reply with.

Field names in capitals are those of The AI Scientist, so that its files and ours can be exchanged.
No type that a model fills in holds an open dictionary: providers' strict modes refuse them.
"""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from kit import show

Score = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
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


class NoveltyQuery(Query):
    """A search for earlier work, and which of the papers found last come close."""

    close: list[str] = Field(default_factory=list, description="keys of papers of the last search that come close")


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
    role: Literal["variant", "control", "ablation"] = "variant"
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
    metrics: list[NewMetric] = Field(
        default_factory=list, description="numbers that the template does not measure yet; often empty"
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Plan":
        known = ["run_0"]
        for arm in self.arms:
            if arm.name in known:
                raise ValueError(f"two runs are called {arm.name!r}")
            for field, name in (("start_from", arm.start_from), ("compare_with", arm.compare_with)):
                if name not in known:
                    raise ValueError(f"{field} of {arm.name!r} is {name!r}; before it there are {', '.join(known)}")
            known.append(arm.name)
        return self

    def _repr_html_(self) -> str:
        rows = [[f"run_{n}", arm.title, arm.role, arm.change, arm.prediction] for n, arm in enumerate(self.arms, 1)]
        columns = ["Run", "Arm", "Role", "What changes, and why", "Predicted before the run"]
        return show.block(show.title(self.question), show.table(columns, rows))


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
    code: str = ""  # experiment.py as it ran


class Note(BaseModel):
    """What a run taught, written after reading its computed comparison."""

    text: str = Field(description="what was tried, what came out, what it means; no number that is not in the ledger")
    settled: bool = Field(description="true when the remaining runs would not change the conclusion")


class Caption(BaseModel):
    """What a figure shows, for the writer of the paper."""

    file: str
    caption: str


class Captions(BaseModel):
    """The captions of all figures of an idea."""

    figures: list[Caption]


# --- numbers ------------------------------------------------------------------------------------


class Number(BaseModel):
    """One number of the ledger and where it comes from."""

    key: str  # run_1/circle/kl_divergence, .../stderr
    value: float
    run: str
    dataset: str
    metric: str
    statistic: Literal["mean", "stderr", "setting", "count"]
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


# --- stage 3: paper -----------------------------------------------------------------------------


class Paper(BaseModel):
    """A publication found by a literature engine."""

    key: str  # BibTeX key, stable for the same paper: ho2020denoising
    title: str
    authors: list[str] = []
    year: int | None = None
    venue: str = ""
    abstract: str = ""
    doi: str = ""
    arxiv: str = ""
    url: str = ""
    citations: int | None = None
    source: str = ""  # the engine that found it
    tex: bool = False  # its fields are LaTeX already, as in a .bib file


class Choice(BaseModel):
    """A paper to cite, and what for."""

    key: str
    purpose: str = Field(description="one sentence: what our paper cites it for")


class Choices(BaseModel):
    """The papers to cite."""

    choices: list[Choice]


class Reference(BaseModel):
    """A chosen paper, as the writer of a section sees it."""

    key: str
    title: str
    purpose: str


class Finding(BaseModel):
    """A search and what it found."""

    query: str
    papers: list[Paper] = []
    thoughts: str = ""  # of the model, when it asked: what it made of the searches before
    trouble: str = ""  # why nothing could be searched


class Problem(BaseModel):
    """Something wrong with a paper, said so that a writer can mend it."""

    kind: str  # error, reference, citation, number, literal number, comparison, figure, overfull, chktex …
    message: str
    file: str = ""
    line: int | None = None
    fatal: bool = True  # a paper with a fatal problem is not a build


class Build(BaseModel):
    """The outcome of compiling a paper."""

    ok: bool
    pdf: str = ""
    pages: int = 0
    seconds: float = 0.0
    engine: str = ""
    problems: list[Problem] = []

    def _repr_html_(self) -> str:
        fatal = [p for p in self.problems if p.fatal]
        verdict = show.badge("built", "good") if self.ok else show.badge("not built", "bad")
        done = f"{self.pages} pages, {self.seconds:g} s with {self.engine}" if self.ok else f"{len(fatal)} to mend"
        rows = [[p.kind, p.message, p.line or ""] for p in self.problems]
        remarks = show.table(["Kind", "What", "Line"], rows)
        folded = show.details(f"{len(rows)} remark{'s' * (len(rows) > 1)}", remarks) if self.ok else remarks
        return show.block(show.title(self.pdf or "paper.pdf", verdict, show.cell(done)), folded if rows else "")


# --- stage 4: review ----------------------------------------------------------------------------

Four = Literal[1, 2, 3, 4]
Five = Literal[1, 2, 3, 4, 5]
POINTS = ("Strengths", "Weaknesses", "Questions", "Limitations")


class Review(BaseModel):
    """A conference review, with the field names and scales of The AI Scientist."""

    Summary: str
    Strengths: list[str]
    Weaknesses: list[str]
    Originality: Four
    Quality: Four
    Clarity: Four
    Significance: Four
    Questions: list[str]
    Limitations: list[str]
    Ethical_Concerns: bool = Field(alias="Ethical Concerns", serialization_alias="Ethical Concerns")
    Soundness: Four
    Presentation: Four
    Contribution: Four
    Overall: Score
    Confidence: Five
    Decision: Literal["Accept", "Reject"]

    model_config = {"populate_by_name": True}

    def points(self) -> show.Html:
        """What the reviewer lists."""
        return show.cards({name: getattr(self, name) for name in POINTS})

    def badge(self) -> show.Html:
        """The decision, with the score that goes with it."""
        return show.badge(f"{self.Decision} · {self.Overall}/10", "good" if self.Decision == "Accept" else "bad")

    def _repr_html_(self) -> str:
        return show.block(show.title("Review", self.badge()), show.paragraph(self.Summary), self.points())
