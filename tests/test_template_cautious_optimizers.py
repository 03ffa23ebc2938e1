"""cautious_optimizers: its optimizers are those of the papers, its language has the entropy that it says it has."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks.cautious_speed import PlainModel, train_plain
from benchmarks.diffusion_speed import load_program
from numpy.testing import assert_allclose
from worked_code import worked_code

from kit.offline.worked import worked_ideas
from kit.results import protected_changes
from kit.template import load_template

TEMPLATE = load_template("cautious_optimizers")
PROGRAM = load_program(TEMPLATE.path / "experiment.py", "cautious_optimizers_as_it_is")
SIZES = PROGRAM.Sizes(seeds=2, words=60, context=16, windows=300, held_out=50, evaluations=4, starts=20)
SHORT = replace(PROGRAM.PRESETS["smoke"], num_steps=8, batch_size=8)
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = [f"{idea}/{arm}" for idea, worked in worked_ideas(TEMPLATE).items() for arm in worked.edits]


def train(seeds: list[int], rates: list[float], config=SHORT) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Weights after training, and losses (evaluations, models)."""
    judge = PROGRAM.Judge(SIZES, len(seeds) * len(rates), CPU)
    weights, _ = PROGRAM.train(config, SIZES, judge, rates, PROGRAM.Draw(seeds))
    return weights, np.stack(judge.curve)


# --- one batch of models is many models --------------------------------------------------------------


def test_a_model_learns_alone_what_it_learns_in_a_batch():
    _, together = train([0, 1], [0.5, 1.0])  # models are sorted by rate, then by seed
    for seed, rate, column in ((1, 0.5, 1), (0, 1.0, 2)):
        assert_allclose(train([seed], [rate])[1][:, 0], together[:, column], rtol=1e-3)
    assert len(set(together[-1].round(4))) == 4, "every seed and every rate gives numbers of its own"


def test_a_batch_learns_what_a_plain_transformer_learns_with_the_adamw_of_pytorch():
    batched, _ = train([3, 7], [0.5, 1.0])
    data = torch.from_numpy(PROGRAM.Language(SIZES.words).write(SIZES.windows, SIZES.context, seed=1))
    draw = PROGRAM.Draw([7])
    plain = PlainModel(SHORT, len(PROGRAM.LETTERS), SIZES.context)
    plain.take(PROGRAM.make_weights(SHORT, SIZES.context, draw), 0)
    steps = [step / SHORT.num_steps for step in range(1, SHORT.num_steps + 1)]
    rates = [SHORT.learning_rate * PROGRAM.learning_rate_at(progress, SHORT) for progress in steps]
    train_plain(plain, SHORT, rates, [data[(draw(torch.rand, 8)[0] * len(data)).long()] for _ in rates])
    expected = PlainModel(SHORT, len(PROGRAM.LETTERS), SIZES.context)
    expected.take(batched, 3)
    for one, other in zip(plain.parameters(), expected.parameters(), strict=True):
        assert_allclose(one.detach(), other.detach(), atol=SHORT.learning_rate / 50)


# --- optimizers --------------------------------------------------------------------------------------


def noisy_steps(rule: str, cautious: bool, steps: int = 30, decay: float = 0.1) -> tuple[torch.Tensor, list]:
    """Two models of one tensor with given gradients: the weights, and every gradient."""
    config = replace(SHORT, cautious=cautious)
    weights = {"w": torch.ones(2, 3, 4, dtype=torch.float64)}
    gradients = torch.randn(steps, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.3
    optimizer = PROGRAM.Optimizer(weights, rule, decay, config)
    for gradient in gradients:
        optimizer.step({"w": gradient}, torch.tensor([0.01, 0.02], dtype=torch.float64), 0.5)
    return weights["w"], list(gradients)


def test_adamw_is_that_of_pytorch():
    found, gradients = noisy_steps("adamw", cautious=False)
    for i, rate in enumerate((0.01, 0.02)):
        w = torch.nn.Parameter(torch.ones(3, 4, dtype=torch.float64))
        optimizer = torch.optim.AdamW([w], lr=rate, betas=(SHORT.beta1, SHORT.beta2), weight_decay=0.1)
        for gradient in gradients:
            w.grad = gradient[i].clone()
            optimizer.step()
        assert_allclose(found[i], w.detach(), rtol=1e-9)


@pytest.mark.parametrize("cautious", [False, True])
def test_lion_is_that_of_its_paper(cautious: bool):
    """Algorithm 2 of arXiv:2302.06675, in NumPy; masked as in arXiv:2411.16085."""
    found, gradients = noisy_steps("lion", cautious)
    w, m = np.ones((3, 4)), np.zeros((3, 4))
    for g in (gradient[1].numpy() for gradient in gradients):
        update = np.sign(SHORT.beta1 * m + (1 - SHORT.beta1) * g)
        keep = update * g > 0 if cautious else np.ones_like(g)
        w = w - 0.02 * (update * keep / keep.mean() + 0.1 * w)
        m = SHORT.beta2 * m + (1 - SHORT.beta2) * g
    assert_allclose(found[1], w, rtol=1e-9)


def test_cautious_adamw_is_that_of_its_paper():
    found, gradients = noisy_steps("adamw", cautious=True, decay=0.0)
    w, m, v = np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    for t, g in enumerate((gradient[0].numpy() for gradient in gradients), start=1):
        m, v = SHORT.beta1 * m + (1 - SHORT.beta1) * g, SHORT.beta2 * v + (1 - SHORT.beta2) * g**2
        update = m / (1 - SHORT.beta1**t) / (np.sqrt(v / (1 - SHORT.beta2**t)) + 1e-8)
        keep = update * g > 0
        w = w - 0.01 * update * keep / keep.mean()
    assert_allclose(found[0], w, rtol=1e-9)


CAUTIOUS = replace(SHORT, cautious=True)


def test_a_cautious_update_goes_up_no_component_of_the_gradient_and_keeps_its_mean_size():
    update, gradient = torch.randn(2, 5, 40, 30, generator=torch.Generator().manual_seed(1)).unbind()
    masked = PROGRAM.adjust(update, gradient, 0.5, CAUTIOUS)
    assert (masked * gradient >= 0).all() and ((masked == 0) == (update * gradient <= 0)).all()
    scale = (masked / update).mean((1, 2))  # dropped components count as zero
    assert_allclose(scale, torch.ones(5), rtol=1e-4)
    alone = PROGRAM.adjust(update[2:3], gradient[2:3], 0.5, CAUTIOUS)
    assert_allclose(alone, masked[2:3])  # no model's mask depends on the others


def test_where_all_signs_agree_caution_changes_nothing_and_where_none_does_nothing_moves():
    update = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))
    assert_allclose(PROGRAM.adjust(update, 0.1 * update, 0.5, CAUTIOUS), update)
    assert not PROGRAM.adjust(update, -update, 0.5, CAUTIOUS).any()


def climbed(name: str, cautious: bool, rate: float, steps: int) -> float:
    """How much forty walks go uphill in all, as a share of the heights where they start."""
    points = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 4 - 2
    config = replace(SHORT, cautious=cautious, plane_rate=rate, beta1=0.98, plane_steps=steps)
    heights = PROGRAM.walk(config, name, points, torch.linspace(0, math.pi, 40, dtype=torch.float64))[1]
    return float(np.diff(heights, axis=0).clip(0).sum() / heights[0].sum())


@pytest.mark.parametrize("name", PROGRAM.SURFACES)
def test_the_shorter_its_steps_the_less_a_cautious_walk_goes_uphill(name: str):
    """In continuous time it never does (arXiv:2411.16085); plain momentum swings up the other side of the valley."""
    assert climbed(name, False, 1e-3, 800) > 0.2
    assert climbed(name, True, 1e-3, 800) < 0.04
    assert climbed(name, True, 1e-4, 2000) < 0.25 * climbed(name, True, 1e-3, 800)


def test_heavy_ball_on_a_bowl_follows_the_recursion_that_is_known_for_it():
    config = replace(SHORT, plane_rate=0.01, plane_steps=30)
    start, angles = torch.tensor([[2.0, 1.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    path, heights = PROGRAM.walk(config, "quadratic", start, angles)
    x, m = np.array([2.0, 1.0]), np.zeros(2)
    for step in range(30):
        assert_allclose(path[step, 0], x, rtol=1e-9)
        assert heights[step, 0] == pytest.approx((x[0] ** 2 + 25 * x[1] ** 2) / 2)
        m = config.beta1 * m + np.array([1, 25]) * x
        x = x - 0.01 * m


# --- the language ------------------------------------------------------------------------------------


def test_the_least_loss_is_the_entropy_of_the_language():
    language = PROGRAM.Language(60)
    chances = np.stack([language.after(i) for i in range(60)])
    assert_allclose(chances.sum(1), np.ones(60))
    assert_allclose(language.first @ chances, language.first, atol=1e-9)
    entropy = -(language.first @ (chances * np.log(chances)).sum(1))
    length = language.first @ np.array([len(word) + 1 for word in language.words])
    assert language.least_loss(language.write(300, 600, seed=5)) == pytest.approx(entropy / length, rel=0.02)


def test_the_least_loss_sums_to_one_over_all_that_could_be_written():
    """Over all continuations of three characters, their probabilities add up to one."""
    language = PROGRAM.Language(20)
    texts = {(" " + word + " " + other)[:4] for word in language.words for other in language.words}
    windows = [np.array([[PROGRAM.LETTERS.index(c) for c in text]]) for text in texts]
    assert sum(math.exp(-3 * language.least_loss(window)) for window in windows) == pytest.approx(1)


def test_texts_are_whole_words_and_other_seeds_are_other_texts():
    language = PROGRAM.Language(60)
    one, same, other = (language.write(20, 40, seed) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()
    for window in one:
        space, *words, _ = "".join(PROGRAM.LETTERS[i] for i in window).split(" ")
        assert space == "" and set(words) <= set(language.words)


def test_nobody_beats_the_language_and_foresight_is_refused():
    judge = PROGRAM.Judge(SIZES, 1, CPU)
    oracle = torch.zeros(1, 50, 16, 27)
    oracle.scatter_(-1, judge.windows[None, :, 1:, None], 50.0)  # it knows each next character
    with pytest.raises(SystemExit, match="sees what it has to predict"):
        judge.measure(lambda x: oracle + x.roll(-1, 2)[..., None], 1)
    _, losses = train([0], [1.0], replace(SHORT, num_steps=60))
    assert losses[-1] > PROGRAM.Judge(SIZES, 1, CPU).least and losses[-1] < losses[0]


def test_a_loss_that_is_not_finite_is_refused_with_a_cure():
    with pytest.raises(SystemExit, match="smaller learning rate"):
        PROGRAM.scores_of(np.array([[1.0], [np.nan]]))


# --- the program as it is run ------------------------------------------------------------------------


def run_program(file: Path, folder: Path, **environment: str) -> dict:
    command = [sys.executable, file, f"--out_dir={folder}"]
    env = os.environ | {"KIT_PRESET": "smoke", "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "final_info.json").read_text(encoding="utf-8"))


def test_the_smoke_run_keeps_the_contract_repeats_itself_and_is_drawn(tmp_path: Path):
    first, second = (run_program(TEMPLATE.path / "experiment.py", tmp_path / f"run_{i}") for i in range(2))
    assert list(first) == [*PROGRAM.RATES, *PROGRAM.SURFACES]
    for name, row in first.items():
        assert set(row["means"]) == set(TEMPLATE.metrics)
        assert row["seeds"] == second[name]["seeds"]
        for metric, values in row["seeds"].items():
            assert len(values) == TEMPLATE.presets["smoke"].seeds == 2
            assert row["means"][metric] == pytest.approx(np.mean(values))
            assert row["stderrs"][metric] == pytest.approx(np.std(values, ddof=1) / math.sqrt(2))
    (tmp_path / "plot.py").write_text((TEMPLATE.path / "plot.py").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, "plot.py"], cwd=tmp_path, check=True, timeout=120)
    assert {p.name for p in tmp_path.glob("*.png")} == {"loss_curves.png", "trajectories.png", "metrics.png"}


@pytest.mark.parametrize(("name", "value", "said"), [
    ("KIT_PRESET", "huge", "KIT_PRESET='huge' is no preset; choose one of smoke, demo, full"),
    ("KIT_SEEDS", "0", "KIT_SEEDS='0' is no number of seeds"),
])  # fmt: skip
def test_a_wrong_size_is_named(name: str, value: str, said: str, monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said):
        PROGRAM.read_sizes()


@pytest.mark.parametrize(("preset", "seeds"), [(name, preset.seeds) for name, preset in TEMPLATE.presets.items()])
def test_the_program_has_the_sizes_that_are_announced(preset: str, seeds: int, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", preset)
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    config, (name, sizes) = PROGRAM.PRESETS[preset], PROGRAM.read_sizes()
    assert (name, sizes.seeds) == (preset, seeds)
    if preset != "full":  # its ten million weights take a while to draw
        weights = PROGRAM.make_weights(config, sizes.context, PROGRAM.Draw([0]))
        count = sum(w.numel() for w in weights.values())
        assert preset == "smoke" or f"{count:,} parameters" in TEMPLATE.presets[preset].about


# --- worked ideas ------------------------------------------------------------------------------------


@cache
def outcome(arm: str, preset: str) -> str:
    """What a few steps of the baseline (no arm), or of an arm, at one preset's settings come to."""
    spec = load_arm(arm)
    config = replace(spec.PRESETS[preset], num_steps=4, batch_size=8, n_layer=1, n_head=1, n_embd=8, plane_steps=12)
    judge = spec.Judge(SIZES, 2, CPU)
    weights, _ = spec.train(config, SIZES, judge, [1.0], spec.Draw([0, 1]))
    scores, _ = spec.walk_surfaces(config, SIZES)
    numbers = [w.detach().sum().item() for w in weights.values()]
    assert np.isfinite(numbers).all() and np.isfinite(scores["quadratic"]["final_loss"]).all()
    return str(numbers)


@cache
def load_arm(arm: str) -> ModuleType:
    module = ModuleType(f"cautious_{arm.replace('/', '_')}")
    sys.modules[module.__name__] = module  # where dataclasses look
    exec(compile(worked_code(TEMPLATE.name, arm) if arm else TEMPLATE.code, module.__name__, "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_idea_runs_and_changes_what_it_should(arm: str):
    assert protected_changes(TEMPLATE, TEMPLATE.code, worked_code(TEMPLATE.name, arm)) == []
    for preset in ("demo", "full"):
        assert outcome(arm, preset) != outcome("", preset), "the edit reaches what is run, at every preset"


def test_the_control_drops_as_many_components_in_other_places():
    control, cautious = load_arm("sign_or_sparsity/misplaced_mask"), load_arm("sign_or_sparsity/cautious")
    update, gradient = torch.randn(2, 3, 20, 30, generator=torch.Generator().manual_seed(4)).unbind()
    one, other = (p.adjust(update, gradient, 0.5, p.Config()) for p in (control, cautious))
    assert ((one != 0).sum((1, 2)) == (other != 0).sum((1, 2))).all()
    assert ((one * gradient) < 0).any() and not ((other * gradient) < 0).any()
