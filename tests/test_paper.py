"""The manuscript: left on disk, opened again, copied, revised."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import editor
from kit.archive import Record
from kit.offline import revision
from kit.paper import Manuscript
from kit.results import build_ledger
from kit.schemas import Captions, FormatError, Idea, KitError, Paper, Plan, Reference
from kit.store import save, save_json
from kit.template import Metric, Template
from kit.workspace import Run

IDEA = Idea(Name="tiny", Title="Tiny Steps", Experiment="…", Interestingness=5, Feasibility=5, Novelty=5)
PLAN = {"question": "Does it?", "arms": [{"name": "half", "title": "Half", "change": "c", "prediction": "p"}]}
TEMPLATE = Template(name="t", path=Path(), metrics={"loss": Metric(direction="min", headline=True)})
TEXTS = {
    "introduction": "Steps are old.\n\nThey are taken one by one.",
    "results": "It is so.\n\nIt is not otherwise.",
    "conclusion": "That was all.",
    "abstract": "We look.",
}


@pytest.fixture
def manuscript(run: Run) -> Manuscript:
    """A manuscript with four short sections and one reference."""
    run.note(template="diffusion_2d", model="offline")
    home = run.folder("tiny")
    for name, shift in (("run_0", 0.0), ("run_1", -0.2)):
        values = [0.5 + shift + n / 100 for n in range(4)]
        measured = {"means": {"loss": sum(values) / 4}, "stderrs": {"loss": 0.006}, "seeds": {"loss": values}}
        save_json(home / name / "final_info.json", {"dino": measured})
        save(home / name / "experiment.py", "RATE = 0.25\n")
    ledger = build_ledger(home, {"run_0": "Baseline", "run_1": "Half"}, TEMPLATE)
    save_json(home / "results.json", ledger)
    save_json(home / "plan.json", Plan.model_validate(PLAN))
    save_json(home / "captions.json", Captions(figures=[]))
    save(home / "notes.md", "## run_1: half\nIt ran.")
    paper = Manuscript(run, Record(idea=IDEA))
    paper.sections = dict(TEXTS)
    paper.papers = [Paper(key="ho2020", title="Noise", authors=["Jo Ho"], year=2020)]
    paper.references = [Reference(key="ho2020", title="Noise", purpose="It is noisy.")]
    return paper


def edits(path: str, search: str, replace: str) -> editor.Edits:
    return editor.Edits.parse(f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n")


def test_a_manuscript_is_found_again_as_it_was_left(manuscript: Manuscript, run: Run):
    with pytest.raises(KitError, match="run 03_paper for the idea 'tiny' first"):
        Manuscript.reopen(run, Record(idea=IDEA))
    manuscript.write()
    again = Manuscript.reopen(run, Record(idea=IDEA))
    assert (list(again.sections.items()), again.papers) == (list(TEXTS.items()), manuscript.papers)
    assert again.references == manuscript.references
    assert (manuscript.folder / "sections" / "results.tex").read_text() == TEXTS["results"] + "\n"


def test_a_copy_leaves_the_first_as_it_is(manuscript: Manuscript):
    manuscript.write()
    other = manuscript.copy("paper_improved")
    other.revise(edits("conclusion.tex", "That was all.", "That was nearly all."))
    tex = other.write()
    assert tex.parent.name == "paper_improved" and "nearly" in tex.read_text()
    assert "nearly" not in (manuscript.folder / "paper.tex").read_text()
    assert "nearly" not in manuscript.text()


@pytest.mark.parametrize(
    "path, search, replace, why",
    [
        ("results.tex", "It was so.", "x", "is not in results.tex"),
        ("paper.tex", "We look.", "x", "may not be edited"),
        ("poem.tex", "", "x", "may not be edited"),
        ("results.tex", "It is so.", r"\input{/etc/passwd}", "cannot stand in a section"),
        ("results.tex", "It is so.", r"\emph{It is so.", "not closed"),
        ("abstract.tex", "We look.", "", "empty"),
    ],
)
def test_an_edit_that_does_not_fit_says_why(manuscript: Manuscript, path: str, search: str, replace: str, why: str):
    with pytest.raises(FormatError, match=why):
        manuscript.fits(edits(path, search, replace))


def test_edits_that_fit_are_shown_as_patches(manuscript: Manuscript):
    wanted = edits("results.tex", "It is so.", "It is nearly so.")
    manuscript.fits(wanted)
    assert manuscript.sections == TEXTS
    shown = manuscript.revise(wanted)
    assert manuscript.sections["results"] == "It is nearly so.\n\nIt is not otherwise."
    assert "+It is nearly so." in shown and "introduction" not in shown


POINTS = [
    "The limits of the study are not named.",
    "Five seeds are few.",
    "Why would 5 % of {braces} help? Ω",
    "It is dull.",
]


@given(st.lists(st.sampled_from(POINTS), min_size=1, max_size=4), st.randoms())
def test_the_scripted_scientist_changes_what_the_points_name(points: list[str], dice: random.Random):
    files = {f"{name}.tex": text for name, text in TEXTS.items()}
    reply = revision.revise({"files": files, "points": points}, dice)
    after = editor.apply(editor.Edits.parse(reply).edits, files, allowed=files)
    assert after != files
    if POINTS[0] in points:
        assert "claim nothing beyond" in after["conclusion.tex"]


@given(st.lists(st.sampled_from(["a", "b", "", "c c"]), min_size=1), st.lists(st.sampled_from(["a", "b", "", "c c"])))
def test_a_difference_becomes_an_edit_that_makes_it(before: list[str], after: list[str]):
    old, new = "\n".join(["start", *before, "end"]), "\n".join(["start", *after, "end"])
    if old == new:
        assert revision.block("x.tex", old, new) == ""
    else:
        made = editor.Edits.parse(revision.block("x.tex", old, new))
        assert editor.apply(made.edits, {"x.tex": old}) == {"x.tex": new}
