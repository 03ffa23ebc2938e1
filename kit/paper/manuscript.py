"""The manuscript: sections a model wrote, around numbers, tables and references that it did not."""

import ast
import copy
import hashlib
import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kit import latex, literature, results, show
from kit.archive import Record
from kit.editor import Edits, apply, diff, patches_of
from kit.letters import prose
from kit.schemas import Build, Captions, Choices, Finding, FormatError, KitError, Paper, Plan, Problem, Reference
from kit.store import Key, digest, load_json, save, save_json
from kit.template import load_template
from kit.workspace import Run

RANGE = re.compile(r"\brange \( (\d+) , (\d+) \)")  # between tokens: range(21, 51) are 30 steps
SOURCES = ("*.tex", "*.sty", "*.bib", "tables/*.tex", "figures/*")  # what a PDF is made of
NOTICES = {
    "offline": "The text of this paper was produced by the scripted demo model of Notebook Scientist. "
    "The experiments were really run; no person has checked the prose.",
    "model": "The text of this paper was written by the language model {model} with Notebook Scientist. "
    "Numbers, tables and references come from the run's ledger and the literature engine.",
}
UNSEARCHED = (
    " {failed} of {all} literature searches could not be made, because no engine answered: "
    "work that is missing among the references may exist."
)

NAMELESS = "Found, but not offered, since no engine named an author: {titles}. A .bib file in `engines` can give them."


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
        captions = Captions.model_validate(self._left("captions.json")).figures
        self.captions = [c.model_copy(update={"caption": prose(c.caption)}) for c in captions]  # LaTeX-safe
        self.tables = results.tables(self.ledger)
        conclusion = self.home / "conclusion.json"
        self.conclusion = load_json(conclusion) if conclusion.is_file() else None
        self.sections: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.references: list[Reference] = []
        self.papers: list[Paper] = []
        self.good: tuple[Build, dict[str, str]] | None = None  # the last build that went well, and its sections
        self.revisions, self.patches = 0, list[str]()  # how many there have been, and what the last one changed
        self.versions: list[str] = []  # of the text that were compiled
        self.told: set[str] = set()  # remarks that the writer has had, and that break nothing

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
        paper.findings = [Finding.model_validate(finding) for finding in left["findings"]]
        if (built := paper.folder / "build.json").is_file():
            paper.points(Build.model_validate(load_json(built)))  # what is left there its writer has been told
        return paper

    def copy(self, folder: str) -> "Manuscript":
        """The same manuscript, to be changed and built in another folder of the idea."""
        other = copy.copy(self)
        other.folder, other.sections = self.home / folder, dict(self.sections)
        other.good, other.told, other.versions = None, set(self.told), []
        return other

    def changes(self) -> dict[str, str]:
        """What each run that ended well changed in the program it started from, as a patch."""
        return patches_of(self.home, list(self.ledger.runs)[1:])

    def probes(self) -> dict[str, str]:
        """What each probe asked whose numbers are in the ledger."""
        file = self.home / "probes.json"
        asked = {probe["name"]: probe["question"] for probe in load_json(file)} if file.is_file() else {}
        return {n.run: asked[n.run] for n in self.ledger.numbers if n.run in asked}

    def subject(self) -> dict[str, Any]:
        """What the paper is about: all that whoever gathers its literature needs to know."""
        return {"template": self.template, "idea": self.idea, "plan": self.plan}

    def common(self) -> dict[str, Any]:
        """What every prompt of this stage may use."""
        return self.subject() | {
            "notes": self.notes(), "ledger": self.ledger, "figures": self.captions, "tables": list(self.tables),
            "changes": self.changes(), "numbers": results.tell_numbers(self.ledger),
            "verdicts": results.tell_comparisons(self.ledger), "outcome": results.tell_outcome(self.ledger),
            "conditions": results.tell_conditions(self.ledger), "confidence": f"{100 * results.CONFIDENCE:g} %",
            "conclusion": self.conclusion, "probes": self.probes(),
        }  # fmt: skip

    def notes(self) -> str:
        """The lab book without what stands in the plan already: what was changed, and what was predicted."""
        text = (self.home / "notes.md").read_text(encoding="utf-8")
        for arm in self.plan.arms:
            text = text.replace(f"{arm.change}\n\nPredicted: {arm.prediction}\n\n", "")
        return text[text.find("## ") :]

    # --- references -----------------------------------------------------------------------------

    @property
    def found(self) -> list[Paper]:
        """The papers that the searches found, each once, but for those by nobody: a reader could not find them."""
        return [paper for paper in literature.merge(self.findings) if paper.authors]

    def knows(self, choices: Choices) -> None:
        """FormatError where a chosen key is not among the papers found."""
        keys = {paper.key for paper in self.found}
        if unknown := [c.key for c in choices.choices if c.key not in keys]:
            raise FormatError(f"These keys were not found by any search: {', '.join(unknown)}.")

    def cite(self, choices: Choices) -> show.Html:
        """Make the chosen papers the ones that may be cited."""
        papers = {paper.key: paper for paper in self.found}
        chosen = {c.key: c.purpose for c in choices.choices}
        self.papers = [papers[key] for key in chosen]
        self.references = [Reference(key=k, title=papers[k].title, purpose=why) for k, why in chosen.items()]
        rows = [[p.key, re.sub(r"[{}]", "", p.title), p.year or "", chosen[p.key]] for p in self.papers]
        cited = show.table(["Key", "Title", "Year", "Cited for"], rows)
        lost = "; ".join(paper.title for paper in literature.merge(self.findings) if not paper.authors)
        return show.block(cited, show.paragraph(NAMELESS.format(titles=lost), "soft")) if lost else cited

    def notice(self) -> str:
        """What a reader must know first: who wrote the text, and what could not be checked."""
        offline = self.model == "offline"
        text = NOTICES["offline" if offline else "model"].format(model=self.model)
        failed = sum(bool(finding.trouble) for finding in self.findings)
        return text + (UNSEARCHED.format(failed=failed, all=len(self.findings)) if failed else "")

    # --- text -----------------------------------------------------------------------------------

    def part(self, together: Sequence[str]) -> dict[str, Any]:
        """What `paper/draft` is asked with, for sections that are written in one go."""
        return {"together": together, "written": self.sections, "references": self.references,
                "check": lambda draft: draft.named(together), "index": len(self.sections)}  # fmt: skip

    def put(self, together: Sequence[str], draft: "latex.Draft") -> None:
        """Take these sections."""
        self.sections |= draft.named(together)

    def files(self, points: Iterable[str] = ()) -> dict[str, str]:
        """The sections as files that a model can edit: all, or those that every point names one of."""
        named = [[name for name in self.sections if point.startswith(f"{name}.tex")] for point in points]
        wanted = {name for names in named for name in names} if named and all(named) else self.sections
        return {f"{name}.tex": body for name, body in self.sections.items() if name in wanted}

    def task(self, points: list[str], with_numbers: bool = True) -> dict[str, Any]:
        """What `paper/revise` is asked with: the points, the sections that they name, and the ledger where it helps."""
        return {"files": self.files(points), "points": points, "with_numbers": with_numbers, "check": self.fits,
                "index": self.revisions}  # fmt: skip

    def fits(self, edits: Edits) -> dict[str, str]:
        """The sections with the edits made; FormatError where one does not fit, or leaves no valid section."""
        before = self.files()
        after = apply(edits.edits, before, allowed=before) if edits.edits else before
        return {name.removesuffix(".tex"): latex.Section.parse(body).body if body != before[name] else body
                for name, body in after.items()}  # fmt: skip

    def revise(self, edits: Edits) -> show.Html:
        """Make the edits in the sections; what has changed, as patches."""
        before, self.sections, self.revisions = self.sections, self.fits(edits), self.revisions + 1
        self.patches = [diff(before[name], body, f"{name}.tex") for name, body in self.sections.items()
                        if body != before[name]]  # fmt: skip
        return self.revised

    @property
    def revised(self) -> show.Html:
        """What the last revision changed."""
        nothing = [show.paragraph("Nothing was changed.")]
        return show.block(*(map(show.listing, self.patches) if self.patches else nothing))

    def text(self) -> str:
        """The paper so far, as its writer sees it."""
        return "\n\n".join(f"% {title(name)}\n{body}" for name, body in self.sections.items())

    def write(self) -> Path:
        """Write everything that LaTeX needs into the folder; the path of paper.tex."""
        for name, body in self.sections.items():
            save(self.folder / "sections" / f"{name}.tex", f"{body}\n")
        left = {"sections": list(self.sections), "references": self.references, "papers": self.papers,
                "findings": self.findings}  # fmt: skip
        save_json(self.folder / "manuscript.json", left)
        for name, table in self.tables.items():
            save(self.folder / "tables" / f"{name}.tex", table)
        for caption in self.captions:
            save(self.folder / "figures" / caption.file, (self.home / "figures" / caption.file).read_bytes())
        save(self.folder / "numbers.tex", results.macros(self.ledger))
        save(self.folder / "references.bib", literature.bibtex(self.papers))
        body = {title(name): text for name, text in self.sections.items() if name != "abstract"}
        used = latex.used_keys(self.text())
        return latex.assemble(
            self.folder, title=self.idea.Title, authors="Notebook Scientist",
            notice=self.notice(), cites=bool(self.papers),
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
        version = digest(content)
        self.versions += [version] if version not in self.versions else []
        kept = self.folder / "built" / f"{version}.pdf"
        step = self.run.steps.once(
            Key(self.folder.name, "compile", self.idea.Name, self.versions.index(version)), content,
            lambda _: latex.compile(self.folder, keep=kept), still_good=lambda built: kept.is_file() or not built["ok"],
        )  # fmt: skip
        build = Build.model_validate(step.result)
        build = build.model_copy(update={"problems": [*problems, *build.problems]})
        if build.ok:
            save(self.folder / "paper.pdf", kept.read_bytes())  # after a replay another version may lie there
            self.good = build, dict(self.sections)
        return build

    def check(self, tex: str) -> list[Problem]:
        """What is wrong with the text before LaTeX has seen it."""
        verdicts = {(f"{c.dataset}/{c.metric}", c.run, c.baseline): c.verdict for c in self.ledger.comparisons}
        turned = {(place, base, run): results.FLIPPED.get(said, said) for (place, run, base), said in verdicts.items()}
        figures, tables = [c.file for c in self.captions], list(self.tables)
        problems = latex.check(
            tex, keys={n.key for n in self.ledger.numbers}, comparisons={*verdicts, *turned},
            citations={paper.key for paper in self.papers}, figures=figures, tables=tables, settings=self.settings(),
        )  # fmt: skip
        wanted = [table for table in tables if table != "timing"]  # times are seldom to the point
        return [*problems, *latex.claims(tex, verdicts | turned), *latex.unseen(tex, figures, wanted)]

    def settings(self) -> set[str]:
        """Numbers that stand in the code of runs and probes, and the lengths of its ranges: the text may name them."""
        found = set()
        files = [*self.home.glob("run_*/experiment.py"), *self.home.glob("probes/*/analysis.py")]
        for code in {file.read_text(encoding="utf-8") for file in files}:
            tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
            for token in tokens:
                if token.type == tokenize.NUMBER and not isinstance(value := ast.literal_eval(token.string), complex):
                    found |= {token.string, f"{value:g}", str(value)}
            spelt = " ".join(token.string for token in tokens if token.type != tokenize.COMMENT)
            found |= {str(int(stop) - int(start)) for start, stop in RANGE.findall(spelt)}
        return found

    def points(self, build: Build) -> list[str]:
        """What the writer is to mend: what breaks the paper, and each other remark once."""
        tex = (self.folder / "paper.tex").read_text(encoding="utf-8")
        fatal = latex.points([p for p in build.problems if p.fatal], self.sections, tex)
        others = latex.points([p for p in build.problems if not p.fatal], self.sections, tex)
        new = [point for point in others if point not in self.told]
        self.told |= set(new)
        return fatal + new

    def finish(self, build: Build) -> Build:
        """Write build.json. Where the paper broke, its last good version stands; without one it is an error."""
        if not build.ok and self.good:
            build, self.sections = self.good[0], dict(self.good[1])
            self.write()
            lost = Problem(kind="revision", message="The last change broke the paper and was taken back.", fatal=False)
            build = build.model_copy(update={"problems": [*build.problems, lost]})
        save_json(self.folder / "build.json", build)
        if not build.ok:
            trouble = "\n".join(f"- {p.kind}: {p.message}" for p in build.problems if p.fatal)
            raise KitError(f"The paper of {self.idea.Name!r} does not build; its text is in {self.folder}.\n{trouble}")
        return build

    def pictures(self) -> list[Path]:
        """The pages as pictures, drawn anew where the PDF has changed."""
        drawn, pdf = self.folder / "pages" / "of.txt", self.folder / "paper.pdf"
        content = hashlib.sha256(pdf.read_bytes()).hexdigest()
        if not drawn.is_file() or drawn.read_text(encoding="utf-8") != content:
            latex.pages(pdf, drawn.parent)
            save(drawn, content)
        return sorted(drawn.parent.glob("page_*.png"))

    def pages(self) -> show.Html:
        """The pages, as a reader will have them."""
        return show.gallery(self.pictures(), columns=3)

    def _repr_html_(self) -> str:
        words = {name: len(body.split()) for name, body in self.sections.items()}
        texts = (show.details(f"{title(name)} ({words[name]} words)", show.listing(body))
                 for name, body in self.sections.items())  # fmt: skip
        size = f"{sum(words.values()):,} words in LaTeX, {len(self.references)} references to choose from"
        return show.block(show.title(self.idea.Title, show.tinted(size, "soft")), *texts)


def title(section: str) -> str:
    """The heading of a section, from its name."""
    return section.replace("_", " ").title()
