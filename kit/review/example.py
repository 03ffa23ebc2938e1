"""Papers with careful reviews, which reviewers see before the paper that they are to judge."""

from pathlib import Path

from pydantic import BaseModel

from kit.schemas import KitError, Review
from kit.store import load_json

FOLDER = Path(__file__).parent / "examples"


class Example(BaseModel):
    """A paper's text and the review that it got: one folder with paper.txt and review.json."""

    name: str
    text: str
    review: Review


def read_examples(number: int, folder: Path = FOLDER) -> list[Example]:
    """The first examples by name; KitError where there are not that many."""
    names = sorted(file.parent.name for file in folder.glob("*/review.json"))
    if not 0 <= number <= len(names):
        raise KitError(
            f"num_fs_examples is {number}, but there are {len(names)} in {folder}: {', '.join(names) or 'none'}. "
            f"Ask for 0 to {len(names)}, or add a folder with paper.txt and review.json."
        )
    return [
        Example(name=name, text=(folder / name / "paper.txt").read_text(encoding="utf-8").strip(),
                review=Review.model_validate(load_json(folder / name / "review.json")))
        for name in names[:number]
    ]  # fmt: skip
