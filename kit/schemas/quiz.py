"""The quiz of templates/plots_vs_text: questions with lettered choices."""

from typing import Literal

from pydantic import BaseModel, Field


class QuizAnswer(BaseModel):
    """The answer to a question with lettered choices."""

    reason: str = Field(description="what decides, in one sentence")
    choice: Literal["A", "B", "C", "D", "E", "none"] = Field(
        description="the letter of your answer; none if you were shown nothing to answer from"
    )
