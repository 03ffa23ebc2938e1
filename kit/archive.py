"""The archive of a run's ideas: what is known of each, and which go on to the experiments."""

from typing import Literal

from pydantic import BaseModel, Field

from kit import show
from kit.schemas import Idea, KitError, Novelty


class Record(BaseModel):
    """An idea in the archive, with all that is known of it."""

    idea: Idea
    novelty: Novelty = Novelty()
    origin: Literal["model", "person"] = "model"
    chosen: bool = False
    chosen_by: str = Field(default="", description="person, or the rule that chose")

    def _repr_html_(self) -> str:
        idea, novelty = self.idea, self.novelty
        rows = [("Hypothesis", idea.Hypothesis), ("Experiment", idea.Experiment), ("Deciding metric", idea.Metric),
                ("Scores", f"interestingness {idea.Interestingness}, feasibility {idea.Feasibility}, "
                           f"novelty {idea.Novelty}"),
                ("Literature", f"{novelty.verdict}. {novelty.reason}"), ("Closest papers", ", ".join(novelty.papers)),
                ("Chosen by", self.chosen_by if self.chosen else "nobody")]  # fmt: skip
        return f"<b>{show.cell(idea.Title)}</b> <code>{idea.Name}</code>" + show.table(["", ""], rows)


class Archive(BaseModel):
    """Every idea of a run."""

    records: list[Record] = []

    def get(self, name: str) -> Record | None:
        """The record of that name, if there is one."""
        return next((r for r in self.records if r.idea.Name == name), None)

    def put(self, record: Record) -> None:
        """Add a record; a name that is taken gets a number."""
        name, number = record.idea.Name, 2
        while self.get(record.idea.Name):
            record.idea.Name, number = f"{name}_{number}", number + 1
        self.records.append(record)

    def choose(self, rule: str) -> "Archive":
        """Mark what a rule chooses: all, novel (not known to be old), best:2 (by the sum of scores), or names."""
        wanted = self._wanted(rule)
        for record in self.records:
            record.chosen, record.chosen_by = record.idea.Name in wanted, rule
        return self

    def _wanted(self, rule: str) -> set[str]:
        names = {r.idea.Name for r in self.records}
        if rule == "all":
            return names
        if rule == "novel":
            return {r.idea.Name for r in self.records if r.novelty.verdict != "not novel"}
        if rule.startswith("best:") and rule[5:].isdigit():
            return {r.idea.Name for r in sorted(self.records, key=_score, reverse=True)[: int(rule[5:])]}
        if unknown := {part.strip() for part in rule.split(",")} - names:
            raise KitError(
                f"select={rule!r} names no idea: {', '.join(sorted(unknown))}. "
                f"Use all, novel, best:2, or names out of: {', '.join(sorted(names))}."
            )
        return {part.strip() for part in rule.split(",")}

    def keep_choices(self, former: "Archive") -> None:
        """Take over what a person chose earlier, and the ideas that a person added."""
        for record in former.records:
            mine = self.get(record.idea.Name)
            if mine and mine.chosen_by != "person" and record.chosen_by == "person":
                mine.chosen, mine.chosen_by = record.chosen, "person"
            elif not mine and record.origin == "person":
                self.records.append(record)

    def chosen(self) -> list[Record]:
        """The records that go on to the experiments."""
        return [r for r in self.records if r.chosen]

    def _repr_html_(self) -> str:
        columns = ["", "Name", "Title", "Interest.", "Feasib.", "Novelty", "In the literature"]
        rows = [
            ["✓" if r.chosen else "", r.idea.Name, r.idea.Title, r.idea.Interestingness, r.idea.Feasibility,
             r.idea.Novelty, r.novelty.verdict] for r in self.records
        ]  # fmt: skip
        return show.table(columns, rows)


def _score(record: Record) -> int:
    return record.idea.Interestingness + record.idea.Feasibility + record.idea.Novelty
