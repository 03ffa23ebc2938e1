"""The archive of a run's ideas: what is known of each, and which go on to the experiments."""

from typing import Literal

from pydantic import BaseModel, Field

from kit import show
from kit.schemas import Idea, KitError, Novelty

TONES: dict[str, show.Tone] = {"novel": "good", "not novel": "bad", "unchecked": "soft"}


class Record(BaseModel):
    """An idea in the archive, with all that is known of it."""

    idea: Idea
    novelty: Novelty = Novelty()
    origin: Literal["model", "person"] = "model"
    chosen: bool = False
    chosen_by: str = Field(default="", description="person, or the rule that chose")
    edited_by: str = Field(default="", description="person, where one has changed the model's words")

    def facts(self) -> show.Html:
        """What there is to know beside title and hypothesis."""
        idea, novelty = self.idea, self.novelty
        return show.facts([
            ("Experiment", idea.Experiment), ("Decided by", idea.Metric),
            ("Scores", f"interest {idea.Interestingness}, feasibility {idea.Feasibility}, novelty {idea.Novelty}"
                       " (out of 10, the author's own)"),
            ("Literature", novelty.reason or novelty.verdict), ("Closest papers", ", ".join(novelty.papers)),
            ("From", f"a {self.origin}" + (f", edited by a {self.edited_by}" if self.edited_by else "")),
            ("Chosen by", {"": "", "person": "a person"}.get(self.chosen_by, f"the rule {self.chosen_by}")),
        ])  # fmt: skip

    def badges(self) -> list[show.Html]:
        """What the literature says, and whether the idea goes on."""
        chosen = show.badge("chosen") if self.chosen else show.badge("not chosen", "soft")
        return [show.badge(self.novelty.verdict, TONES[self.novelty.verdict], self.novelty.reason), chosen]

    def _repr_html_(self) -> str:
        name = show.Html(f"<code>{self.idea.Name}</code>")
        claim = show.paragraph(self.idea.Hypothesis) if self.idea.Hypothesis else ""
        return show.block(show.title(self.idea.Title, *self.badges(), name), claim, self.facts())


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
        """Take over what a person chose or edited earlier, and the ideas that a person added."""
        for record in former.records:
            mine = self.get(record.idea.Name)
            if record.origin == "person" and (not mine or mine.origin != "person"):
                self.put(record)  # under another name, should a model have taken it since
            elif mine:
                if record.chosen_by == "person" != mine.chosen_by:
                    mine.chosen, mine.chosen_by = record.chosen, "person"
                if record.edited_by == "person" != mine.edited_by:
                    mine.idea, mine.edited_by = record.idea, "person"

    def chosen(self) -> list[Record]:
        """The records that go on to the experiments."""
        return [r for r in self.records if r.chosen]

    def _repr_html_(self) -> str:
        columns = ["✓", "Idea", "Interest", "Feasible", "New", "Literature", "Name"]
        rows = [
            [show.tinted("✓", "good") if r.chosen else "", r.idea.Title, r.idea.Interestingness, r.idea.Feasibility,
             r.idea.Novelty, show.badge(r.novelty.verdict, TONES[r.novelty.verdict], r.novelty.reason),
             r.idea.Name] for r in self.records
        ]  # fmt: skip
        chosen = f"{len(self.chosen())} of {len(self.records)} chosen; " if self.chosen() else ""
        caption = f"{chosen}scores out of 10, the author's own"
        return show.table(columns, rows, caption) if rows else show.block(show.paragraph("No ideas yet.", "soft"))


def _score(record: Record) -> int:
    return record.idea.Interestingness + record.idea.Feasibility + record.idea.Novelty
