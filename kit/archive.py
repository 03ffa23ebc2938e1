"""The archive of a run's ideas: what is known of each, and which go on to the experiments."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from kit import show
from kit.likeness import likeness
from kit.schemas import Idea, KitError, Novelty

TONES: dict[str, show.Tone] = {"novel": "good", "not novel": "bad", "unchecked": "soft"}
SCORES = ("Interestingness", "Feasibility", "Novelty")
RULES = "novel, threshold, all, best:2"
# From where on two ideas ask the same. In diffusion_2d, the seeds and worked ideas put in other words reach 0.36 to
# 0.50 with themselves; other questions stay below 0.20, near relatives (two on learning-rate schedules) at 0.30.
TWIN = 0.35


class Record(BaseModel):
    """An idea in the archive, with all that is known of it."""

    idea: Idea
    novelty: Novelty = Novelty()
    origin: Literal["model", "person"] = "model"
    wish: str = Field(default="", description="the sentence in which a person asked for the idea")
    twin_of: str = Field(default="", description="the earlier idea that asks nearly the same")
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
            ("Asks the same as", f"`{self.twin_of}`" if self.twin_of else ""),
            ("From", f"a {self.origin}" + (f", edited by a {self.edited_by}" if self.edited_by else "")),
            ("Asked for", self.wish if self.wish != idea.Experiment else ""),
            ("Chosen by", {"": "", "person": "a person"}.get(self.chosen_by, f"the rule {self.chosen_by}")),
        ])  # fmt: skip

    def badges(self) -> list[show.Html]:
        """What the literature and the archive say, and whether the idea goes on."""
        return [*self.standing(), show.badge("chosen") if self.chosen else show.badge("not chosen", "soft")]

    def standing(self) -> list[show.Html]:
        """Whether the literature has it, and whether another idea asks the same."""
        found = show.badge(self.novelty.verdict, TONES[self.novelty.verdict], self.novelty.reason)
        twin = [show.badge("twin", "bad", f"asks nearly the same as {self.twin_of}")] if self.twin_of else []
        return [found, *twin]

    @property
    def is_fresh(self) -> bool:
        """Not known to be old, and no other idea's twin."""
        return self.novelty.verdict != "not novel" and not self.twin_of

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

    def twin(self, idea: Idea, known: Iterable[Idea] = ()) -> Idea | None:
        """The idea, of this archive or of those known beside it, that asks nearly the same."""
        others = [*known, *(record.idea for record in self.records if record.idea is not idea)]
        near = likeness(_text(idea), [_text(other) for other in others])
        closest = max(range(len(near)), key=near.__getitem__, default=None)
        return others[closest] if closest is not None and near[closest] >= TWIN else None

    def add(self, idea: Idea, wish: str = "", known: Iterable[Idea] = ()) -> Record:
        """Take an idea in, a person's where there is a wish; one that has a twin says whose it is."""
        twin = self.twin(idea, known)
        record = Record(idea=idea, wish=wish, origin="person" if wish else "model", twin_of=twin.Name if twin else "")
        self.put(record)
        return record

    def choose(self, rule: str, least: tuple[int, int, int] = (1, 1, 1)) -> "Archive":
        """Mark what a rule chooses; all but `all` and names leave twins to a person.

        novel: not known to be old. threshold: the same, with interestingness, feasibility and novelty of at least
        `least`. best:2: by the sum of scores, those that are not known to be old first. all. Or names.
        """
        wanted = self._wanted(rule, least)
        bounds = ", ".join(f"{name} ≥ {score}" for name, score in zip(SCORES, least, strict=True))
        for record in self.records:
            record.chosen = record.idea.Name in wanted
            record.chosen_by = f"threshold ({bounds})" if rule == "threshold" else rule
        return self

    def _wanted(self, rule: str, least: tuple[int, int, int]) -> set[str]:
        names = {r.idea.Name for r in self.records}
        fresh = [r for r in self.records if r.is_fresh]
        if rule == "all":
            return names
        if rule == "novel":
            return {r.idea.Name for r in fresh}
        if rule == "threshold":
            return {r.idea.Name for r in fresh if all(s >= m for s, m in zip(_scores(r), least, strict=True))}
        if rule.startswith("best:") and rule[5:].isdigit():
            able = sorted((r for r in self.records if not r.twin_of), key=lambda r: (not r.is_fresh, -sum(_scores(r))))
            return {r.idea.Name for r in able[: int(rule[5:])]}
        if unknown := {part.strip() for part in rule.split(",")} - names:
            raise KitError(
                f"select={rule!r} names no idea: {', '.join(sorted(unknown))}. "
                f"Use {RULES}, or names out of: {', '.join(sorted(names))}."
            )
        return {part.strip() for part in rule.split(",")}

    def keep_choices(self, former: "Archive") -> None:
        """Take over what a person chose or edited earlier, and the ideas that a person added."""
        for record in former.records:
            mine = self._counterpart(record)
            if mine is None and record.origin == "person":
                self.put(record)  # under another name, should a model have taken it since
            elif mine:
                if record.chosen_by == "person" != mine.chosen_by:
                    mine.chosen, mine.chosen_by = record.chosen, "person"
                if record.edited_by == "person" != mine.edited_by:
                    mine.idea, mine.edited_by, mine.twin_of = record.idea, "person", record.twin_of

    def _counterpart(self, record: Record) -> Record | None:
        """The same idea here: a wish stays when its idea is put in other words, else the name says it."""
        mine = (r for r in self.records if r.origin == record.origin)
        if record.wish:
            return next((r for r in mine if r.wish == record.wish), None)
        return next((r for r in mine if r.idea.Name == record.idea.Name), None)

    def chosen(self) -> list[Record]:
        """The records that go on to the experiments."""
        return [r for r in self.records if r.chosen]

    def _repr_html_(self) -> str:
        columns = ["✓", "Idea", "Interest", "Feasible", "New", "Literature", "Name"]
        rows = [
            [show.tinted("✓", "good") if r.chosen else "", r.idea.Title, r.idea.Interestingness, r.idea.Feasibility,
             r.idea.Novelty, show.Html(" ".join(r.standing())), r.idea.Name] for r in self.records
        ]  # fmt: skip
        chosen = f"{len(self.chosen())} of {len(self.records)} chosen; " if self.chosen() else ""
        caption = f"{chosen}scores out of 10, the author's own"
        return show.table(columns, rows, caption) if rows else show.block(show.paragraph("No ideas yet.", "soft"))


def _scores(record: Record) -> list[int]:
    return [getattr(record.idea, name) for name in SCORES]


def _text(idea: Idea) -> str:
    """What an idea asks, in words; those of the title count more."""
    return " ".join([idea.Name, idea.Title, idea.Title, idea.Hypothesis, idea.Experiment])
