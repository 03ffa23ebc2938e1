"""The arithmetic of several opinions."""

import statistics
from typing import Any

from pydantic import BaseModel, Field

from kit import show
from kit.schemas import Review

SCORES = {"Originality": 4, "Quality": 4, "Clarity": 4, "Significance": 4, "Soundness": 4, "Presentation": 4,
          "Contribution": 4, "Overall": 10, "Confidence": 5}  # fmt: skip


class Ensemble(BaseModel):
    """Several reviews of one paper and the area chair's."""

    reviews: list[Review] = Field(min_length=1)
    meta: Review
    paper: str = ""
    stances: list[str] = []  # the eye that each reviewer brought

    def spread(self) -> dict[str, dict[str, float]]:
        """Mean, standard deviation and median of each score over the reviews."""
        found = {}
        for field in SCORES:
            values = [getattr(review, field) for review in self.reviews]
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            found[field] = {"mean": round(statistics.fmean(values), 2), "sd": round(sd, 2),
                            "median": float(statistics.median(values))}  # fmt: skip
        return found

    def points(self) -> list[str]:
        """What a writer is to answer: weaknesses and questions, the area chair's first, each once."""
        everybody = [self.meta, *self.reviews]
        return list(dict.fromkeys(point for field in ("Weaknesses", "Questions") for review in everybody
                                  for point in getattr(review, field)))  # fmt: skip

    def form(self) -> dict[str, Any]:
        """review.json: the meta-review in The AI Scientist's fields, with the reviews behind it."""
        dump = {"mode": "json", "by_alias": True}
        return self.meta.model_dump(**dump) | {  # type: ignore[arg-type]
            "paper": self.paper, "spread": self.spread(), "stances": self.stances,
            "reviews": [review.model_dump(**dump) for review in self.reviews],  # type: ignore[arg-type]
        }  # fmt: skip

    @classmethod
    def from_form(cls, form: dict[str, Any]) -> "Ensemble":
        """The ensemble behind a review.json; one of The AI Scientist's own is a review by itself."""
        reviews = [Review.model_validate(review) for review in form.get("reviews") or [form]]
        return cls(reviews=reviews, meta=Review.model_validate(form), paper=form.get("paper", ""),
                   stances=form.get("stances", []))  # fmt: skip

    def _repr_html_(self) -> str:
        spread = self.spread()
        columns = ["", "Area chair", *(f"R{n}" for n in range(1, len(self.reviews) + 1)), "Mean ± sd"]
        rows = [[field, show.bar(getattr(self.meta, field), top), *(getattr(r, field) for r in self.reviews),
                 "{mean:.1f} ± {sd:.1f}".format(**spread[field])] for field, top in SCORES.items()]  # fmt: skip
        eyes = [f", looking closest at {stance}" for stance in self.stances] or [""] * len(self.reviews)
        each = [show.details(f"Review {n}{eye}: {r.Decision} · {r.Overall}/10", show.paragraph(r.Summary) + r.points())
                for n, (r, eye) in enumerate(zip(self.reviews, eyes, strict=True), 1)]  # fmt: skip
        return show.block(show.title("Area chair", self.meta.badge()), show.paragraph(self.meta.Summary),
                          show.table(columns, rows), self.meta.points(), *each)  # fmt: skip
