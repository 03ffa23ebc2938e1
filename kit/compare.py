"""Runs side by side: under which conditions they were made, what each came to, and what can be told apart."""

import statistics
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kit import pipeline, results, show, workspace
from kit.llm.ledger import money
from kit.report import IdeaReport, as_page, duration, signs
from kit.results.ledger import TONES
from kit.results.measured import stderr
from kit.results.statistics import no_verdict
from kit.schemas import Comparison, KitError
from kit.store import digest, save
from kit.template import Metric
from kit.workspace import Run

OVERALL = Metric(label="Overall", direction="max")


class Side:
    """One run, as far as it got."""

    def __init__(self, run: Run, label: str):
        self.run, self.label = run, label
        self.records = run.archive().records
        self.ideas = [IdeaReport(run, record) for record in self.records if record.chosen]

    @cached_property
    def measured(self) -> list[IdeaReport]:
        """The ideas of which a run beside the baseline succeeded."""
        return [idea for idea in self.ideas if idea.ledger and len(idea.ledger.runs) > 1]

    @cached_property
    def papers(self) -> list[IdeaReport]:
        """The ideas that became a PDF."""
        return [idea for idea in self.ideas if (idea.home / "paper" / "paper.pdf").is_file()]

    @cached_property
    def scores(self) -> list[float]:
        """Of each reviewed paper: the mean Overall that its reviewers give to the version that stands."""
        return [idea.review.spread()["Overall"]["mean"] for idea in self.papers if idea.review]

    @cached_property
    def calls(self) -> list[dict[str, Any]]:
        """What each call of a model took."""
        return [step["result"] | {"stage": step["stage"]} for step in self.run.calls.finished()]

    def conditions(self) -> dict[str, str]:
        """What has to be the same for a fair comparison, read off what was done rather than what was asked for."""
        about, versions = self.run.about, self.run.about.get("versions", {})
        settings = about.get("parameters", {}) | about.get("settings", {})
        codes = {idea.home / "run_0" / "experiment.py" for idea in self.ideas}
        judges = [call["model"] for call in self.calls if call["stage"] == "review"]
        return {
            "template": about.get("template", ""),
            "baseline's program": _few(digest(code.read_text(encoding="utf-8")) for code in codes if code.is_file()),
            "size": _few(idea.ledger.preset for idea in self.ideas if idea.ledger),
            "reviewer": _few(judges),
            "reviews of a paper": _few(str(len(idea.review.reviews)) for idea in self.papers if idea.review),
            "kit": versions.get("kit", ""), "machine": versions.get("platform", ""),
        } | {name: str(value) for name, value in settings.items() if name != "review_model"}  # fmt: skip

    def row(self) -> list[Any]:
        """What it came to."""
        novel = sum(record.novelty.verdict == "novel" for record in self.records)
        decisions = Counter(idea.review.meta.Decision for idea in self.papers if idea.review)
        verdicts = sum((idea.verdicts() for idea in self.ideas), Counter())
        costs = [call["cost"] for call in self.calls]
        each = money(cost and cost / len(self.papers) for cost in costs) if self.papers else ""
        return [self.label, len(self.records), novel, len(self.ideas), len(self.measured), len(self.papers),
                _mean(self.scores), f"{max(self.scores):g}" if self.scores else "", decisions["Accept"] or "",
                signs(verdicts), len(self.calls), money(costs), each, duration(self.run)]  # fmt: skip


class SideBySide:
    """Several runs, the first of which the others are held against."""

    COLUMNS = ("Model", "Ideas", "novel", "chosen", "Measured", "Papers", "Overall", "best", "accepted", "Verdicts",
               "Calls", "Cost", "a paper", "Time")  # fmt: skip

    def __init__(self, runs: Sequence[Run]):
        runs = list({run.path: run for run in runs}.values())
        if len(runs) < 2:
            raise KitError(f"There {'is one run' if runs else 'is no run'}; two are needed to compare. "
                           "Name them in `runs`, or models in `models`; `kit runs` lists what is there.")  # fmt: skip
        models, names = [run.about.get("model", "") for run in runs], [run.name for run in runs]
        marks = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
        self.sides = [Side(run, model if models.count(model) == 1 else f"{model} ({mark})")
                      for run, model, mark in zip(runs, models, marks, strict=True)]  # fmt: skip

    def conditions(self) -> show.Html:
        """Whether the comparison is fair: every condition, and those that differ in red."""
        known = [side.conditions() for side in self.sides]
        names = list(dict.fromkeys(name for conditions in known for name in conditions))
        rows, unlike = [], []
        for name in names:
            values = [conditions.get(name, "") for conditions in known]
            same = len(set(values)) == 1
            unlike += [] if same else [name]
            if any(values):
                rows.append([name, *(show.tinted(v or "not on record", "plain" if same else "bad") for v in values)])
        said = show.paragraph(f"Not the same: {', '.join(unlike)}. What is found below may come from there.", "bad") \
            if unlike else show.paragraph("All conditions that are on record are the same.", "good")  # fmt: skip
        return show.block(said, show.table(["Condition", *(side.label for side in self.sides)], rows))

    def comparisons(self) -> list[Comparison]:
        """The scores of each run's papers against those of the first, by Welch's interval: no two share an idea."""
        first, *others = self.sides
        return [_compare(side, first) for side in others]

    def verdicts(self) -> show.Html:
        """What can be told apart by the scores, in sentences; two runs with a paper each never can."""
        level = f"{100 * results.CONFIDENCE:g} %"
        return show.block(*(show.paragraph(_said(c, level), TONES[c.verdict]) for c in self.comparisons()))

    def draw(self) -> Any:
        """Every paper's score as a point, and the mean of each run as a line."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 0.8 + 0.5 * len(self.sides)), layout="constrained")
        for row, side in enumerate(self.sides):
            axes.scatter(side.scores, [row] * len(side.scores), s=50, color="#0072B2", alpha=0.6, zorder=3)
            if side.scores:
                axes.plot([statistics.fmean(side.scores)] * 2, [row - 0.3, row + 0.3], color="#D55E00", lw=2)
        axes.axvspan(6, 10.4, color="#009E73", alpha=0.08)
        axes.set(xlim=(0.6, 10.4), xticks=range(1, 11), xlabel="Overall, mean of a paper's reviews (from 6 on: accept)",
                 ylim=(len(self.sides) - 0.5, -0.5))  # fmt: skip
        axes.set_yticks(range(len(self.sides)), [side.label for side in self.sides])
        axes.spines[["top", "right"]].set_visible(False)
        plt.close(figure)
        return figure

    def _repr_html_(self) -> str:
        return show.table(self.COLUMNS, [side.row() for side in self.sides])


def build_comparison(names: Sequence[str]) -> Path:
    """Write outputs/compare.html, one page that opens with no network; KitError where a run is not there."""
    SideBySide([workspace.open_run(name) for name in names])  # what does not fit is said before a kernel starts
    copy = pipeline.run_stage("05_compare", workspace.outputs() / "_compare" / "05_compare.ipynb", runs=list(names))
    return save(workspace.outputs() / "compare.html", as_page(copy, "Runs side by side"))


def _said(c: Comparison, level: str) -> str:
    if c.low is None:
        return f"{c.run} against {c.baseline}: {c.verdict}; {c.reason.replace('over seeds', 'from paper to paper')}."
    return f"{c.run} against {c.baseline}: {c.difference:+.2g} points, {level} interval {c.low:.2g} to {c.high:.2g}: " \
           f"{c.verdict}."  # fmt: skip


def _compare(side: Side, first: Side) -> Comparison:
    if min(len(side.scores), len(first.scores)) < 2:
        facts = {"metric": "Overall", "dataset": "papers", "run": side.label, "baseline": first.label}
        return no_verdict(facts, None, "fewer than two papers of one of them were reviewed")
    ours, theirs = (
        results.Measured(means={"Overall": statistics.fmean(s)}, stderrs={"Overall": stderr(s)}, num_seeds=len(s))
        for s in (side.scores, first.scores)
    )
    return results.compare(ours, theirs, "Overall", OVERALL, dataset="papers", run=side.label, baseline=first.label)


def _mean(scores: list[float]) -> str:
    if not scores:
        return ""
    spread = f" ± {stderr(scores):.1f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.1f}{spread}"


def _few(values: Any) -> str:
    """The different values, each once."""
    return ", ".join(dict.fromkeys(value for value in values if value))
