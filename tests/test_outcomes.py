"""What earlier runs came to: read from their folders once, and kept."""

import json
from pathlib import Path

import pytest

from kit.archive import Archive, Record
from kit.outcomes import gather
from kit.prompts import render
from kit.results import Ledger
from kit.schemas import Comparison, Idea, KitError
from kit.store import save_json
from kit.template import Metric
from kit.workspace import Run


def idea(name: str) -> Idea:
    return Idea(Name=name, Title=f"On {name}", Experiment="x", Interestingness=5, Feasibility=5, Novelty=5)


def ledger(*runs: str) -> Ledger:
    """A ledger in which each run but the first was better than the baseline."""
    facts = {"dataset": "d", "metric": "loss", "baseline": "run_0", "difference": -1.0, "low": -2.0, "high": -0.5,
             "method": "paired t", "verdict": "better"}  # fmt: skip
    return Ledger(
        runs=dict.fromkeys(runs, "a run"), metrics={"loss": Metric(direction="min", headline=True)},
        comparisons=[Comparison(run=run, **facts) for run in runs[1:]],  # pyright: ignore
    )  # fmt: skip


@pytest.fixture
def earlier(run: Run) -> Run:
    """A run beside ours, with an idea that was carried out, one with no run but the baseline, and one not begun."""
    earlier = Run(run.path.parent / "earlier")
    earlier.note(template="t", model="offline")
    earlier.save_archive(Archive(records=[Record(idea=idea(name)) for name in ("carried_out", "begun", "left")]))
    save_json(earlier.path / "carried_out" / "results.json", ledger("run_0", "run_1", "run_2"))
    save_json(earlier.path / "carried_out" / "review.json", {"Overall": 4, "Decision": "Reject"})
    save_json(earlier.path / "begun" / "results.json", ledger("run_0"))
    return earlier


def test_what_was_carried_out_is_told(run: Run, earlier: Run):
    save_json(earlier.path / "carried_out" / "conclusion.json", {"lesson": "It is the noise."})
    (outcome,) = gather(run, ["earlier"]).found
    assert outcome.idea.Name == "carried_out" and outcome.lesson == "It is the noise."
    assert outcome.said == "comparisons 2 better; reviewed 4 out of 10, Reject"
    prompt = render("ideas/propose", {"outcomes": gather(run, ["earlier"]), "archive": Archive(), "number": 1,
                                      "max_runs": 3})  # fmt: skip
    for words in ("`carried_out`: On carried_out", "2 better", "4 out of 10", "Lesson: It is the noise.", "for 3 be"):
        assert words in prompt


def test_what_is_not_there_yet_is_left_out(run: Run, earlier: Run):
    (earlier.path / "carried_out" / "review.json").unlink()
    (outcome,) = gather(run, [str(earlier.path)]).found
    assert outcome.said == "comparisons 2 better" and outcome.lesson == ""


def test_it_stays_as_it_was_when_the_run_began(run: Run, earlier: Run):
    before = gather(run, ["earlier"])
    save_json(earlier.path / "carried_out" / "review.json", {"Overall": 9, "Decision": "Accept"})
    assert gather(Run(run.path), ["earlier"]) == before


def test_nothing_to_build_on_asks_for_nothing(run: Run):
    assert gather(run, []).found == [] and not run.path.exists()


@pytest.mark.parametrize("name, said", [("erlier", "kit runs"), ("run", "cannot build on 'run'"), ("", "cannot build"),
                                        ("empty", "02_experiments")])  # fmt: skip
def test_a_run_that_cannot_be_built_on_is_named_with_the_cure(run: Run, earlier: Run, name: str, said: str):
    run.note(template="t")
    Run(run.path.parent / "empty").note(template="t")
    with pytest.raises(KitError, match=said):
        gather(run, ["earlier", name])


def test_it_is_plain_json(run: Run, earlier: Run, tmp_path: Path):
    gather(run, ["earlier"])
    (step,) = (tmp_path / "run" / "steps").glob("*.json")
    assert json.loads(step.read_text())["result"]["found"][0]["verdicts"] == {"better": 2}
