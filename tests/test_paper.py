"""The manuscript: left on disk, opened again, copied, revised."""

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from kit import editor, latex, prompts, results
from kit.archive import Record
from kit.offline import pages, revision
from kit.paper import Manuscript, Revision
from kit.results import build_ledger
from kit.schemas import (
    Build,
    Caption,
    Captions,
    Choice,
    Choices,
    Critique,
    Finding,
    FormatError,
    Idea,
    KitError,
    Paper,
    Plan,
    Point,
    Problem,
    Queries,
    Reference,
)
from kit.store import save, save_json
from kit.template import Metric, Template
from kit.workspace import Run

HAS_TEX = bool(shutil.which("tectonic") or (shutil.which("latexmk") and shutil.which("pdflatex")))
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


def test_a_remark_that_was_left_is_not_made_again_of_the_improved_paper(manuscript: Manuscript, run: Run):
    manuscript.write()
    left = Problem(kind="table", message="The table 'comparisons' is at hand and not shown.", fatal=False)
    build = Build(ok=True, pdf="paper.pdf", problems=[left])
    [told] = manuscript.points(build)
    assert "not shown" in told and manuscript.points(build) == []
    manuscript.finish(build)
    other = Manuscript.reopen(run, Record(idea=IDEA)).copy("paper_improved")
    other.write()
    new = Problem(kind="table", message="The table 'results' is at hand and not shown.", fatal=False)
    assert ["results" in point for point in other.points(Build(ok=True, problems=[left, new]))] == [True]


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


# --- what a section is written from -------------------------------------------------------------


def asked(paper: Manuscript, *sections: str) -> str:
    return prompts.render("paper/draft", paper.common() | paper.part(sections))


def test_each_section_is_shown_what_it_needs_and_no_more(manuscript: Manuscript):
    results = asked(manuscript, "results")
    assert "loss 0.315 ± 0.006" in results and r"\kittable{results}" in results and "ho2020" not in results
    assert "ho2020" in asked(manuscript, "related_work") and "0.315" not in asked(manuscript, "related_work")
    assert "```python" in asked(manuscript, "method") and "```python" not in asked(manuscript, "introduction")
    shown = [name for name, text in TEXTS.items() if text in asked(manuscript, "abstract")]
    assert shown == [name for name in TEXTS if name in ("introduction", "results", "conclusion")]
    assert "ho2020" in asked(manuscript, "a_section_of_ones_own")


def test_sections_that_are_written_together_share_what_they_need(manuscript: Manuscript):
    both = asked(manuscript, "method", "experimental_setup")
    assert both.count("```python") == 1 and "## method.tex" in both and "## experimental_setup.tex" in both
    last = asked(manuscript, "conclusion", "abstract")
    assert last.count(TEXTS["results"]) == 1 and TEXTS["conclusion"] not in last, "it is being written"


def test_a_draft_holds_the_sections_that_were_asked_for(manuscript: Manuscript):
    part = manuscript.part(["conclusion", "abstract"])
    draft = latex.Draft.parse("conclusion.tex\n```latex\nIt ends.\n```\n\n### abstract.tex:\n```latex\nBriefly.\n```")
    part["check"](draft)
    manuscript.put(part["together"], draft)
    assert manuscript.sections["conclusion"] == "It ends." and manuscript.sections["abstract"] == "Briefly."
    for reply, why in (
        ("conclusion.tex\n```latex\nIt ends.\n```", r"lacks abstract\.tex"),
        (
            "conclusion.tex\n```latex\nA.\n```\nabstract.tex\n```\nB.\n```\nmethod.tex\n```\nC.\n```",
            "Not asked for: method",
        ),
        ("```latex\nIt ends.\n```", "a section without a name"),
    ):
        with pytest.raises(FormatError, match=why):
            part["check"](latex.Draft.parse(reply))
    assert latex.Draft.parse("```latex\nAlone.\n```").named(["results"]) == {"results": "Alone."}


def test_the_conclusion_of_the_experiments_is_handed_on(manuscript: Manuscript, run: Run):
    assert "experimenter's" not in asked(manuscript, "conclusion")
    left = {"answer": "Halving helps.", "lesson": "Halve.", "mispredicted": ["half: it was said to hurt"]}
    save_json(manuscript.home / "conclusion.json", left)
    paper = Manuscript(run, Record(idea=IDEA))
    assert "Halving helps. Halve." in asked(paper, "conclusion") and "said to hurt" in asked(paper, "results")


def test_the_ledger_is_told_in_few_words(manuscript: Manuscript):
    told = results.tell_numbers(manuscript.ledger)
    keys = {f"{line[1:].partition('`')[0]}{value.split()[0]}" for line in told.splitlines()
            for value in line.partition(": ")[2].split("; ")}  # fmt: skip
    assert keys == {n.key for n in manuscript.ledger.numbers if n.statistic != "stderr"}
    assert results.tell_comparisons(manuscript.ledger) == (
        "Not comparable (the values do not vary over seeds: no spread to judge by): loss of run_1 against run_0"
    )
    assert "loss: not comparable (the values" in results.tell_outcome(manuscript.ledger)


# --- references ---------------------------------------------------------------------------------


def test_a_paper_by_nobody_cannot_be_cited(manuscript: Manuscript):
    nobody = Paper(key="noise2020", title="Noise again")
    manuscript.findings = [Finding(query="noise", papers=[*manuscript.papers, nobody])]
    assert [paper.key for paper in manuscript.found] == ["ho2020"]
    with pytest.raises(FormatError, match="not found by any search: noise2020"):
        manuscript.knows(Choices(choices=[Choice(key="noise2020", purpose="It is noisy.")]))
    said = "no engine named an author: Noise again."
    choices = Choices(choices=[Choice(key="ho2020", purpose="It is noisy.")])
    assert said in manuscript.cite(choices), "a person who reads the notebook may know whose it is"
    known = nobody.model_copy(update={"key": "song2020noise", "authors": ["Yang Song"]})
    manuscript.findings.append(Finding(query="again", papers=[known]))
    assert [paper.key for paper in manuscript.found] == ["ho2020", "song2020noise"]
    assert said not in manuscript.cite(choices)


def test_a_search_that_failed_is_told_to_the_reader(manuscript: Manuscript):
    manuscript.findings = [Finding(query="noise"), Finding(query="more", trouble="It was down.")]
    manuscript.papers = []
    tex = manuscript.write().read_text()
    assert "1 of 2 literature searches could not be made" in tex and r"\bibliography" not in tex


def test_settings_are_what_stands_in_the_code_and_how_long_its_ranges_are(manuscript: Manuscript):
    assert manuscript.settings() == {"0.25"}
    code = "noisy = range(21, 51)  # 77 in all, range(0, 9)\nwidth = 1_000\nrange(width)\nsaid = 'range(1, 3)'\n"
    save(manuscript.home / "run_1" / "experiment.py", code)
    assert manuscript.settings() == {"0.25", "21", "51", "30", "1_000", "1000"}


def test_a_search_is_asked_for_or_ended():
    assert Queries(thoughts="", queries=[], done=True).done
    with pytest.raises(ValidationError, match="at least one query"):
        Queries(thoughts="", queries=["  "], done=False)


# --- looking again ------------------------------------------------------------------------------


def test_words_without_a_block_mean_that_nothing_changes(manuscript: Manuscript):
    nothing = Revision.parse("All is well as it is.")
    assert nothing.done and "Nothing was changed" in manuscript.revise(nothing) and manuscript.sections == TEXTS
    assert not Revision.parse("x.tex\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE").done
    for whole in ("```latex\nIt is so.\n```", r"\begin{itemize}\item a\end{itemize}"):
        with pytest.raises(FormatError, match="not the whole text"):
            Revision.parse(whole)


def test_a_revision_is_shown_what_its_points_need(manuscript: Manuscript):
    task = manuscript.task(["results.tex: Say less."])
    assert list(task["files"]) == ["results.tex"] and task["with_numbers"]
    assert list(manuscript.task(["Say less."])["files"]) == [f"{name}.tex" for name in TEXTS]
    values = manuscript.common() | task
    shown = prompts.render("paper/revise", values)
    assert "loss 0.315" in shown and "results.tex\n<<<<<<<" in shown
    assert "loss 0.315" not in prompts.render("paper/revise", values | {"with_numbers": False})


def test_whoever_looks_again_sees_the_whole_draft_with_its_advice_and_the_verdicts(manuscript: Manuscript):
    shown = prompts.render("paper/refine", manuscript.common() | {"files": manuscript.files()})
    assert all(text in shown for text in TEXTS.values()) and results.tell_comparisons(manuscript.ledger) in shown
    assert all(f"{name}.tex\n\n```latex" in shown for name in TEXTS)
    assert shown.count("To be: ") == len(TEXTS) and "To be: 300 to 420 words" in shown


def test_the_setup_is_told_how_runs_were_made_and_compared(manuscript: Manuscript):
    manuscript.ledger = manuscript.ledger.model_copy(update={"preset": "full"})
    shown = asked(manuscript, "experimental_setup")
    assert "KIT_PRESET was `full`" in shown and "summary/num_seeds" in shown
    assert "KIT_PRESET" not in asked(manuscript, "results")


def test_a_critique_without_points_is_done():
    assert Critique(points=[], done=False).done
    point = Point(section="results.tex", point="Too long.")
    assert Critique(points=[point], done=False).said() == ["results.tex: Too long."]


def test_the_scripted_scientist_finds_what_is_missing_and_what_stands_twice():
    said = "A sentence that is as long as this one and that stands in two sections is one too many."
    files = {"results.tex": f"It is.\n\n{said}", "conclusion.tex": f"{said} That was all."}
    critique = revision.criticise({"files": files, "figures": [Caption(file="loss.png", caption="")]}, random.Random(0))
    assert [point.section for point in critique.points] == ["results", "conclusion", "conclusion"]
    reply = revision.revise({"files": files, "points": critique.said()}, random.Random(0))
    after = editor.apply(Revision.parse(reply).edits, files)
    assert (
        r"\includegraphics[width=\linewidth]{loss.png}" in after["results.tex"] and "Scope" in after["conclusion.tex"]
    )
    twice = {"results.tex": "It is is so.", "method.tex": "It is how it is."}
    doubled = revision.refine({"files": twice}, random.Random(0))
    assert editor.apply(Revision.parse(doubled).edits, twice) == twice | {"results.tex": "It is so."}
    assert Revision.parse(revision.refine({"files": {"results.tex": "It is so."}}, random.Random(0))).done


def test_the_scripted_scientist_sees_ink_at_the_edge(tmp_path: Path):
    files = [tmp_path / f"{name}.png" for name in ("good", "wide", "empty")]
    for file, box in zip(files, [(200, 100, 700, 300), (200, 100, 880, 300), None], strict=True):
        page = Image.new("RGB", (900, 1200), "white")
        if box:
            page.paste("black", box)
        page.save(file)
    seen = pages.look({"pictures": files, "sections": ["results"]}, random.Random(0))
    assert [point.point[:15] for point in seen.points] == ["Something runs ", "Page 3 is empty"]
    assert pages.look({"pictures": files[:1], "sections": ["results"]}, random.Random(0)).done


# --- building -----------------------------------------------------------------------------------


def test_points_name_the_section_and_the_words(manuscript: Manuscript):
    manuscript.sections["results"] = "It is so.\n\nIt is 12 and not otherwise."
    build = manuscript.build()
    points = manuscript.points(build)
    assert points[0].startswith(
        'results.tex, at "It is 12 and not otherwise.": literal number: The number 12 in Results'
    )
    assert [list(manuscript.files([point])) for point in points[:1]] == [["results.tex"]]
    assert manuscript.files(["It is dull."]) == manuscript.files()
    remarks = [point for point in points if "at hand and not shown" in point]
    assert remarks and not set(remarks) & set(manuscript.points(build)), "each remark is told once"
    assert points[0] in manuscript.points(build)


@pytest.mark.skipif(not HAS_TEX, reason="there is no TeX on this machine")
def test_a_change_that_breaks_the_paper_is_taken_back(manuscript: Manuscript):
    manuscript.sections["results"] += r" \citep{ho2020}"
    with pytest.raises(KitError, match="does not build"):
        manuscript.finish(Build(ok=False))
    first = manuscript.finish(manuscript.build())
    good, pdf = manuscript.sections["results"], (manuscript.folder / "paper.pdf").read_bytes()
    drawn = manuscript.pictures()
    assert first.ok and len(drawn) == first.pages
    manuscript.revise(edits("results.tex", "It is so.", r"It is \nosuchcommand."))
    last = manuscript.finish(manuscript.build())
    assert last.ok and "taken back" in last.problems[-1].message
    assert manuscript.sections["results"] == good and (manuscript.folder / "paper.pdf").read_bytes() == pdf
    manuscript.revise(edits("results.tex", "It is so.", "It is nearly so."))
    assert manuscript.build().ok and (manuscript.folder / "paper.pdf").read_bytes() != pdf
    manuscript.revise(edits("results.tex", "It is nearly so.", "It is so."))
    assert manuscript.build().ok and (manuscript.folder / "paper.pdf").read_bytes() == pdf, "a replay brings it back"
    assert manuscript.pictures() == drawn
