"""What stage 3 hands on, and what its models are asked to reply with."""

from pydantic import BaseModel, Field, model_validator

from kit import show

SOURCES = "Where the Numbers Come From"  # heading of the appendix that the kit generates


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


class Queries(BaseModel):
    """Several literature searches at once, or the decision that no more are needed."""

    thoughts: str = Field(description="what is still missing")
    queries: list[str] = Field(max_length=5, description="each as typed into a search engine; may be empty when done")
    done: bool

    @model_validator(mode="after")
    def _asks_or_ends(self) -> "Queries":
        if not self.done and not any(query.strip() for query in self.queries):
            raise ValueError("give at least one query, or set done to true")
        return self


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


class Point(BaseModel):
    """Something to change in a section."""

    section: str = Field(description="the name of its file without the ending, such as results")
    point: str = Field(description="what is wrong, and what would mend it")


class Critique(BaseModel):
    """What a reader of the whole paper would have changed."""

    points: list[Point] = Field(description="the gravest first; may be empty when done")
    done: bool = Field(description="true when nothing needs to change")

    def said(self) -> list[str]:
        """The points as lines, each with the file that it is about."""
        return [f"{point.section.removesuffix('.tex')}.tex: {point.point}" for point in self.points]

    @model_validator(mode="after")
    def _is_done_without_points(self) -> "Critique":
        self.done = self.done or not self.points
        return self

    def _repr_html_(self) -> str:
        rows = [[point.section, point.point] for point in self.points]
        return show.table(["Section", "Point"], rows) if rows else show.block(show.paragraph("Nothing to change."))


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
