"""The scripted scientist's first half: ideas, plans and edits for any template that follows the contract."""

import ast
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import editor
from kit.archive import Archive, Record
from kit.offline import experiments, ideas
from kit.offline.settings import edit_setting, find_settings
from kit.offline.worked import worked_ideas
from kit.outcomes import Outcome, Outcomes
from kit.results import Ledger
from kit.schemas import Arm, Comparison, Finding, Idea, KitError, Paper, Plan, Probed
from kit.template import Metric, Template, load_template

ARGPARSE = """
import argparse
import numpy as np

def train(args):
    rng = np.random.default_rng(args.seed)
    w = np.zeros(args.width)
    for _ in range(args.num_steps):
        w -= args.learning_rate * (w + rng.normal(size=args.width))
    return w * (rng.uniform(size=args.width) > args.dropout)

parser = argparse.ArgumentParser()
parser.add_argument("--out_dir", default="run_0")
parser.add_argument("--learning-rate", "--learning_rate", type=float, default=0.1)
parser.add_argument("--dropout", type=float, default=0.4)
parser.add_argument("--width", type=int, default=1)
parser.add_argument("--num_steps", type=int, default=10)
parser.add_argument("--eval-noise", type=float, default=0.1)
parser.add_argument("--seed", type=int, default=3)
train(parser.parse_args())
"""
DATACLASS = """
from dataclasses import dataclass

noise = 0.5
jitter_noise = 0.5  # evaluate() reads it

@dataclass
class Config:
    learning_rate: float = 5e-3
    other_learning_rate: float = 5e-3
    weight_decay: float = 0.1
    ema_decay: float = 0.995
    hidden_size: int = 96
    seed: int = 1

@dataclass
class EvalConfig:
    learning_rate: float = 7.0

PRESETS = {"demo": Config(), "full": Config(weight_decay=0.2)}

def evaluate(points):
    return points + jitter_noise
"""
WORKED = """+++
Name = "longer_memory"
Title = "Longer Memory"
Experiment = "Change the memory."
Hypothesis = "A longer memory helps."
Metric = "loss"
Interestingness = 5
Feasibility = 9
Novelty = 3
keywords = ["averaging", "weights"]
+++

Words that belong to no arm.

## long: A longer memory
start_from: run_0
role: variant
Prediction: The loss falls,
and nothing else does.
Why: It averages more.

experiment.py
<<<<<<< SEARCH
    ema_decay: float = 0.995
=======
    # a heading in a comment is no arm
## not_an_arm: really
    ema_decay: float = 0.999
>>>>>>> REPLACE

## short: A shorter memory
Prediction: The loss rises.
Why: It averages less.
```
experiment.py
<<<<<<< SEARCH
    ema_decay: float = 0.995
=======
    ema_decay: float = 0.9
>>>>>>> REPLACE
```

## none_at_all: No memory
role: ablation
Prediction: The loss rises more.
Why: Nothing is averaged.

experiment.py
<<<<<<< SEARCH
    ema_decay: float = 0.995
=======
    ema_decay: float = 0.0
>>>>>>> REPLACE
"""
LOSS = {"loss": Metric(direction="min", label="Loss", headline=True), "seconds": Metric(timing=True)}


def make(folder: Path, code: str, **about) -> Template:
    """A template in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.py").write_text(code, encoding="utf-8")
    return Template(
        name="tiny", path=folder, **{"metrics": LOSS, "task_description": "Noisy descent of a bowl.", **about}
    )


@pytest.fixture(params=["argparse", "dataclass", "mini", "diffusion_2d"])
def template(request, tmp_path: Path) -> Template:
    codes = {"argparse": ARGPARSE, "dataclass": DATACLASS}
    if request.param in codes:
        return make(tmp_path, codes[request.param])
    return load_template("tests/mini" if request.param == "mini" else request.param)


def propose_all(template: Template, seed: int = 0) -> list[Idea]:
    """Every idea that there is."""
    archive = Archive()
    for number in range(1, 40):
        values = {"template": template, "archive": archive, "number": number, "outcomes": Outcomes()}
        try:
            idea = ideas.propose(values, random.Random(f"{seed}/{number}"))
        except KitError as error:
            assert "Ask for fewer ideas" in str(error)
            return [record.idea for record in archive.records]
        assert archive.get(idea.Name) is None
        archive.put(Record(idea=idea))
    raise AssertionError("the ideas never end")


def plan(template: Template, idea: Idea, max_runs: int = 5) -> Plan:
    values = {"template": template, "idea": idea, "ledger": None, "max_runs": max_runs}
    return experiments.plan(values, random.Random(0))


def edit(template: Template, idea: Idea, arm: Arm, code: str, trouble: str = "") -> str:
    trial = SimpleNamespace(arm=arm, code=code, trouble=trouble, file="experiment.py")
    return experiments.edit({"template": template, "idea": idea, "trials": [trial]}, random.Random(0))


def carry_out(reply: str, code: str) -> str:
    """Apply a reply as the bench does, more strictly: each SEARCH text occurs exactly once."""
    for block in editor.Edits.parse(reply).edits:
        assert block.path == "experiment.py" and code.count(block.search) == 1
        code = editor.apply([block], {"experiment.py": code})["experiment.py"]
    return code


def names(code: str, folder: Path, **about) -> list[str]:
    return [setting.name for setting in find_settings(make(folder, code, **about))]


# --- ideas --------------------------------------------------------------------------------------


def test_ideas_differ_until_there_are_none(template: Template):
    found = propose_all(template)
    assert len(found) >= 2
    assert len({idea.Title for idea in found}) == len({idea.Name for idea in found}) == len(found)
    assert all(idea.Metric in template.metrics for idea in found)


def test_the_same_seed_gives_the_same_ideas(template: Template):
    assert propose_all(template, seed=1) == propose_all(template, seed=1)


def test_a_template_without_settings_says_so(tmp_path: Path):
    values = {"template": make(tmp_path, "print('hello')\n"), "archive": Archive(), "number": 1, "outcomes": Outcomes()}
    with pytest.raises(KitError, match="no further idea for 'tiny'"):
        ideas.propose(values, random.Random(0))


def test_worked_ideas_come_first(tmp_path: Path):
    template = make(tmp_path, DATACLASS, worked=[WORKED])
    found = propose_all(template)
    assert found[0].Name == "longer_memory" and len(found) > 2


def test_a_look_changes_an_idea_or_ends(template: Template):
    for idea in propose_all(template):
        for _ in range(2):
            values = {"template": template, "idea": idea, "wish": "", "twin": None}
            reflection = ideas.reflect(values, random.Random(0))
            assert reflection.idea.Name == idea.Name and reflection.done == (reflection.idea == idea)
            idea = reflection.idea
        assert reflection.done


def test_a_sentence_is_adopted_as_something_that_can_be_carried_out(template: Template):
    for known in propose_all(template):
        about = known.Name.removeprefix("sensitivity_to_").replace("_", " ")
        values = {"template": template, "wish": f"What would {about} bring?"}
        idea = ideas.adopt(values, random.Random(0))
        assert idea.Name == known.Name and plan(template, idea).arms
        assert values["wish"] in idea.Experiment and "script" in idea.Experiment


def test_a_number_behind_the_name_hinders_nobody(template: Template):
    for idea in propose_all(template):
        again = idea.model_copy(update={"Name": f"{idea.Name}_2"})
        arms = plan(template, again).arms
        assert arms == plan(template, idea).arms
        assert edit(template, again, arms[0], template.code) == edit(template, idea, arms[0], template.code)


def test_a_sentence_about_something_else_is_refused_with_what_there_is(tmp_path: Path):
    values = {"template": make(tmp_path, DATACLASS, worked=[WORKED]), "wish": "Do llamas sing?"}
    with pytest.raises(KitError, match=r"llamas.*longer memory.*learning rate.*real model"):
        ideas.adopt(values, random.Random(0))


def test_what_earlier_runs_did_is_not_proposed_again(template: Template):
    first, *others = propose_all(template)
    done = Outcomes(found=[Outcome(run="earlier", idea=first, verdicts={})])
    values = {"template": template, "archive": Archive(), "number": 1, "outcomes": done}
    assert ideas.propose(values, random.Random(0)).Name in {idea.Name for idea in others}


def test_other_questions_come_before_twins():
    template = load_template("diffusion_2d")
    names = [idea.Name for idea in propose_all(template)]
    assert names[-1] == "sensitivity_to_beta_end", "it asks what sensitivity_to_beta_start asks"


def test_searches_differ_and_end(template: Template):
    for idea in propose_all(template):
        asked: list[str] = []
        for _ in range(6):
            findings = [Finding(query=query) for query in asked]
            reply = ideas.query({"template": template, "idea": idea, "findings": findings}, random.Random(0))
            if reply.done:
                break
            asked.append(reply.query)
        assert reply.done and 2 <= len(asked) <= 3
        assert len(set(asked)) == len(asked) and all(query.strip() for query in asked)


def test_no_search_is_empty(tmp_path: Path):
    template = make(tmp_path, ARGPARSE, task_description="")
    idea = propose_all(template)[0]
    for done in range(4):
        findings = [Finding(query=str(number)) for number in range(done)]
        reply = ideas.query({"template": template, "idea": idea, "findings": findings}, random.Random(0))
        assert reply.done or reply.query.strip()


@pytest.mark.parametrize(
    ("title", "verdict"),
    [
        ("Averaging the Weights of Small Diffusion Models", "not novel"),
        ("Averaging weights of small diffusion models", "not novel"),
        ("Diffusion", "novel"),  # one common word is a topic, not a question
        ("Diffusion models", "novel"),
        ("Image synthesis with latent diffusion models", "novel"),
    ],
)
def test_only_nearly_the_same_title_is_known(title: str, verdict: str):
    idea = Idea(
        Name="averaging",
        Title="Averaging the Weights of Small Diffusion Models",
        Experiment="x",
        Interestingness=5,
        Feasibility=5,
        Novelty=5,
    )
    others = [Paper(key=f"other{n}", title=f"Nothing of the Kind {n}") for n in range(4)]
    values = {"idea": idea, "papers": [*others, Paper(key="close", title=title)]}
    novelty = ideas.judge_novelty(values, random.Random(0))
    assert novelty.verdict == verdict
    assert novelty.papers[0] == "close" and len(novelty.papers) == (1 if verdict == "not novel" else 3)
    assert "script" in novelty.reason and "not read" in novelty.reason
    assert ideas.judge_novelty(values | {"papers": []}, random.Random(0)).verdict == "unchecked"


# --- plans and edits ----------------------------------------------------------------------------


def test_every_arm_of_every_idea_can_be_carried_out(template: Template):
    for idea in propose_all(template):
        arms = plan(template, idea).arms
        assert len({arm.name for arm in arms}) == len(arms)
        for arm in arms:
            assert arm.prediction and arm.change
            assert len(arm.title) <= 40 or worked_ideas(template), "a worked title is its author's"
            after = carry_out(edit(template, idea, arm, template.code), template.code)
            assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(template.code))


def test_what_measures_stays(template: Template):
    from kit.results import protected_changes

    for idea in propose_all(template):
        for arm in plan(template, idea).arms:
            after = carry_out(edit(template, idea, arm, template.code), template.code)
            assert protected_changes(template, template.code, after) == []


@pytest.mark.parametrize("max_runs", [1, 2, 3])
def test_a_plan_keeps_to_its_limit(template: Template, max_runs: int):
    for idea in propose_all(template):
        assert 1 <= len(plan(template, idea, max_runs).arms) <= max_runs


def test_a_short_plan_keeps_what_could_show_it_wrong(tmp_path: Path):
    template = make(tmp_path, DATACLASS, worked=[WORKED])
    arms = plan(template, propose_all(template)[0], max_runs=2).arms
    assert [arm.name for arm in arms] == ["long", "none_at_all"]


def test_a_whole_number_that_cannot_be_halved_is_only_doubled(tmp_path: Path):
    template = make(tmp_path, ARGPARSE)
    (idea,) = [idea for idea in propose_all(template) if "width" in idea.Name]
    (arm,) = plan(template, idea).arms
    assert '--width", type=int, default=2)' in carry_out(edit(template, idea, arm, ARGPARSE), ARGPARSE)


def test_an_edit_in_trouble_is_milder_then_repeats(tmp_path: Path):
    template = make(tmp_path, DATACLASS)
    (idea,) = [idea for idea in propose_all(template) if idea.Name.endswith("hidden_size")]
    arm = plan(template, idea).arms[-1]
    code = carry_out(edit(template, idea, arm, template.code), template.code)
    assert "hidden_size: int = 192" in code
    milder = carry_out(edit(template, idea, arm, code, "out of memory"), code)
    assert "hidden_size: int = 144" in milder
    for _ in range(12):  # at last nothing lies between; the reply keeps its form, so that the bench can give up
        blocks = editor.Edits.parse(edit(template, idea, arm, milder, "out of memory")).edits
        try:
            milder = editor.apply(blocks, {"experiment.py": milder})["experiment.py"]
        except editor.EditError:
            break
    else:
        raise AssertionError("an edit in trouble goes on for ever")
    assert "hidden_size: int = 97" in milder


def test_an_edit_that_did_not_apply_is_made_in_full(tmp_path: Path):
    template = make(tmp_path, DATACLASS)
    idea = propose_all(template)[0]
    arm = plan(template, idea).arms[0]
    first = edit(template, idea, arm, template.code)
    assert edit(template, idea, arm, template.code, "The SEARCH text is not in experiment.py") == first


def test_an_idea_from_elsewhere_is_refused_with_a_cure(tmp_path: Path):
    template = make(tmp_path, DATACLASS)
    idea = Idea(Name="from_a_person", Title="Mine", Experiment="?", Interestingness=1, Feasibility=1, Novelty=1)
    with pytest.raises(KitError, match="real model"):
        plan(template, idea)
    strange = Arm(name="of_another_plan", title="?", change="?", prediction="?")
    with pytest.raises(KitError, match="of_another_plan"):
        edit(template, propose_all(template)[0], strange, template.code)


# --- settings -----------------------------------------------------------------------------------


def test_settings_that_would_have_no_effect_or_measure_are_left_alone(tmp_path: Path):
    found = names(DATACLASS, tmp_path, protected=["experiment.py:noise", "experiment.py:evaluate"])
    assert "weight_decay" not in found, "a preset gives it another value"
    assert "noise" not in found, "the constant is protected"
    assert "jitter_noise" not in found, "what measures reads it"
    assert found.count("learning_rate") == 1, "the evaluation has one of its own"
    assert {"other_learning_rate", "hidden_size", "ema_decay"} <= set(found)


def test_options_have_the_name_that_the_program_reads(tmp_path: Path):
    assert names(ARGPARSE, tmp_path) == ["learning_rate", "dropout", "width"]


def test_settings_are_called_what_they_are(tmp_path: Path):
    code = "beta_start = 1e-4\nadam_beta1 = 0.9\nema_decay = 0.99\nweight_decay = 0.1\n"
    code += "generate = 4\nremaining = 3\n"
    about = {s.name: s.about for s in find_settings(make(tmp_path, code))}
    assert "noise" in about["beta_start"] and "averag" in about["ema_decay"] and "averag" in about["adam_beta1"]
    assert about["weight_decay"] == "weight decay" and len(about) == 4


@pytest.mark.parametrize(
    ("value", "half", "double"),
    [
        (0.005, 0.0025, 0.01),
        (0.9, 0.8, 0.95),
        (0.995, 0.99, 0.9975),
        (0.5, 0.25, 0.75),
        (96, 48, 192),
        (3, 2, 6),
        (0.3, 0.15, 0.6),
        (8.0, 4.0, 16.0),
        (1, 1, 2),
    ],
)
def test_values_are_scaled_with_sense(value: float, half: float, double: float, tmp_path: Path):
    (setting,) = find_settings(make(tmp_path, f"momentum = {value!r}\n"))
    assert (setting.times(0.5), setting.times(2.0)) == (half, double)
    assert type(setting.times(2.0)) is type(value)


OURS = [
    "learning_rate",
    "lr",
    "dropout",
    "momentum",
    "weight_decay",
    "ema_decay",
    "hidden_size",
    "noise",
    "temperature",
]
THEIRS = [
    "seed",
    "eval",
    "evaluation",
    "val",
    "test",
    "steps",
    "num_steps",
    "epochs",
    "max_iters",
    "n_iter",
    "path",
    "out_dir",
    "log",
    "device",
    "dataset",
    "samples",
    "num_samples",
    "checkpoint",
    "workers",
    "updates",
]
FORMS = [
    "{name} = {value}\n",
    "class Config:\n    {name}: float = {value}\n",
    "import argparse\nargparse.ArgumentParser().add_argument('--{name}', default={value})\n",
    "import argparse\nargparse.ArgumentParser().add_argument('-x', '--{dashed}', default={value})\n",
]
numbers = st.one_of(st.integers(0, 10_000), st.floats(1e-6, 1e4), st.floats(0.01, 0.99)).map(repr)
ours = st.sampled_from(OURS)
theirs = st.one_of(
    st.sampled_from(THEIRS),
    st.tuples(st.sampled_from(THEIRS), ours).map("_".join),
    st.tuples(ours, st.sampled_from(THEIRS)).map("_".join),
)
upper = st.booleans()
lines = st.lists(st.tuples(st.sampled_from(FORMS), st.one_of(ours, theirs), upper, numbers), max_size=8)


@given(drawn=lines)
def test_seeds_budgets_paths_and_evaluation_are_never_touched(drawn, tmp_path_factory):
    code = "import os\n"
    for form, name, is_upper, value in drawn:
        name = name.upper() if is_upper else name
        code += form.format(name=name, dashed=name.replace("_", "-"), value=value)
    template = make(tmp_path_factory.getbasetemp() / "drawn", code)
    for setting in find_settings(template):
        assert setting.name.lower() in OURS
        before = ast.parse(code)
        for factor in (0.5, 2.0):
            new = setting.times(factor)
            if new == setting.value:
                continue
            after = carry_out(edit_setting(code, setting, new), code)
            changed = [
                (a, b)
                for a, b in zip(ast.walk(before), ast.walk(ast.parse(after)), strict=True)
                if isinstance(a, ast.Constant) and a.value != b.value
            ]
            assert [(a.value, b.value) for a, b in changed] == [(setting.value, new)]


@given(drawn=lines)
def test_whatever_is_proposed_can_be_planned_and_made(drawn, tmp_path_factory):
    code = "".join(form.format(name=name, dashed=name.replace("_", "-"), value=value) for form, name, _, value in drawn)
    template = make(tmp_path_factory.getbasetemp() / "made", code)
    for idea in propose_all(template):
        for arm in plan(template, idea).arms:
            assert carry_out(edit(template, idea, arm, code), code) != code


# --- worked ideas -------------------------------------------------------------------------------


def test_a_worked_idea_is_read_whole(tmp_path: Path):
    worked = worked_ideas(make(tmp_path, DATACLASS, worked=[WORKED]))["longer_memory"]
    assert [(arm.name, arm.role, arm.start_from) for arm in worked.arms] == [
        ("long", "variant", "run_0"),
        ("short", "variant", "run_0"),
        ("none_at_all", "ablation", "run_0"),
    ]
    assert worked.arms[0].prediction == "The loss falls, and nothing else does."
    assert worked.keywords == ["averaging", "weights"]
    for arm in worked.arms:
        assert "ema_decay: float = 0.995" not in carry_out(worked.edits[arm.name], DATACLASS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.removeprefix("+++\n"),
        lambda text: text.replace('"Longer Memory"', "Longer Memory"),
        lambda text: text.replace("Novelty = 3", ""),
        lambda text: text.replace("role: ablation", "role: villain"),
        lambda text: text.partition("## long")[0],
        lambda text: re.sub(r"(?s)<<<<<<<.*?REPLACE", "", text, count=1),
    ],
)
def test_a_worked_idea_that_cannot_be_read_is_named(spoil, tmp_path: Path):
    with pytest.raises(KitError, match="worked idea"):
        worked_ideas(make(tmp_path, DATACLASS, worked=[spoil(WORKED)]))


# --- notes and captions -------------------------------------------------------------------------


def ledger_of(*verdicts: str, metric: str = "loss") -> Ledger:
    made = [
        Comparison(
            dataset=f"set_{chr(97 + n)}",
            metric=metric,
            run="run_1",
            baseline="run_0",
            difference=0.25,
            low=0.125,
            high=0.375,
            method="paired t",
            verdict=verdict,
        )
        for n, verdict in enumerate(verdicts)
    ]
    return Ledger(runs={"run_0": "Baseline", "run_1": "Twice the width"}, metrics=LOSS, comparisons=made)


def note(ledger: Ledger, tmp_path: Path, remaining: tuple[str, ...] = ("other",)) -> str:
    template = make(tmp_path, DATACLASS)
    idea = propose_all(template)[0]
    values = {
        "template": template,
        "idea": idea,
        "arm": plan(template, idea).arms[0],
        "number": 1,
        "run": "run_1",
        "ledger": ledger,
        "remaining": list(remaining),
    }
    return experiments.note(values, random.Random(0)).text


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["better"] * 3 + ["worse"] * 5, ["eight", "three", "five"]),
        (["inconclusive"] * 4, ["four", "chance"]),
        (["better"] * 21, ["twenty-one"]),
        (["not comparable"], ["comparable"]),
        ([], ["compar"]),
        (["worse"], ["one"]),
    ],
)
def test_a_note_counts_verdicts_in_words(verdicts: list[str], said: list[str], tmp_path: Path):
    text = note(ledger_of(*verdicts), tmp_path)
    assert all(word in text for word in said) and not re.search(r"\d", text)
    assert "no came" not in text and ("inconclusive" in verdicts or "chance" not in text)


def test_a_caption_for_every_figure(tmp_path: Path):
    figures = ["loss_set_a.png", "samples.png", "odd_thing.png", "probe_1_gap.png"]
    question = "Where along the training does the gap between the two runs open?"
    probe = Probed(name="probe_1", question=question, ok=True, figures=["probe_1_gap.png"])
    values = {"drawing": SimpleNamespace(code="", figures=figures), "labels": {"run_0": "Baseline"}, "probes": [probe]}
    captions = experiments.caption(values, random.Random(0)).figures
    assert [caption.file for caption in captions] == figures and question in captions[-1].caption
    assert all(len(c.caption) > 30 and not re.search(r"(?<!run_)\d", c.caption) for c in captions)


def test_a_program_that_names_no_number_is_varied_where_it_calls(tmp_path: Path):
    code = "import os\nfrom scipy.integrate import odeint\nos.makedirs('a', exist_ok=True)\n"
    code += "solution = odeint(f, y, t=t, args=(0.001, 14), rtol=1e-6)\n"
    found = find_settings(make(tmp_path, code))
    assert [(s.name, s.value) for s in found] == [
        ("odeint_args_1", 0.001), ("odeint_args_2", 14), ("odeint_rtol", 1e-6)
    ]  # fmt: skip
    assert "args=(0.002, 14)" in edit_setting(code, found[0], 0.002)
