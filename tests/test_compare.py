"""Runs side by side: conditions before numbers, and a verdict only where several papers carry it."""

from pathlib import Path

import pytest

from kit import pipeline
from kit.__main__ import main
from kit.archive import Archive, Record
from kit.compare import SideBySide
from kit.schemas import Idea, KitError, Novelty, Review
from kit.store import save, save_json
from kit.workspace import Run


def review(overall: int) -> Review:
    four = dict.fromkeys(["Originality", "Quality", "Clarity", "Significance", "Soundness", "Presentation",
                          "Contribution"], 2)  # fmt: skip
    return Review.model_validate(four | {
        "Summary": "s", "Strengths": [], "Weaknesses": [], "Questions": [], "Limitations": [],
        "Ethical Concerns": False, "Overall": overall, "Confidence": 3,
        "Decision": "Accept" if overall > 5 else "Reject"})  # fmt: skip


def run_with(path: Path, model: str, scores: list[tuple[int, ...]], chosen: int = 0, **settings: object) -> Run:
    """A run with a reviewed paper for each tuple of Overalls, and as many chosen ideas as wanted."""
    run, records = Run(path), []
    run.note(template="mini", model=model, versions={"kit": "0.1.0", "platform": "here"}, settings=settings)
    for number in range(max(chosen, len(scores)) + 1):
        idea = Idea(Name=f"idea_{number}", Title="T", Experiment="E", Interestingness=5, Feasibility=5, Novelty=5)
        novelty = Novelty(verdict="novel" if number else "unchecked")
        records.append(Record(idea=idea, novelty=novelty, chosen=number < max(chosen, len(scores))))
    for record, overalls in zip(records, scores, strict=False):
        home = path / record.idea.Name
        save(home / "paper" / "paper.pdf", b"%PDF")
        form = {**review(max(overalls)).model_dump(by_alias=True),
                "reviews": [review(overall).model_dump(by_alias=True) for overall in overalls]}  # fmt: skip
        save_json(home / "review.json", form)
    run.save_archive(Archive(records=records))
    return run


def test_a_row_says_how_the_field_thins_out(tmp_path: Path):
    one = run_with(tmp_path / "a", "x/one", [(4, 6), (7, 7)], chosen=3)
    two = run_with(tmp_path / "b", "x/two", [])
    first, second = (dict(zip(SideBySide.COLUMNS, side.row(), strict=True)) for side in SideBySide([one, two]).sides)
    assert [first[name] for name in ("Model", "Ideas", "novel", "chosen", "Measured", "Papers")] == [
        "x/one",
        4,
        3,
        3,
        0,
        2,
    ]
    assert (first["Overall"], first["best"], first["accepted"]) == ("6.0 ± 1.0", "7", 2)
    assert (second["Papers"], second["Overall"], second["best"], second["accepted"]) == (0, "", "", "")


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ([(7,), (8,), (7,)], [(3,), (4,), (3,)], "better"),
        ([(3,), (4,), (3,)], [(7,), (8,), (7,)], "worse"),
        ([(3,), (8,), (5,)], [(4,), (7,), (3,)], "inconclusive"),
        ([(9,)], [(2,), (3,)], "not comparable; fewer than two papers"),
        ([], [(2,), (3,)], "not comparable; fewer than two papers"),
        ([(5,), (5,)], [(4,), (4,)], "do not vary from paper to paper"),
    ],
)
def test_a_verdict_needs_papers(tmp_path: Path, ours: list, theirs: list, said: str):
    runs = [run_with(tmp_path / "first", "x/first", theirs), run_with(tmp_path / "other", "x/other", ours)]
    assert "x/other against x/first" in (words := SideBySide(runs).verdicts()) and said in words


def test_conditions_that_differ_are_named_first(tmp_path: Path):
    one = run_with(tmp_path / "a", "x/one", [(4, 6)], preset="demo", max_runs=5, budget="5 dollars")
    two = run_with(tmp_path / "b", "x/two", [(4,)], preset="demo", max_runs=3)
    said = SideBySide([one, two]).conditions()
    assert "Not the same: reviews of a paper, max_runs, budget." in said and "preset" in said
    like = run_with(tmp_path / "c", "x/three", [(3, 3)], preset="demo", max_runs=5, budget="5 dollars")
    assert "All conditions that are on record are the same." in SideBySide([one, like]).conditions()
    again = SideBySide([one, run_with(tmp_path / "d", "x/one", [])])
    assert [side.label for side in again.sides] == ["x/one (a)", "x/one (d)"]
    assert "not on record" in again.conditions()


def test_one_run_is_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture):
    one = run_with(tmp_path / "a", "x/one", [])
    with pytest.raises(KitError, match=r"one run; two are needed.*`runs`"):
        SideBySide([one, Run(one.path)])
    assert main(["compare", "no_such_run", "nor_this"]) == 1
    assert "There is no run in" in capsys.readouterr().err


def test_a_run_for_each_model_and_one_page_of_all(home: Path, capsys: pytest.CaptureFixture):
    same = {"template": "tests/mini", "num_ideas": 1, "select": "all", "preset": "smoke", "num_reviews_ensemble": 2}
    runs, troubles = pipeline.run_each(["offline", "no_such_provider/x"], **same)
    assert runs[0].about["model"] == "offline" and list(troubles) == ["no_such_provider/x"]
    assert runs[0].about["settings"]["preset"] == "smoke" and (runs[0].path.parent == home / "outputs")
    before = len(runs[0].calls.finished())
    assert pipeline.run_each(["offline"], **same)[0][0].path == runs[0].path
    assert len(runs[0].calls.finished()) == before, "what is there is not made again"
    run_with(home / "outputs" / "other", "x/other", [(4, 6)])
    assert main(["compare", runs[0].name, "other"]) == 0
    page = Path(capsys.readouterr().out.split()[-1])
    text = page.read_text(encoding="utf-8")
    assert page == home / "outputs" / "compare.html" and "Is it fair?" in text and "Not the same" in text
    assert "x/other against offline: not comparable" in text and "data:image/png" in text
    with pytest.raises(KitError, match="run_dir"):
        pipeline.run_each(["offline", "offline"], run_dir="x", **same)
