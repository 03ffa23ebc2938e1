"""One page of a run that opens anywhere: an executed notebook, made into HTML with nothing outside of it."""

import base64
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from kit import pipeline, results, show
from kit.archive import Record
from kit.bench import Probes, record_of
from kit.llm import call_table, total_cost
from kit.progress import covered
from kit.results import ledger
from kit.review import TITLES, Ensemble, Versions
from kit.schemas import Captions, Conclusion, Plan, Probed
from kit.store import load_json, save
from kit.workspace import Run

STYLE = """<style>
:root { color-scheme:light dark; --ink:#1b1e23; --paper:#fff; --soft:#667080;
  --serif:Charter, "Bitstream Charter", "Iowan Old Style", Georgia, serif }
body { font:15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color:var(--ink);
  background:var(--paper); max-width:66rem; margin:0 auto; padding:2.5rem clamp(1rem, 4vw, 3rem) 5rem }
h1, h2, h3 { font-family:var(--serif); line-height:1.2; font-weight:600; overflow-wrap:anywhere; text-wrap:balance }
h1 { font-size:clamp(1.6rem, 4.5vw, 2.4rem); margin:.2rem 0 1.2rem; max-width:24em }
h2 { font-size:1.6rem; margin:0 0 .5rem } h3 { font-size:1.15rem; margin:2.2rem 0 .5rem; break-after:avoid }
section, h2:not(section h2) { border-top:2px solid var(--ink); margin-top:3.2rem; padding-top:1.1rem }
code { font-size:90%; overflow-wrap:anywhere } a { color:inherit; text-decoration-color:var(--soft) }
.eyebrow, .missing { color:var(--soft); font-size:13px; margin:0 } .missing { font-style:italic }
.lead { font:1.15rem/1.5 var(--serif); max-width:42em; overflow-wrap:anywhere }
.kit dl.kit-tiles { margin:0 0 1.6rem } .kit .kit-tiles dd { font-size:15px }
.badges { display:flex; flex-wrap:wrap; gap:.4em } .kit-facts, .kit table { font-size:13.5px }
.kit-zoom:has(:checked) { position:fixed; inset:0; z-index:9; overflow:auto; padding:2vmin; text-align:center;
  background:rgba(18,20,24,.93) } .kit-zoom:has(:checked) img { width:min(100%, 72rem) !important; border:0 }
@media (max-width:40rem) { .kit table { font-size:12.5px } .kit table th, .kit table td { padding-right:.9em }
  .kit table td.kit-long { min-width:11em } .kit dl.kit-facts { display:block } .kit .kit-facts dd { margin:0 0 .5em } }
@media (prefers-color-scheme:dark) { :root { --ink:#e3e5e9; --paper:#16181c; --soft:#9ba3ae } .kit { DARK }
  .kit img { filter:brightness(.9) } }
@page { margin:16mm }
@media print { body { font-size:10pt; max-width:none; padding:0 } tr, figure { break-inside:avoid }
  .kit table { font-size:7.5pt } .kit table th, .kit table td { padding-right:.7em }
  .kit table td.kit-long { min-width:0 } .kit-pages { grid-template-columns:repeat(3, 1fr) } }
</style>""".replace("DARK", show.DARK)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">{style}</head>
<body class="report">{body}</body></html>
"""


class IdeaReport:
    """One idea with all that became of it, as far as it got."""

    def __init__(self, run: Run, record: Record):
        self.record, self.home = record, run.path / record.idea.Name
        self.heading = record.idea.Title

    def _left(self, name: str, kind: Any) -> Any:
        file = self.home / name
        return kind(load_json(file)) if file.is_file() else None

    @cached_property
    def ledger(self) -> results.Ledger | None:
        """The numbers, if a run has ended."""
        return self._left("results.json", results.Ledger.model_validate)

    @cached_property
    def versions(self) -> Versions:
        """The versions of the paper that were reviewed."""
        return Versions.read(self.home)

    @property
    def review(self) -> Ensemble | None:
        """The review of the version that stands, if there is one."""
        return self.versions.ensembles[self.versions.final] if self.versions.ensembles else None

    def outcome(self) -> list[show.Html]:
        """Verdicts and decision in short."""
        return [*(self.ledger.badges() if self.ledger else []), *([self.review.meta.badge()] if self.review else [])]

    def _repr_html_(self) -> str:
        idea = self.record.idea
        head = f"<section id='{idea.Name}'><h2>{show.cell(self.heading)}</h2>"
        badges = f"<div class='badges'>{''.join([*self.record.badges(), *self.outcome()])}</div>"
        lead = f"<p class='lead'>{show.cell(idea.Hypothesis)}</p>" if idea.Hypothesis else ""
        parts = {"What it came to": (self._conclusion(), "02_experiments"),
                 "What was predicted, and what came out": (self._plan(), "02_experiments"),
                 "Curves": (self._figures(), "02_experiments"), "Numbers": (self._numbers(), "02_experiments"),
                 "The paper": (self._paper(), "03_paper"), "The review": (self._review(), "04_review")}  # fmt: skip
        body = (f"<h3>{title}</h3>" + (html or f"<p class='missing'>Not there yet: {stage} makes it.</p>")
                for title, (html, stage) in parts.items())  # fmt: skip
        return show.block(head, badges, lead, self.record.facts(), *body, "</section>")

    def _conclusion(self) -> str:
        conclusion = self._left("conclusion.json", Conclusion.model_validate)
        return conclusion._repr_html_() if conclusion else ""

    def _plan(self) -> str:
        plan = self._left("plan.json", Plan.model_validate)
        if not plan:
            return ""
        columns = ["Run", "Arm", "Role", "Predicted before the run", "Came out"]
        rows = [[f"run_{n}", arm.title, arm.role, arm.prediction, signs(self.verdicts(f"run_{n}"))]
                for n, arm in enumerate(plan.arms, 1)]  # fmt: skip
        probes = self._left("probes.json", lambda data: Probes(map(Probed.model_validate, data)))
        looked = f"<h4>Looked into afterwards</h4>{probes._repr_html_()}" if probes else ""
        return show.table(columns, rows) + looked + record_of(self.home)

    def verdicts(self, run: str = "") -> Counter:
        """How many headline comparisons came out which way."""
        return self.ledger.verdicts(run) if self.ledger else Counter()

    def _figures(self) -> str:
        files = sorted((self.home / "figures").glob("*.png"))
        captions = self._left("captions.json", Captions.model_validate) or Captions(figures=[])
        return show.gallery(files, captions={c.file: c.caption for c in captions.figures}) if files else ""

    def _numbers(self) -> str:
        return self.ledger._repr_html_() if self.ledger else ""

    def _paper(self) -> str:
        folder = self.home / (self.versions.final if self.versions.ensembles else "paper")
        pdf, pages = folder / "paper.pdf", sorted((folder / "pages").glob("*.png"))
        if not (pdf.is_file() and pages):
            return ""
        data = f"data:application/pdf;base64,{base64.b64encode(pdf.read_bytes()).decode()}"
        link = f"<a download='{self.record.idea.Name}.pdf' href='{data}'>paper.pdf</a>"
        version = f", {TITLES[folder.name].lower()}" if len(self.versions.ensembles) > 1 else ""
        words = f"<p>{link}{version}, {len(pages)} pages; a click on a page enlarges it.</p>"
        return words + show.gallery(pages, columns=3)

    def _review(self) -> str:
        if len(self.versions.ensembles) < 2:
            return self.review._repr_html_() if self.review else ""
        others = [show.details(f"{TITLES[name]}: its reviews", ensemble._repr_html_())
                  for name, ensemble in self.versions.ensembles.items() if name != self.versions.final]  # fmt: skip
        return show.block(self.versions._repr_html_(), self.review._repr_html_() if self.review else "", *others)


class Overview:
    """The head of the page: what was asked, what came of it, how long it took and what it cost."""

    def __init__(self, run: Run):
        self.run, self.records = run, run.archive().records
        self.chosen = [IdeaReport(run, record) for record in self.records if record.chosen]

    def ideas(self) -> list[IdeaReport]:
        """The chosen ideas; one alone stands under the page's own title."""
        if len(self.chosen) == 1:
            self.chosen[0].heading = "The idea"
        return self.chosen

    @property
    def title(self) -> str:
        """The idea's title, or how many ideas there are."""
        count = (
            f"{len(self.chosen) or len(self.records) or 'No'} ideas for {self.run.about.get('template', 'a template')}"
        )
        return self.chosen[0].record.idea.Title if len(self.chosen) == 1 else count

    def summary(self) -> show.Html:
        """The run in one line."""
        return show.block(show.title(self.title), show.tiles(self._summary()))

    def _repr_html_(self) -> str:
        words = f"Notebook Scientist · run {self.run.name} · {self.run.about.get('started', '')[:10]}"
        head = f"<p class='eyebrow'>{show.cell(words)}</p><h1>{show.cell(self.title)}</h1>"
        return show.block(head, show.tiles(self._summary()), self._contents())

    def _summary(self) -> list[tuple[str, Any]]:
        scores = [idea.review.meta for idea in self.chosen if idea.review]
        decisions = Counter(f"{r.Decision} · {r.Overall}/10" if len(scores) == 1 else r.Decision for r in scores)
        said = ", ".join(f"{n} × {what}" if len(scores) > 1 else what for what, n in decisions.items())
        count = sum((idea.verdicts() for idea in self.chosen), Counter())
        return [
            ("Ideas", f"{len(self.chosen)} of {len(self.records)} chosen"),
            ("Verdicts", signs(count) or "none yet"),
            ("Decision", said or "not reviewed yet"), ("Time", duration(self.run)),
            ("Cost", total_cost(self.run)), ("Model", self.run.about.get("model", "")),
        ]  # fmt: skip

    def _contents(self) -> str:
        """Every idea with its outcome, each chosen one a link to its part of the page."""
        if not self.records:
            return "<p class='missing'>No ideas yet: 01_ideas makes them.</p>"
        outcomes = {idea.record.idea.Name: idea.outcome() for idea in self.chosen}
        rows = []
        for record in sorted(self.records, key=lambda record: not record.chosen):
            idea, text = record.idea, show.cell(record.idea.Title)
            link = f"<a href='#{idea.Name}'>{text}</a>" if record.chosen else text
            state = show.tinted("chosen, not begun" if record.chosen else "not chosen", "soft")
            rows.append([show.Html(link), idea.Interestingness, idea.Feasibility, idea.Novelty,
                         show.Html(" ".join(record.standing())),
                         show.Html(" ".join(outcomes.get(idea.Name) or [state]))])  # fmt: skip
        columns = ["Idea", "Interest", "Feasible", "New", "Literature", "What became of it"]
        return f"<nav>{show.table(columns, rows)}</nav>" if len(rows) > 1 else ""


class Expense:
    """What a run took, stage by stage and call by call, and what it ran on."""

    def __init__(self, run: Run):
        self.run = run

    def _repr_html_(self) -> str:
        about, calls = self.run.about, call_table(self.run)
        took = [[*name.partition(" ")[::2], round(part["seconds"], 1), round(part["kit"], 1)]
                for name, part in about.get("stages", {}).items()]  # fmt: skip
        stages = show.table(["Stage", "Idea", "Seconds", "of them the kit itself"], took) if took else ""
        prompts = calls._repr_html_()
        if len(calls.rows) > 40:
            prompts = show.paragraph(f"Total: {calls.total}") + show.details("Prompt by prompt", prompts)
        versions = show.details("Versions", show.facts(about.get("versions", {}).items()))
        given = about.get("parameters", {}) | about.get("settings", {})
        asked = show.facts((name, str(value)) for name, value in given.items())
        return show.block(stages, prompts, versions, show.details("Parameters", asked))


def signs(count: Counter) -> show.Html:
    """A count of verdicts, in signs."""
    words = (f'<span class="kit-{ledger.TONES[verdict]}" title="{verdict}">{mark}&nbsp;{count[verdict]}</span>'
             for verdict, mark in ledger.MARKS.items() if count[verdict])  # fmt: skip
    return show.Html(" &nbsp;".join(words))


def duration(run: Run) -> str:
    """How long it took: the stages, or the calls and programs in it where these were done in earlier sittings."""
    stages = sum(part["seconds"] for part in run.about.get("stages", {}).values())
    seconds = max(stages, covered([*run.calls.finished(), *run.steps.finished()]))
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.2g} s"


def build_report(run: Run) -> Path:
    """Write report.html into the run's folder; it opens with no network."""
    copy = pipeline.run_stage("report", run.path / "notebooks" / "report.ipynb", run_dir=str(run.path))
    return save(run.path / "report.html", as_page(copy, f"Run {run.name}"))


def as_page(executed: Path, title: str) -> str:
    """What a notebook shows, without its code, as one HTML page that needs nothing beside it."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    notebook.cells = [cell for cell in notebook.cells if "about-the-notebook" not in cell.metadata.get("tags", [])]
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True,
                            exclude_anchor_links=True)  # fmt: skip
    body, _ = exporter.from_notebook_node(notebook)
    return PAGE.format(title=show.cell(title), style=show.STYLE + STYLE, body=body.replace(show.STYLE, ""))


def closing_words(run: Run, report: Path) -> str:
    """Where everything is, how long it took and what it cost."""
    lines = ["", f"Run {run.name} is done.", ""]
    for stage, took in run.about["stages"].items():
        lines.append(f"  {stage:<40} {took['seconds']:7.1f} s   (the kit itself {took['kit']:.1f} s)")
    for record in run.archive().chosen():
        home = run.path / record.idea.Name
        final = load_json(home / "final.json")
        review = load_json(home / final["review"])
        decision = f"{review['Decision']}, overall {review['Overall']}/10"
        lines += ["", f"  {record.idea.Title}", f"    paper   {home / final['paper']}",
                  f"    review  {home / final['review']}   {decision}"]  # fmt: skip
    lines += ["", f"  notebooks  {run.path / 'notebooks'}", f"  report     {report}", f"  cost: {total_cost(run)}"]
    return "\n".join(lines)
