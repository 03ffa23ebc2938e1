"""The bench: real edits, real runs; every failure is named and nothing is lost."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import prompts, workspace
from kit.bench import Bench, Trial, Unwatched, task
from kit.bench.probes import MOST
from kit.editor import Edits
from kit.schemas import Arm, FormatError, Idea, KitError, Margin, NewMetric, Note, Plan, Probe
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


def trials(bench: Bench, plan: Plan, max_iters: int) -> Iterator[Trial]:
    """The trials of a plan, one by one."""
    bench.adopt(plan, 60)
    for wave in bench.waves(max_iters):
        yield from (trial for trial in wave if not trial.waits)


def rate(new: str, old: str = "0.05") -> Edits:
    block = f"experiment.py\n<<<<<<< SEARCH\nlearning_rate = {old}\n=======\nlearning_rate = {new}\n>>>>>>> REPLACE\n"
    return Edits.parse(block)


def both(large: str, small: str) -> Edits:
    """Edits of both programs in one reply."""
    edits = [(f"run_{n}/experiment.py", rate(new).edits[0]) for n, new in enumerate((large, small), 1)]
    return Edits(edits=[edit.model_copy(update={"path": path}) for path, edit in edits])


def test_arms_are_run_compared_and_noted(template: Path):
    bench = bench_for(template).baseline(60)
    for trial in trials(bench, PLAN, max_iters=2):
        trial.carry_out(rate("0.3" if trial.arm.name == "large" else "0.01"), 60)
        bench.write_note(trial, Note(text="It ran.", settled=False))
    verdicts = {(c.run, c.dataset): c.verdict for c in bench.ledger().comparisons}
    assert verdicts["run_2", "flat"] == "worse" and verdicts["run_1", "flat"] == "better"
    assert (bench.folder / "run_1" / "experiment.py").read_text().count("learning_rate = 0.3") == 1
    assert "learning_rate = 0.05" in (bench.folder / "run_0" / "experiment.py").read_text()
    assert (bench.folder / "notes.md").read_text().count("It ran.") == 2
    assert bench.draw(60).figures == ["loss_flat.png", "loss_steep.png"]
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
    for trial in trials(bench, PLAN.model_copy(update={"arms": PLAN.arms[:1]}), max_iters=4):
        troubles.append(trial.trouble)
        trial.carry_out(replies.pop(0), 60)
    assert troubles[0] == "" and "learning_rate" in troubles[1] and "NameError" in troubles[2]
    assert bench.runs["run_1"].ok and not replies


def test_an_idea_without_a_run_that_succeeds_ends_by_name(template: Path):
    bench = bench_for(template).baseline(60)
    with pytest.raises(KitError, match=r"No run of 'steps' succeeded.*notes\.md"):
        for trial in trials(bench, PLAN, max_iters=2):
            trial.carry_out(rate("undefined_name" if trial.attempt == 0 else "also_undefined", old=(
                "0.05" if trial.attempt == 0 else "undefined_name")), 60)  # fmt: skip
    assert "NameError" in (bench.folder / "notes.md").read_text()


def test_a_run_that_hangs_is_stopped_and_said(template: Path):
    bench = bench_for(template).baseline(60)
    (trial, *_) = [next(trials(bench, PLAN, max_iters=1))]
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


def test_data_are_read_where_they_lie(template: Path):
    corpus = template / "corpora" / "large" / "words.txt"
    corpus.parent.mkdir(parents=True)
    corpus.write_text("words")
    (template / "corpora" / "about.txt").write_text("small")
    about = (template / "template.toml").read_text()
    (template / "template.toml").write_text(f'data = ["corpora/large"]\n{about}')
    code = (template / "experiment.py").read_text()
    reading = 'assert Path("corpora/large/words.txt").read_text() == "words"\nassert Path("corpora/about.txt").exists()'
    (template / "experiment.py").write_text(f"{code}    {reading.replace(chr(10), chr(10) + '    ')}\n")
    bench = bench_for(template).baseline(60)
    link = bench.folder / "corpora" / "large"
    assert bench.runs["run_0"].ok and link.is_symlink() and not (bench.folder / "corpora" / "about.txt").is_symlink()
    moved = template.rename(template.with_name("moved"))
    assert bench_for(moved).folder == bench.folder and (link / "words.txt").read_text() == "words"
    corpus = moved / corpus.relative_to(template)
    before = load_template(str(moved)).digest()
    corpus.write_text("other words")
    assert load_template(str(moved)).digest() != before


def test_a_changed_evaluation_is_flagged_and_not_compared(template: Path):
    bench = bench_for(template).baseline(60)
    cheat = "experiment.py\n<<<<<<< SEARCH\n    return float(0.5 *\n=======\n    return float(0.1 *\n>>>>>>> REPLACE\n"
    cheat = cheat.replace("0.5 *", "0.5 * curvature * (x**2).mean())").replace(
        "0.1 *", "0.1 * curvature * (x**2).mean())"
    )
    for trial in trials(bench, PLAN.model_copy(update={"arms": PLAN.arms[:1]}), max_iters=1):
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
    for trial in trials(bench, plan, max_iters=1):
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


# --- pilots, seeds, waves -----------------------------------------------------------------------


def test_a_pilot_is_small_and_enters_nothing_but_the_next_plan(template: Path):
    bench = Bench(Run(workspace.outputs() / "run"), load_template(str(template)), IDEA, "demo").baseline(60)
    pilot = Arm(name="huge", title="Huge steps", change="learning_rate 0.9", prediction="Whether it diverges.")
    for trial in bench.pilot(PLAN.model_copy(update={"pilots": [pilot]}), 2, 60):
        trial.carry_out(rate("0.9"), 60)
    ((asked, said),) = bench.pilots.items()
    assert "learning_rate 0.9" in asked and "baseline, flat: final_loss" in said and "pilot_1, steep" in said
    assert (
        len(json.loads((bench.folder / "pilot_1" / "final_info.json").read_text())["flat"]["seeds"]["final_loss"]) == 3
    )
    assert list(bench.ledger().runs) == ["run_0"] and bench.adopt(PLAN, 60).pilots == []


def test_a_pilot_may_be_as_large_as_a_run(template: Path):
    bench = bench_for(template).baseline(60)
    pilot = Arm(name="huge", title="Huge steps", change="learning_rate 0.9", prediction="Whether it diverges.")
    plan = PLAN.model_copy(update={"pilots": [pilot]})
    for trial in bench.pilot(plan, 2, 60, "demo"):
        trial.carry_out(rate("0.9"), 60)
    seeds = json.loads((bench.folder / "pilot_1" / "final_info.json").read_text())["flat"]["seeds"]
    assert len(seeds["final_loss"]) == 5 and bench.size.preset == "smoke"
    with pytest.raises(KitError, match=r"no preset 'huge'\. Presets: smoke, demo"):
        next(bench.pilot(plan, 2, 60, "huge"))


def test_a_pilot_starts_from_the_baseline():
    pilots = [Arm(name="bold", title="A", change="x", prediction="y", start_from="large")]
    with pytest.raises(ValueError, match="start_from of 'bold' is 'large'"):
        Plan(question="?", arms=PLAN.arms, pilots=pilots)


def test_a_plan_with_seeds_of_its_own_gives_them_to_the_baseline_too(template: Path):
    bench = bench_for(template).baseline(60)
    before = bench.ledger().value("run_0/num_seeds").value
    for trial in trials(bench, PLAN.model_copy(update={"seeds": 6}), 1):
        trial.carry_out(rate("0.3" if trial.arm.name == "large" else "0.01"), 60)
    after = bench.ledger()
    assert (before, after.value("run_0/num_seeds").value, after.value("run_1/num_seeds").value) == (3, 6, 6)
    assert {c.n for c in after.comparisons} == {6}
    again = bench_for(template).baseline(60)  # the notebook run again: the plan was made with three seeds in view
    assert again.ledger().value("run_0/num_seeds").value == 3


@pytest.mark.parametrize(
    "change, said",
    [
        ({"seeds": 11}, "at most 10"),
        ({"arms": PLAN.arms * 3}, "at most 5"),
        ({"margins": [Margin(metric="los", size=5)]}, "names 'los'; the metrics are .*loss"),
    ],
)
def test_a_plan_beyond_the_limits_goes_back(template: Path, change: dict, said: str):
    with pytest.raises(FormatError, match=said):
        bench_for(template).baseline(60).allows(5, 10)(PLAN.model_copy(update=change))


def test_a_margin_of_the_plan_reaches_the_ledger(template: Path):
    margins = [Margin(metric="final_loss", size=50)]
    bench = bench_for(template).baseline(60)
    plan = PLAN.model_copy(update={"margins": margins})
    bench.allows(5, 10)(plan)
    assert "final_loss: less than 50 % of the reference would not matter" in bench.adopt(plan, 60)._repr_html_()
    assert bench.ledger().value("plan/margin/final_loss").value == 50
    with pytest.raises(ValueError, match="more than once"):
        Plan(question="?", arms=PLAN.arms, margins=margins * 2)


def test_runs_that_go_out_together_are_as_good_but_for_their_times(template: Path):
    code = (template / "experiment.py").read_text()
    clocked = code.replace(
        '"means": {"final_loss": final.mean()}', '"means": {"final_loss": final.mean(), "seconds": 1.0}'
    )
    (template / "experiment.py").write_text(clocked)
    with (template / "template.toml").open("a") as file:
        file.write('\n[metrics.seconds]\ndirection = "min"\ntiming = true\n')
    bench = bench_for(template).baseline(60)
    bench.adopt(PLAN, 60)
    wave = next(bench.waves(2))
    ran = list(bench.carry_out(wave, both("0.3", "0.01"), 60, at_once=2))
    assert [trial.run for trial in ran] == ["run_1", "run_2"] and wave[0].remaining == ["small"]
    verdicts = {(c.run, c.metric): (c.verdict, c.reason) for c in bench.ledger().comparisons if c.dataset == "flat"}
    assert verdicts["run_1", "final_loss"][0] == "better"
    assert verdicts["run_1", "seconds"] == ("not comparable", "a time that was taken beside other runs")


def test_programs_are_written_next_to_each_other_and_mended_alone(template: Path):
    bench = bench_for(template).baseline(60)
    bench.adopt(PLAN, 60)
    waves = bench.waves(3)
    first = next(waves)
    asked = prompts.render("experiments/edit", {**task(first), "template": bench.template, "idea": IDEA})
    assert asked.count("def descend") == 1 and "run_1/experiment.py, run_2/experiment.py" in asked
    ran = [trial.run for trial in bench.carry_out(first, both("undefined_name", "0.01"), 60)]
    second = next(waves)
    assert ran == ["run_2"] and [trial.run for trial in second] == ["run_1"]
    asked = prompts.render("experiments/edit", {**task(second), "template": bench.template, "idea": IDEA})
    assert "NameError" in asked and "Small steps" not in asked and "learning_rate = undefined_name" in asked
    mended = rate("0.3", old="undefined_name")
    assert [trial.run for trial in bench.carry_out(second, mended, 60)] == ["run_1"] and next(waves, None) is None


def chained(template: Path) -> tuple[Bench, Iterator[list[Trial]]]:
    """A bench on which the second arm starts from the first, and its waves."""
    plan = PLAN.model_copy(deep=True)
    plan.arms[1].start_from = "large"
    bench = bench_for(template).baseline(60)
    bench.adopt(plan, 60)
    return bench, bench.waves(3)


def test_an_arm_and_what_starts_from_it_are_written_in_one_reply(template: Path):
    bench, waves = chained(template)
    wave = next(waves)
    asked = prompts.render("experiments/edit", {**task(wave), "template": bench.template, "idea": IDEA})
    assert asked.count("def descend") == 1 and "which starts from `large` as your edits leave it" in asked
    on_top = rate("0.01", old="0.3").edits[0].model_copy(update={"path": "run_2/experiment.py"})
    ran = bench.carry_out(wave, Edits(edits=[both("0.3", "0.01").edits[0], on_top]), 60)
    assert [trial.run for trial in ran] == ["run_1", "run_2"] and next(waves, None) is None
    assert "learning_rate = 0.01" in (bench.folder / "run_2" / "experiment.py").read_text()


def test_what_starts_from_an_arm_that_failed_waits_until_that_is_mended(template: Path):
    bench, waves = chained(template)
    wave = next(waves)
    on_top = rate("0.01", old="undefined_name").edits[0].model_copy(update={"path": "run_2/experiment.py"})
    edits = Edits(edits=[both("undefined_name", "0.01").edits[0], on_top])
    assert list(bench.carry_out(wave, edits, 60)) == [] and wave[1].attempt == 0
    wave = next(waves)
    asked = prompts.render("experiments/edit", {**task(wave), "template": bench.template, "idea": IDEA})
    assert [trial.run for trial in wave] == ["run_1", "run_2"] and "learning_rate = undefined_name" in asked
    mended = rate("0.3", old="undefined_name").edits[0].model_copy(update={"path": "run_1/experiment.py"})
    assert [trial.run for trial in bench.carry_out(wave, Edits(edits=[mended]), 60)] == ["run_1"]
    (last,) = next(waves)
    assert last.run == "run_2" and not last.waits and "learning_rate = 0.3" in last.code


@pytest.mark.parametrize(
    "paths, said",
    [
        (["run_1/experiment.py"], r"No block is for run_2/experiment\.py"),
        (["run_1/experiment.py", "run_3/experiment.py"], r"run_3/experiment\.py may not be edited"),
        (["run_1/experiment.py", "experiment.py"], r"^experiment\.py may not be edited"),
    ],
)
def test_a_reply_that_leaves_open_which_program_it_means_goes_back(template: Path, paths: list[str], said: str):
    bench = bench_for(template).baseline(60)
    bench.adopt(PLAN, 60)
    check = task(next(bench.waves(2)))["check"]
    check(both("0.3", "0.01"))
    with pytest.raises(FormatError, match=said):
        check(Edits(edits=[rate("0.3").edits[0].model_copy(update={"path": path}) for path in paths]))


def test_an_interruption_ends_all_programs_and_stores_none_of_them(template: Path):
    bench = bench_for(template).baseline(60)
    bench.adopt(PLAN, 60)
    sleep = "[__import__('time').sleep(60), {}][1]"
    wave = next(bench.waves(2))

    class Impatient(Unwatched):
        def start(self, run: str, title: str, timeout: float) -> None:
            if run == "run_2":
                raise KeyboardInterrupt

    bench.watch(Impatient())
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(bench.carry_out(wave, both(sleep.format("0.3"), sleep.format("0.01")), 60, at_once=2))
    assert time.monotonic() - started < 20
    assert not list(bench.run.steps.folder.glob("experiments.steps.run.*.json"))


def test_three_edits_that_cannot_be_made_end_the_run_by_name(template: Path):
    bench, asked = bench_for(template).baseline(60), 0
    for trial in trials(bench, PLAN, max_iters=9):
        asked += trial.arm.name == "large"
        trial.carry_out(rate("0.3", old="0.5") if trial.arm.name == "large" else rate("0.01"), 60)
    notes = (bench.folder / "notes.md").read_text()
    assert asked == 3 and "## run_1: Large steps" in notes and "Given up: 3 edits in a row could not be made" in notes
    assert list(bench.ledger().runs) == ["run_0", "run_2"]


def test_an_arm_whose_start_did_not_run_is_not_run_and_says_so(template: Path):
    plan = PLAN.model_copy(deep=True)
    plan.arms[1].start_from = "large"
    plan.arms.append(Arm(name="third", title="Third", change="x", prediction="y"))
    bench, asked = bench_for(template).baseline(60), []
    for trial in trials(bench, plan, max_iters=1):
        asked.append(trial.arm.name)
        trial.carry_out(rate("undefined_name" if trial.arm.name == "large" else "0.3"), 60)
    assert asked == ["large", "third"]
    assert "Not run: it starts from `large`, which did not run." in bench.lab_book["run_2"]


@pytest.mark.parametrize("how, said", [("settled", "had settled the question"), ("time", "seconds for all runs")])
def test_what_is_not_run_any_more_says_why(template: Path, how: str, said: str):
    bench = bench_for(template).baseline(60)
    bench.adopt(PLAN, 60)
    waves = bench.waves(1, total_timeout=0.01 if how == "time" else 0)
    for trial in bench.carry_out(next(waves), both("0.3", "0.01"), 60):
        bench.write_note(trial, Note(text="It ran.", settled=how == "settled"))
    assert next(waves, None) is None
    assert list(bench.ledger().runs) == ["run_0", "run_1"] and said in bench.lab_book["run_2"]


# --- probes and figures -------------------------------------------------------------------------

GAP = """
import json
from pathlib import Path
import numpy as np
curves = {run.name: np.load(run / "flat.npy") for run in Path().glob("run_*")}
gap = curves["run_1"] - curves["run_0"]
Path("probe.json").write_text(json.dumps({"early/gap": gap[:, 5].tolist(), "runs": len(curves)}))
import matplotlib.pyplot as plt
plt.plot(gap.mean(0))
plt.savefig("gap.png")
"""


def ran(template: Path) -> Bench:
    bench = bench_for(template).baseline(60)
    for trial in trials(bench, PLAN, max_iters=1):
        trial.carry_out(rate("0.3" if trial.arm.name == "large" else "0.01"), 60)
    return bench


def test_plots_are_told_the_metrics_that_the_plan_added_and_a_run_reports(template: Path, tmp_path: Path):
    bench = ran(template)
    added = [NewMetric(name=name, label=label, direction="min") for name, label in (("gap", "Gap"), ("lost", "Lost"))]
    bench.plan = bench.plan.model_copy(update={"metrics": added})
    assert json.loads((bench.set_out(tmp_path / "room") / "metrics.json").read_text()) == {}
    info = json.loads((bench.folder / "run_1" / "final_info.json").read_text())
    info["flat"]["means"]["gap"] = 0.5
    (bench.folder / "run_1" / "final_info.json").write_text(json.dumps(info))
    assert json.loads((bench.set_out(tmp_path / "room") / "metrics.json").read_text()) == {"gap": "Gap"}


def test_a_probes_numbers_enter_the_ledger_with_where_they_come_from(template: Path):
    bench = ran(template)
    bench.look_into(1, Probe(question="Is it there early?", code=GAP, done=False), 60)
    early = bench.ledger().value("probe_1/early/gap")
    assert len(early.seeds) == 3 and early.statistic == "probe" and early.file == "probes/probe_1/probe.json"
    assert early.pointer == "/early~1gap" and bench.ledger().value("probe_1/early/gap/stderr").value > 0
    assert bench.ledger().value("probe_1/runs").value == 3
    stored = json.loads((bench.folder / early.file).read_text())
    assert stored["early/gap"] == early.seeds
    assert (bench.folder / "figures" / "probe_1_gap.png").is_file()
    assert bench.draw(60).figures == ["loss_flat.png", "loss_steep.png", "probe_1_gap.png"]


@pytest.mark.parametrize(
    "code, said",
    [("raise SystemExit('no luck')", "no luck"), ("pass", "wrote no probe.json"),
     ("open('probe.json','w').write('{\"a\": NaN}')", "a is nan"),
     ("open('probe.json','w').write('{\"a b\": 1}')", "no name for a number"),
     ("open('run_0/final_info.json','w').write('{}'); open('probe.json','w').write('[]')", "holds no object")],
)  # fmt: skip
def test_a_probe_that_goes_wrong_says_so_and_spoils_nothing(template: Path, code: str, said: str):
    bench = ran(template)
    before = bench.ledger()
    bench.look_into(1, Probe(question="?", code=code, done=False), 60)
    assert not bench.probes[0].ok and said in bench.probes[0].trouble
    assert bench.ledger() == before


def test_a_probe_that_measured_too_much_and_said_a_lot_is_told_which_of_it_was_wrong(template: Path):
    bench = ran(template)
    code = "import json; json.dump({f'x{n}': n for n in range(99)}, open('probe.json', 'w')); print('word ' * 5000)"
    bench.look_into(1, Probe(question="?", code=code, done=False), 60)
    again = prompts.render("experiments/probe", {
        "template": bench.template, "plan": bench.plan, "notes": "", "ledger": bench.ledger(), "changes": {},
        "files": [], "number": 2, "probes": bench.probes, "max_probes": 2, "seconds": 1, "probe_timeout": 60,
    })  # fmt: skip
    assert "probe.json holds 99 entries; 1 to 60 are read" in again and again.count("word") < 600


def test_the_prompt_says_how_many_numbers_a_probe_may_have():
    assert f"at most {MOST} entries" in (prompts.FOLDER / "experiments" / "probe.md").read_text()


def test_the_next_prompts_are_told_of_every_probe(template: Path):
    bench = ran(template)
    bench.look_into(1, Probe(question="Does it run?", code="raise SystemExit('no luck')", done=False), 60)
    bench.look_into(2, Probe(question="Is it there early?", code=GAP, done=True), 60)
    again = prompts.render("experiments/probe", {
        "template": bench.template, "plan": bench.plan, "notes": bench.lab_book, "ledger": bench.ledger(),
        "changes": bench.changes(), "files": bench.files(), "probes": bench.probes, "number": 3, "max_probes": 3,
        "seconds": 1, "probe_timeout": 60,
    })  # fmt: skip
    assert "no luck" in again and "raise SystemExit" in again and "It drew probe_2_gap.png" in again
    assert "flat.npy" in again and "+learning_rate = 0.3" in again
    values = {"drawing": bench.draw(60), "labels": bench.labels(), "probes": bench.probes, "ledger": bench.ledger()}
    asked = prompts.render("experiments/caption", values)
    assert "probe_2, which drew probe_2_gap.png: Is it there early?" in asked and "gap.mean(0)" in asked
    assert "Does it run?" not in asked
    plan = prompts.render("experiments/conclude", {"plan": bench.plan, "notes": "", "ledger": bench.ledger(),
                                                   "probes": bench.probes})  # fmt: skip
    assert "probe_2 asked: Is it there early?" in plan and "Does it run?" not in plan


def test_a_probe_that_is_no_python_goes_back():
    with pytest.raises(ValueError, match="`code` is no Python"):
        Probe(question="?", code="for for", done=False)


def replot(old: str, new: str) -> Edits:
    return Edits.parse(f"plot.py\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n")


def test_figures_are_drawn_again_and_a_failure_leaves_the_former_ones(template: Path):
    drawing = ran(template).draw(60)
    former = drawing.pictures[0].read_bytes()
    drawing.redraw(replot("    ax.legend()", "    ax.legend(undefined)"))
    assert "undefined" in drawing.trouble and drawing.pictures[0].read_bytes() == former
    drawing.redraw(replot("    ax.legend()", "    ax.set_title(dataset)"))
    assert not drawing.trouble and drawing.pictures[0].read_bytes() != former
    drawing.redraw(replot("no such line", "x"))
    assert "SEARCH" in drawing.trouble and "set_title" in (drawing.bench.folder / "plot.py").read_text()
    assert drawing.bench.draw(60).pictures[0].read_bytes() == former, "run again, the same is looked at as before"


def test_blank_and_double_figures_are_seen_and_such_as_fit_no_page(template: Path):
    code = (template / "plot.py").read_text()
    more = 'fig.savefig("zz.png", dpi=120)\nplt.figure().savefig("blank.png")\n'
    (template / "plot.py").write_text(code + more + 'fig.set_size_inches(3, 6)\nfig.savefig("zzz.png")\n')
    drawing = ran(template).draw(60)
    blank, twin, tall = drawing.faults()
    assert (blank, twin) == ("blank.png is blank.", "zz.png is the same picture as loss_steep.png.")
    assert tall == "zzz.png is 2.0 times as high as wide: in the paper it is higher than a page."


def test_a_plot_that_never_draws_is_named(template: Path):
    (template / "plot.py").write_text("raise SystemExit('no curves')")
    drawing = ran(template).draw(60)
    with pytest.raises(KitError, match=r"(?s)plot.py of 'steps' did not draw.*no curves"):
        _ = drawing.figures
    drawing.redraw(
        replot("raise SystemExit('no curves')", "import matplotlib.pyplot as p\np.plot([1])\np.savefig('a.png')")
    )
    assert drawing.figures == ["a.png"]
