"""Stage 1: ideas, and what the literature says of them."""

from typing import Literal

from pydantic import BaseModel, Field


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
