"""A template made of somebody's own script."""

import ast
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from kit.schemas.ideas import Idea


class AdoptedMetric(BaseModel):
    """A number that an adopted experiment writes to final_info.json."""

    name: str = Field(description="its name in final_info.json", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,59}$")
    label: str = Field(description="the name that tables show")
    direction: Literal["min", "max", "none"] = Field(description="min: lower is better; none: it is not compared")
    unit: str = Field(default="", description="s, nats, % or nothing")
    headline: bool = Field(description="true for the one or two numbers that decide")
    timing: bool = Field(default=False, description="true for seconds")


class AdoptedSize(BaseModel):
    """A size at which an adopted experiment can be run."""

    name: Literal["smoke", "demo", "full"]
    seeds: int = Field(ge=1, description="seeds that experiment.py runs at this size, where KIT_SEEDS says nothing")
    about: str = Field(description="how large it is and how long it takes, in one sentence")


class Adoption(BaseModel):
    """A person's script as a template."""

    experiment: str = Field(description="experiment.py, the whole program")
    plot: str = Field(
        default="",
        description="plot.py, the whole program; empty for one that draws each metric's seeds and each curve",
    )
    title: str = Field(description="what the experiment is about, as a headline of at most 80 characters")
    about: str = Field(description="the experiment in three to six sentences, for a reader of a paper about it")
    task_description: str = Field(
        description="for a researcher who will change experiment.py: what it does, what is measured, what can be asked"
    )
    metrics: list[AdoptedMetric] = Field(min_length=1)
    sizes: list[AdoptedSize] = Field(min_length=1, description="the smallest first")
    protected: list[str] = Field(description="names in experiment.py that load the data or measure the result")
    seed_ideas: list[Idea] = Field(description="one to three small ideas as examples")
    assumed: list[str] = Field(description="each thing that was assumed, left out or changed, for the person to check")

    @model_validator(mode="after")
    def _follows_the_contract(self) -> "Adoption":
        for name, code in (("experiment", self.experiment), ("plot", self.plot)):
            try:
                ast.parse(code)
            except (SyntaxError, ValueError, RecursionError) as error:
                raise ValueError(f"`{name}` is no Python: {error}") from error
        if "--out_dir" not in self.experiment:
            raise ValueError("experiment.py does not read --out_dir")
        return self
