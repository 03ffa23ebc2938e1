"""What stage 4 hands on, and what its models are asked to reply with."""

from typing import Literal

from pydantic import BaseModel, Field

from kit import show

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

    def points(self) -> show.Html:
        """What the reviewer lists."""
        return show.cards({name: getattr(self, name) for name in POINTS})

    def badge(self) -> show.Html:
        """The decision, with the score that goes with it."""
        return show.badge(f"{self.Decision} · {self.Overall}/10", "good" if self.Decision == "Accept" else "bad")

    def _repr_html_(self) -> str:
        return show.block(show.title("Review", self.badge()), show.paragraph(self.Summary), self.points())


class ReviewReflection(BaseModel):
    """A review that its reviewer read again beside the paper."""

    thoughts: str
    review: Review | None = Field(default=None, description="all of it in its mended form; null when nothing changes")
    done: bool = Field(description="true when you would change nothing more")
