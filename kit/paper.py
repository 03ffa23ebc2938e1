"""The manuscript: sections a model wrote, around numbers, tables and references that it did not."""

import ast
import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kit import latex, literature, results, show
from kit.archive import Record
from kit.editor import Edits, apply, diff
from kit.schemas import Build, Captions, Choices, FormatError, KitError, Paper, Plan, Problem, Reference
from kit.store import Key, load_json, save, save_json
from kit.template import load_template
from kit.workspace import Run

SOURCES = ("*.tex", "*.sty", "*.bib", "tables/*.tex", "figures/*")  # what a PDF is made of
NOTICES = {
    "offline": "The text of this paper was produced by the scripted demo model of Notebook Scientist. "
    "The experiments were really run; no person has checked the prose.",
    "model": "The text of this paper was written by the language model {model} with Notebook Scientist. "
    "Numbers, tables and references come from the run's ledger and the literature engine.",
}


class Manuscript:
    """One idea's paper/ folder, and what the experiments left for its writer."""

    def __init__(self, run: Run, record: Record, model: str = ""):
        self.run, self.idea = run, record.idea
        self.model = model or run.about["model"]
        self.home = run.folder(self.idea.Name)
        self.folder = self.home / "paper"
        self.template = load_template(run.about["template"])
        self.ledger = results.Ledger.model_validate(self._left("results.json"))
        self.plan = Plan.model_validate(self._left("plan.json"))
        self.captions = Captions.model_validate(self._left("captions.json")).figures
        self.tables = results.tables(self.ledger)
        self.sections: dict[str, str] = {}
        self.references: list[Reference] = []
        self.papers: list[Paper] = []

    def _left(self, name: str) -> Any:
        file = self.home / name
        if not file.is_file():
            raise KitError(f"{file} is missing: run 02_experiments for the idea {self.idea.Name!r} first.")
        return load_json(file)

    @classmethod
    def reopen(cls, run: Run, record: Record, model: str = "") -> "Manuscript":
        """The manuscript as 03_paper left it; KitError where there is none yet."""
        paper = cls(run, record, model)
        file = paper.folder / "manuscript.json"
        if not file.is_file():
            raise KitError(f"{file} is missing: run 03_paper for the idea {record.idea.Name!r} first.")
        left = load_json(file)
        paper.sections = {name: (paper.folder / "sections" / f"{name}.tex").read_text(encoding="utf-8").rstrip("\n")
                          for name in left["sections"]}  # fmt: skip
        paper.references = [Reference.model_validate(reference) for reference in left["references"]]
        paper.papers = [Paper.model_validate(found) for found in left["papers"]]
        return paper

    def copy(self, folder: str) -> "Manuscript":
        """The same manuscript, to be changed and built in another folder of the idea."""
        other = copy.copy(self)
        other.folder, other.sections = self.home / folder, dict(self.sections)
        return other

    def changes(self) -> dict[str, str]:
        """What each run that ended well changed in the program it started from, as a patch."""
        found = {}
        for run in list(self.ledger.runs)[1:]:
            patches = sorted((self.home / "history").glob(f"{run}.*.patch"))
            found[run] = "\n".join(patch.read_text(encoding="utf-8") for patch in patches)
        return found

    def common(self) -> dict[str, Any]:
        """What every prompt of this stage may use."""
        notes = (self.home / "notes.md").read_text(encoding="utf-8")
        return {"template": self.template, "idea": self.idea, "plan": self.plan, "notes": notes,
                "ledger": self.ledger, "figures": self.captions, "tables": list(self.tables),
                "changes": self.changes()}  # fmt: skip

    # --- references -----------------------------------------------------------------------------

    def knows(self, found: Iterable[Paper]):
        """A check that every chosen key is among the papers found."""
        keys = {paper.key for paper in found}

        def check(choices: Choices) -> None:
            if unknown := [c.key for c in choices.choices if c.key not in keys]:
                raise FormatError(f"These keys were not found by any search: {', '.join(unknown)}.")

        return check

    def cite(self, choices: Choices, found: Iterable[Paper]) -> show.Html:
        """Make the chosen papers the ones that may be cited."""
        papers = {paper.key: paper for paper in found}
        chosen = {c.key: c.purpose for c in choices.choices}
        self.papers = [papers[key] for key in chosen]
        self.references = [Reference(key=k, title=papers[k].title, purpose=why) for k, why in chosen.items()]
        rows = [[p.key, re.sub(r"[{}]", "", p.title), p.year or "", chosen[p.key]] for p in self.papers]
        return show.table(["Key", "Title", "Year", "Cited for"], rows)

    # --- text -----------------------------------------------------------------------------------

    def put(self, section: str, text: "latex.Section") -> None:
        """Take a section, or its mended form."""
        self.sections[section] = text.body

    def files(self) -> dict[str, str]:
        """The sections as files that a model can edit."""
        return {f"{name}.tex": body for name, body in self.sections.items()}

    def fits(self, edits: Edits) -> dict[str, str]:
        """The sections with the edits made; FormatError where one does not fit, or leaves no valid section."""
        after = apply(edits.edits, self.files(), allowed=self.files())
        return {name.removesuffix(".tex"): latex.Section.parse(body).body if body != self.files()[name] else body
                for name, body in after.items()}  # fmt: skip

    def revise(self, edits: Edits) -> show.Html:
        """Make the edits in the sections; what has changed, as patches."""
        before, self.sections = self.sections, self.fits(edits)
        patches = [diff(before[name], body, f"{name}.tex") for name, body in self.sections.items()
                   if body != before[name]]  # fmt: skip
        return show.block(*map(show.listing, patches))

    def text(self) -> str:
        """The paper so far, as its writer sees it."""
        return "\n\n".join(f"% {title(name)}\n{body}" for name, body in self.sections.items())

    def write(self) -> Path:
        """Write everything that LaTeX needs into the folder; the path of paper.tex."""
        for name, body in self.sections.items():
            save(self.folder / "sections" / f"{name}.tex", f"{body}\n")
        left = {"sections": list(self.sections), "references": self.references, "papers": self.papers}
        save_json(self.folder / "manuscript.json", left)
        for name, table in self.tables.items():
            save(self.folder / "tables" / f"{name}.tex", table)
        for caption in self.captions:
            save(self.folder / "figures" / caption.file, (self.home / "figures" / caption.file).read_bytes())
        save(self.folder / "numbers.tex", results.macros(self.ledger))
        save(self.folder / "references.bib", literature.bibtex(self.papers))
        body = {title(name): text for name, text in self.sections.items() if name != "abstract"}
        used = latex.used_keys(self.text())
        offline = self.model == "offline"
        return latex.assemble(
            self.folder, title=self.idea.Title, authors="Notebook Scientist",
            notice=NOTICES["offline" if offline else "model"].format(model=self.model),
            abstract=self.sections.get("abstract", ""), sections=body,
            appendix=results.provenance(self.ledger, used),
        )  # fmt: skip

    # --- build ----------------------------------------------------------------------------------

    def build(self) -> Build:
        """Check and compile; problems come back, and the last good PDF stays."""
        tex = self.write()
        problems = self.check(tex.read_text(encoding="utf-8"))
        if any(problem.fatal for problem in problems):
            return Build(ok=False, problems=problems)
        sources = [file for pattern in SOURCES for file in sorted(self.folder.glob(pattern))]
        content = [[str(file.relative_to(self.folder)), file.read_bytes().hex()] for file in sources]
        pdf = self.folder / "paper.pdf"
        step = self.run.steps.once(
            Key("paper", "compile", self.idea.Name), content, lambda _: latex.compile(self.folder),
            still_good=lambda built: pdf.is_file() or not built["ok"],
        )  # fmt: skip
        build = Build.model_validate(step.result)
        return build.model_copy(update={"problems": [*problems, *build.problems]})

    def check(self, tex: str) -> list[Problem]:
        """What is wrong with the text before LaTeX has seen it."""
        pairs = {(f"{c.dataset}/{c.metric}", *ends) for c in self.ledger.comparisons
                 for ends in ((c.run, c.baseline), (c.baseline, c.run))}  # fmt: skip
        return latex.check(
            tex, keys={n.key for n in self.ledger.numbers}, comparisons=pairs,
            citations={paper.key for paper in self.papers}, figures={c.file for c in self.captions},
            settings=self.settings(),
        )  # fmt: skip

    def settings(self) -> set[str]:
        """Numbers that stand in the code of the runs, as they are written there: the text may name them."""
        found = set()
        for file in self.home.glob("run_*/experiment.py"):
            code = file.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                    found |= {ast.get_source_segment(code, node) or "", f"{node.value:g}"}
        return found

    def blame(self, problems: Iterable[Problem]) -> dict[str, list[Problem]]:
        """Which section each problem stands in, by the lines of paper.tex."""
        lines = (self.folder / "paper.tex").read_text(encoding="utf-8").splitlines()
        blamed: dict[str, list[Problem]] = {}
        for problem in problems:
            for name, body in self.sections.items():
                here = lines[problem.line - 1].strip() if problem.line and problem.line <= len(lines) else ""
                if here and here in body:
                    blamed.setdefault(name, []).append(problem)
                    break
        return blamed

    def finish(self, build: Build) -> Build:
        """Write build.json; a paper that does not build is an error, and says why."""
        save_json(self.folder / "build.json", build)
        if not build.ok:
            trouble = "\n".join(f"- {p.kind}: {p.message}" for p in build.problems if p.fatal)
            raise KitError(f"The paper of {self.idea.Name!r} does not build; its text is in {self.folder}.\n{trouble}")
        return build

    def pages(self) -> show.Html:
        """The pages as pictures."""
        return show.gallery(latex.pages(self.folder / "paper.pdf", self.folder / "pages"), columns=3)

    def _repr_html_(self) -> str:
        words = {name: len(body.split()) for name, body in self.sections.items()}
        texts = (show.details(f"{title(name)} ({words[name]} words)", show.listing(body))
                 for name, body in self.sections.items())  # fmt: skip
        size = f"{sum(words.values()):,} words in LaTeX, {len(self.references)} references to choose from"
        return show.block(show.title(self.idea.Title, show.tinted(size, "soft")), *texts)


def title(section: str) -> str:
    """The heading of a section, from its name."""
    return section.replace("_", " ").title()
