"""What the ideas of earlier runs came to, for the ideas of the next."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from kit import show, workspace
from kit.results import Ledger
from kit.results.ledger import MARKS
from kit.schemas import Idea, KitError
from kit.store import Key, load_json
from kit.workspace import Run


class Outcome(BaseModel):
    """One idea that was carried out, and what is known since."""

    run: str
    idea: Idea
    verdicts: dict[str, int]  # of the headline comparisons
    overall: int | None = None  # out of 10, from the review
    decision: str = ""
    lesson: str = ""  # one sentence, from the experiments' conclusion

    @property
    def said(self) -> str:
        """Verdicts and review in words."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items() if count)
        review = f"; reviewed {self.overall} out of 10, {self.decision}" if self.overall is not None else ""
        return (f"comparisons {counts}" if counts else "nothing could be compared") + review


class Outcomes(BaseModel):
    """The outcomes of the runs that a new one builds on."""

    found: list[Outcome] = []

    @property
    def ideas(self) -> list[Idea]:
        """The ideas that were carried out."""
        return [outcome.idea for outcome in self.found]

    def _repr_html_(self) -> str:
        if not self.found:
            return show.block(show.paragraph("No earlier idea is built on.", "soft"))
        rows = [[o.idea.Title, o.said, o.lesson, o.run] for o in self.found]
        return show.table(["Earlier idea", "What it came to", "Lesson", "Run"], rows)


def gather(run: Run, build_on: Sequence[str]) -> Outcomes:
    """The outcomes of earlier runs, by name or folder, as they stood when this run first asked for them.

    They stay so when the earlier runs go on, or the same prompts could not be found again. Raises KitError for a run
    that is not there, and for one without an idea that was carried out.
    """
    if not build_on:
        return Outcomes()
    names = list(build_on)
    step = run.steps.once(Key("ideas", "outcomes"), names, lambda _: Outcomes(found=_read_all(run, names)))
    return Outcomes.model_validate(step.result)


def _read_all(run: Run, names: list[str]) -> list[Outcome]:
    found = []
    for name in names:
        if not name.strip() or (earlier := workspace.open_run(name)).path == run.path.resolve():
            raise KitError(f"A run cannot build on {name!r}, itself. Name earlier ones; `kit runs` lists them.")
        outcomes = [_read(earlier, record.idea) for record in earlier.archive().records]
        if not any(outcomes):
            raise KitError(f"No idea of {name!r} was carried out yet, so there is nothing to build on. Finish it with "
                           f"02_experiments or `kit run`, or name another run; `kit runs` lists them.")  # fmt: skip
        found += [outcome for outcome in outcomes if outcome]
    return found


def _read(run: Run, idea: Idea) -> Outcome | None:
    """What the folder of an idea says; None where it was not carried out."""
    home = run.path / idea.Name
    if not (home / "results.json").is_file():
        return None
    ledger = Ledger.model_validate(load_json(home / "results.json"))
    if len(ledger.runs) < 2:  # the baseline alone
        return None
    counts = ledger.verdicts()
    form: dict[str, Any] = load_json(home / "review.json") if (home / "review.json").is_file() else {}
    said: dict[str, Any] = load_json(home / "conclusion.json") if (home / "conclusion.json").is_file() else {}
    verdicts = {verdict: counts[verdict] for verdict in MARKS if counts[verdict]}
    return Outcome(run=run.name, idea=idea, verdicts=verdicts, overall=form.get("Overall"),
                   decision=form.get("Decision", ""), lesson=said.get("lesson", ""))  # fmt: skip
