"""The reviewers of one paper: each with a stance of their own, each reading again until they would change nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import prompts, show
from kit.schemas import KitError, Review, ReviewReflection

STANCES = sorted(file.stem for file in (prompts.FOLDER / "review" / "_stances").glob("*.md"))


class Reviewer:
    """One reviewer, and what became of their review."""

    def __init__(self, number: int, stance: str):
        self.number, self.stance = number, stance
        self.reviews: list[Review] = []  # the first, then each mended form
        self.looks = 0
        self.done = False

    @property
    def review(self) -> Review:
        """The review as it now stands."""
        return self.reviews[-1]

    def follow(self, reflection: ReviewReflection) -> None:
        """Change what is to be changed."""
        self.looks += 1
        mended = self.review.mended(reflection.changes)
        if mended != self.review:
            self.reviews.append(mended)
        self.done = reflection.done

    def fits(self, reflection: ReviewReflection) -> None:
        """FormatError where the changes leave no valid review."""
        self.review.mended(reflection.changes)

    def changes(self) -> str:
        """What the looks changed, in words: scores from and to, and the fields of other kinds."""
        first, last = (review.model_dump(by_alias=True) for review in (self.reviews[0], self.review))
        changed = [name for name in first if first[name] != last[name]]
        scores = [f"{name} {first[name]} → {last[name]}" for name in changed if isinstance(last[name], int)]
        return ", ".join(scores + [name for name in changed if not isinstance(last[name], int)]) or "nothing"


class Panel:
    """Reviewers who do not know of each other. Their numbers go on from `after`, so that they are others than those."""

    def __init__(self, size: int, pictures: Sequence[Path] = (), after: "Panel | None" = None):
        if size < 1:
            raise KitError(f"num_reviews_ensemble is {size}: a paper needs at least one review.")
        first = after.reviewers[-1].number + 1 if after else 0
        self.pictures = pictures
        self.reviewers = [Reviewer(first + n, STANCES[n % len(STANCES)]) for n in range(size)]
        self.looking: list[Reviewer] = []  # those who were asked to look again

    def invite(self) -> list[dict[str, Any]]:
        """What `review/review` is asked with, for each reviewer."""
        return [{"stance": r.stance, "pictures": self.pictures, "index": r.number} for r in self.reviewers]

    def take(self, reviews: Sequence[Review]) -> None:
        """The first reviews, in the order of the invitations."""
        for reviewer, review in zip(self.reviewers, reviews, strict=True):
            reviewer.reviews = [review]

    def look_again(self, num_reflections: int) -> list[dict[str, Any]]:
        """What `review/reflect` is asked with, for each reviewer who is not done and has looks left; else empty."""
        self.looking = [r for r in self.reviewers if not r.done and r.looks < num_reflections]
        return [{"review": r.review, "stance": r.stance, "round": r.looks + 1, "num_reflections": num_reflections,
                 "pictures": self.pictures, "index": 100 * r.number + r.looks + 1, "check": r.fits}
                for r in self.looking]  # fmt: skip

    def follow(self, reflections: Sequence[ReviewReflection]) -> None:
        """Take what those who were asked to look again made of it."""
        for reviewer, reflection in zip(self.looking, reflections, strict=True):
            reviewer.follow(reflection)

    @property
    def reviews(self) -> list[Review]:
        """The reviews as they now stand."""
        return [reviewer.review for reviewer in self.reviewers]

    @property
    def stances(self) -> list[str]:
        """The eye that each reviewer brought."""
        return [reviewer.stance for reviewer in self.reviewers]

    def _repr_html_(self) -> str:
        rows = [[f"R{n}", r.stance, r.looks, r.changes(), r.review.badge()] for n, r in enumerate(self.reviewers, 1)]
        return show.table(["", "Looks closest at", "Read again", "What that changed", "Now"], rows)
