"""One page of a run that opens anywhere: an executed notebook, made into HTML with nothing outside of it."""

import json
from pathlib import Path

from kit import pipeline, results, show
from kit.archive import Record
from kit.llm import total_cost
from kit.review import Ensemble
from kit.schemas import Plan
from kit.store import load_json, save
from kit.workspace import Run

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21 }
body { max-width: 1080px; margin: 2em auto; padding: 0 1.5em }
h1, h2, h3 { line-height: 1.2; font-weight: 600 }
h2 { margin-top: 2.2em; border-top: 1px solid #ddd; padding-top: .8em }
table { border-collapse: collapse; font-size: 13px; margin: .8em 0 }
caption { color: #555; padding-bottom: .3em }
th, td { padding: .25em .7em; border-bottom: 1px solid #e4e4e4 } th { border-bottom: 1px solid #999 }
img { max-width: 100% }
figcaption { color: #555; font-size: 12px; text-align: center } blockquote { color: #444 }
code { background: #f4f4f2; padding: 0 .2em; border-radius: 3px; font-size: 92% } a { color: #22577a }
.jp-InputArea, .jp-OutputPrompt, .jp-InputPrompt, .anchor-link { display: none } summary { cursor: pointer }
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>
<body>{body}</body></html>
"""


class IdeaReport:
    """One idea with all that became of it, as far as it got."""

    def __init__(self, run: Run, record: Record):
        self.record, self.home = record, run.path / record.idea.Name

    def _repr_html_(self) -> str:
        parts = [self._what, self._numbers, self._figures, self._paper, self._review]
        return f"<h2>{show.cell(self.record.idea.Title)}</h2>" + "".join(part() for part in parts)

    def _what(self) -> str:
        return self.record._repr_html_()

    def _numbers(self) -> str:
        plan, numbers = self.home / "plan.json", self.home / "results.json"
        if not numbers.is_file():
            return "<p>No run has ended yet.</p>"
        html = "<h3>What was measured</h3>" + results.Ledger.model_validate(load_json(numbers))._repr_html_()
        if plan.is_file():
            arms = Plan.model_validate(load_json(plan)).arms
            html += show.table(["Run", "Arm", "Predicted before the run"],
                               [[f"run_{n}", arm.title, arm.prediction] for n, arm in enumerate(arms, 1)])  # fmt: skip
        return html

    def _figures(self) -> str:
        return show.gallery(sorted((self.home / "figures").glob("*.png")))

    def _paper(self) -> str:
        pages = sorted((self.home / "paper" / "pages").glob("*.png"))
        return "<h3>The paper</h3>" + (show.gallery(pages, "31%") if pages else "<p>Not written yet.</p>")

    def _review(self) -> str:
        file = self.home / "review.json"
        if not file.is_file():
            return "<h3>The review</h3><p>Not reviewed yet.</p>"
        return "<h3>The review</h3>" + Ensemble.from_form(load_json(file))._repr_html_()


def build_report(run: Run) -> Path:
    """Write report.html into the run's folder; it opens with no network."""
    import nbformat
    from nbconvert import HTMLExporter

    copy = pipeline.run_stage("report", run.path / "notebooks" / "report.ipynb", run_dir=str(run.path))
    exporter = HTMLExporter(template_name="basic", exclude_input=True, embed_images=True)
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.pop("widgets", None)
    body, _ = exporter.from_notebook_node(notebook)
    return save(run.path / "report.html", PAGE.format(title=f"Run {run.name}", style=STYLE, body=body))


def closing_words(run: Run, report: Path) -> str:
    """Where everything is, how long it took and what it cost."""
    lines = ["", f"Run {run.name} is done.", ""]
    for stage, took in run.about["stages"].items():
        lines.append(f"  {stage:<40} {took['seconds']:7.1f} s   (the kit itself {took['kit']:.1f} s)")
    for record in run.archive().chosen():
        home = run.path / record.idea.Name
        review = json.loads((home / "review.json").read_text(encoding="utf-8"))
        decision = f"{review['Decision']}, overall {review['Overall']}/10"
        lines += ["", f"  {record.idea.Title}", f"    paper   {home / 'paper' / 'paper.pdf'}",
                  f"    review  {home / 'review.json'}   {decision}"]  # fmt: skip
    lines += ["", f"  notebooks  {run.path / 'notebooks'}", f"  report     {report}", f"  cost: {total_cost(run)}"]
    return "\n".join(lines)
