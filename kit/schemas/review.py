"""What stage 4 hands on, and what its models are asked to reply with."""

from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from kit import show
from kit.schemas.errors import FormatError

Score = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
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

    def mended(self, changes: list["Correction"]) -> "Review":
        """The review with some of its fields in another form; FormatError where a field takes no such value."""
        known = self.model_dump(by_alias=True)
        if unknown := [change.field for change in changes if change.field not in known]:
            raise FormatError(f"The form has no field {', '.join(unknown)}. Fields: {', '.join(known)}.")
        try:
            return Review.model_validate(known | {change.field: change.value for change in changes})
        except ValidationError as error:
            said = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise FormatError(f"The changes leave no valid review. {said}.") from error

    def points(self) -> show.Html:
        """What the reviewer lists."""
        return show.cards({name: getattr(self, name) for name in POINTS})

    def badge(self) -> show.Html:
        """The decision, with the score that goes with it."""
        return show.badge(f"{self.Decision} · {self.Overall}/10", "good" if self.Decision == "Accept" else "bad")

    def _repr_html_(self) -> str:
        return show.block(show.title("Review", self.badge()), show.paragraph(self.Summary), self.points())


class Correction(BaseModel):
    """A field of the review as it is to be."""

    field: str = Field(description="its name in the form")
    value: int | bool | str | list[str] = Field(description="the whole field: of a list, all its points")


class ReviewReflection(BaseModel):
    """What a reviewer would change after reading their review again beside the paper."""

    thoughts: str
    changes: list[Correction] = Field(description="the fields that change; empty when nothing does")
    done: bool = Field(description="true when you would change nothing more")
