"""One paper in several versions, each with its reviews, and which of them is the paper."""

from pathlib import Path
from typing import Any

from kit import show
from kit.review.ensemble import SCORES, Ensemble
from kit.store import load_json

TITLES = {"paper": "First version", "paper_improved": "After the review"}


def review_file(folder: str) -> str:
    """paper → review.json, paper_improved → review_improved.json."""
    return folder.replace("paper", "review", 1) + ".json"


class Versions:
    """Reviews by the folder of the version that they are of, the first version first."""

    def __init__(self, ensembles: dict[str, Ensemble]):
        self.ensembles = ensembles

    @classmethod
    def read(cls, home: Path) -> "Versions":
        """What 04_review left in an idea's folder; empty where it left nothing."""
        file = home / "final.json"
        folders = load_json(file)["versions"] if file.is_file() else ["paper"]
        files = {folder: home / review_file(folder) for folder in folders}
        return cls({name: Ensemble.from_form(load_json(f)) for name, f in files.items() if f.is_file()})

    @property
    def final(self) -> str:
        """The folder of the version with the highest mean Overall; then of the area chair; then of the first."""
        return max(self.ensembles, key=self._rank)  # of equals, max gives the first

    def _rank(self, folder: str) -> tuple[float, int]:
        ensemble = self.ensembles[folder]
        return ensemble.spread()["Overall"]["mean"], ensemble.meta.Overall

    def why(self) -> str:
        """The reason in a sentence."""
        others = [self._rank(name) for name in self.ensembles if name != self.final]
        if not others:
            return "It is the only version that was reviewed."
        (mean, chair), (other_mean, other_chair) = self._rank(self.final), max(others)
        if mean > other_mean:
            return f"Its reviewers give {mean:g} of 10 on average, those of the other version {other_mean:g}."
        if chair > other_chair:
            return f"Both have {mean:g} of 10 on average; the area chair gives it {chair}, the other {other_chair}."
        return f"Both have {mean:g} of 10 on average and {chair} from the area chair, so the first version stands."

    def form(self) -> dict[str, Any]:
        """final.json."""
        scores = {name: {"review": review_file(name), "mean Overall": self._rank(name)[0],
                         "area chair": self._rank(name)[1], "Decision": ensemble.meta.Decision}
                  for name, ensemble in self.ensembles.items()}  # fmt: skip
        return {"paper": f"{self.final}/paper.pdf", "review": review_file(self.final), "why": self.why(),
                "versions": scores}  # fmt: skip

    def _repr_html_(self) -> str:
        head = show.title(f"The paper: {TITLES[self.final]}", self.ensembles[self.final].meta.badge())
        if len(self.ensembles) < 2:
            return show.block(head, show.paragraph(self.why()))
        ends = list(self.ensembles.values())
        before, after = (ensemble.spread() for ensemble in ends)
        rows: list[list[Any]] = [["Area chair", *(ensemble.meta.badge() for ensemble in ends), ""]]
        for field, top in SCORES.items():
            means = ["{mean:.1f} ± {sd:.1f}".format(**spread[field]) for spread in (before, after)]
            change = after[field]["mean"] - before[field]["mean"]
            rows.append([f"{field} (of {top})", *means, show.tinted(f"{change:+.1f}", _tone(field, change))])
        columns = ["Mean ± sd", *(TITLES[name] for name in self.ensembles), "Change"]
        return show.block(head, show.paragraph(self.why()), show.table(columns, rows))


def _tone(field: str, change: float) -> show.Tone:
    """Higher is better, but for confidence."""
    if field == "Confidence" or abs(change) < 0.05:
        return "soft"
    return "good" if change > 0 else "bad"
