"""The bench: real edits, real runs; every failure is named and nothing is lost."""

import json
import shutil
from pathlib import Path

import pytest

from kit import workspace
from kit.bench import Bench
from kit.editor import Edits
from kit.schemas import Arm, Idea, KitError, Note, Plan
from kit.template import load_template
from kit.workspace import Run

IDEA = Idea(Name="steps", Title="Larger steps", Experiment="x", Interestingness=5, Feasibility=5, Novelty=5)
PLAN = Plan(
    question="Do larger steps help?",
    arms=[Arm(name="large", title="Large steps", change="learning_rate 0.3", prediction="Lower."),
          Arm(name="small", title="Small steps", role="control", change="learning_rate 0.01", prediction="Higher.")],
)  # fmt: skip


@pytest.fixture
def template(tmp_path: Path, monkeypatch):
    """A copy of the mini template that a test may spoil."""
    monkeypatch.setattr(workspace, "outputs", lambda: tmp_path / "outputs")
    shutil.copytree(Path(__file__).parent / "mini", tmp_path / "mini")
    return tmp_path / "mini"


def bench_for(template: Path) -> Bench:
    run = Run(workspace.outputs() / "run")
    return Bench(run, load_template(str(template)), IDEA, "smoke")


def rate(new: str, old: str = "0.05") -> Edits:
    block = f"experiment.py\n<<<<<<< SEARCH\nlearning_rate = {old}\n=======\nlearning_rate = {new}\n>>>>>>> REPLACE\n"
    return Edits.parse(block)


def test_arms_are_run_compared_and_noted(template: Path):
    bench = bench_for(template).baseline(60)
    for trial in bench.trials(PLAN, max_iters=2):
        trial.carry_out(rate("0.3" if trial.arm.name == "large" else "0.01"), 60)
        bench.write_note(trial, Note(text="It ran.", settled=False))
    verdicts = {(c.run, c.dataset): c.verdict for c in bench.ledger().comparisons}
    assert verdicts["run_2", "flat"] == "worse" and verdicts["run_1", "flat"] == "better"
    assert (bench.folder / "run_1" / "experiment.py").read_text().count("learning_rate = 0.3") == 1
    assert "learning_rate = 0.05" in (bench.folder / "run_0" / "experiment.py").read_text()
    assert (bench.folder / "notes.md").read_text().count("It ran.") == 2
    assert bench.plot(60) == ["loss_flat.png", "loss_steep.png"]
    assert json.loads((bench.folder / "results.json").read_text())["comparisons"]
    assert not (template / "run_0").exists(), "a run never writes into templates/"


def test_a_baseline_is_shared_and_made_once(template: Path):
    bench_for(template).baseline(60)
    made = list((workspace.outputs() / "_baselines").glob("*/steps/*.json"))
    other = Bench(Run(workspace.outputs() / "other"), load_template(str(template)), IDEA, "smoke").baseline(60)
    assert list((workspace.outputs() / "_baselines").glob("*/steps/*.json")) == made
    assert (other.folder / "run_0" / "final_info.json").is_file()


def test_a_failed_edit_and_a_crash_go_back_with_the_reason(template: Path):
    bench, troubles = bench_for(template).baseline(60), []
    replies = [rate("0.3", old="0.5"), rate("undefined_name"), rate("0.3", old="undefined_name")]
    for trial in bench.trials(PLAN.model_copy(update={"arms": PLAN.arms[:1]}), max_iters=4):
        troubles.append(trial.trouble)
        trial.carry_out(replies.pop(0), 60)
    assert troubles[0] == "" and "learning_rate" in troubles[1] and "NameError" in troubles[2]
    assert bench.runs["run_1"].ok and not replies


def test_an_idea_without_a_run_that_succeeds_ends_by_name(template: Path):
    bench = bench_for(template).baseline(60)
    with pytest.raises(KitError, match=r"No run of 'steps' succeeded.*notes\.md"):
        for trial in bench.trials(PLAN, max_iters=2):
            trial.carry_out(rate("undefined_name" if trial.attempt == 0 else "also_undefined", old=(
                "0.05" if trial.attempt == 0 else "undefined_name")), 60)  # fmt: skip
    assert "NameError" in (bench.folder / "notes.md").read_text()


def test_a_run_that_hangs_is_stopped_and_said(template: Path):
    bench = bench_for(template).baseline(60)
    (trial, *_) = [next(bench.trials(PLAN, max_iters=1))]
    trial.carry_out(rate("[__import__('time').sleep(60), 0.1][1]"), 1.5)
    assert not trial.ok and "did not end within 1.5 seconds" in trial.trouble


@pytest.mark.parametrize(
    "text, said",
    [("{", "JSON"), ("[]", "final_info"), ('{"flat": {"means": {"final_loss": "low"}}}', "final_loss")],
)
def test_a_malformed_result_is_named(template: Path, text: str, said: str):
    code = (template / "experiment.py").read_text().replace("json.dumps(info)", repr(text))
    (template / "experiment.py").write_text(code)
    with pytest.raises(KitError, match=r"baseline.*does not run") as error:
        bench_for(template).baseline(60)
    assert said in str(error.value) and "final_info.json" in str(error.value)


def test_a_baseline_that_crashes_is_named_with_its_last_lines(template: Path):
    (template / "experiment.py").write_text("raise SystemExit('no data here')")
    with pytest.raises(KitError, match=r"(?s)baseline of 'mini'.*no data here"):
        bench_for(template).baseline(60)


def test_a_changed_evaluation_is_flagged_and_not_compared(template: Path):
    bench = bench_for(template).baseline(60)
    cheat = "experiment.py\n<<<<<<< SEARCH\n    return float(0.5 *\n=======\n    return float(0.1 *\n>>>>>>> REPLACE\n"
    cheat = cheat.replace("0.5 *", "0.5 * curvature * (x**2).mean())").replace(
        "0.1 *", "0.1 * curvature * (x**2).mean())"
    )
    for trial in bench.trials(PLAN.model_copy(update={"arms": PLAN.arms[:1]}), max_iters=1):
        trial.carry_out(Edits.parse(cheat), 60)
    assert bench.runs["run_1"].protected == ["experiment.py:evaluate"]
    assert {c.verdict for c in bench.ledger().comparisons if c.run == "run_1"} == {"not comparable"}


def test_an_unknown_preset_names_those_that_exist(template: Path):
    with pytest.raises(KitError, match="smoke, demo"):
        Bench(Run(workspace.outputs() / "run"), load_template(str(template)), IDEA, "tiny")


def test_an_unknown_template_names_those_that_exist():
    with pytest.raises(KitError, match="Known templates"):
        load_template("difusion_2d")


def test_an_arm_is_compared_with_the_arm_that_the_plan_names(template: Path):
    plan = PLAN.model_copy(deep=True)
    plan.arms[1].start_from = plan.arms[1].compare_with = "large"
    bench = bench_for(template).baseline(60)
    for trial in bench.trials(plan, max_iters=1):
        trial.carry_out(rate("0.3") if trial.arm.name == "large" else rate("0.01", old="0.3"), 60)
    pairs = {(c.run, c.baseline) for c in bench.ledger().comparisons}
    assert pairs == {("run_1", "run_0"), ("run_2", "run_0"), ("run_2", "run_1")}


@pytest.mark.parametrize("change, said", [
    ({"name": "large"}, "two runs are called"), ({"compare_with": "huge"}, "compare_with of 'small' is 'huge'"),
    ({"start_from": "small"}, "before it there are run_0, large"),
])  # fmt: skip
def test_a_plan_names_only_runs_that_it_has(change: dict, said: str):
    arms = [PLAN.arms[0].model_dump(), PLAN.arms[1].model_dump() | change]
    with pytest.raises(ValueError, match=said):
        Plan(question="?", arms=arms)
