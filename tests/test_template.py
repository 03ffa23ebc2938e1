"""The templates: every folder keeps the contract, and diffusion_2d does the mathematics that it says it does."""

import ast
import json
import math
import os
import runpy
import statistics
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks.diffusion_speed import PlainDenoiser, load_program, train_plain
from numpy.testing import assert_allclose
from torch import nn
from worked_code import worked_code

from kit.offline.worked import worked_ideas
from kit.results import protected_changes
from kit.template import load_template, template_names

TEMPLATE = load_template("diffusion_2d")
PROGRAM = load_program(TEMPLATE.path / "experiment.py", "diffusion_2d_as_it_is")
CPU = torch.device("cpu")
SHORT = replace(PROGRAM.PRESETS["smoke"], num_steps=20)
pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = [f"{idea}/{arm}" for idea, worked in worked_ideas(TEMPLATE).items() for arm in worked.edits]


# --- programs: the template's own, and those that the worked ideas make of it ------------------------


def load_worked(name: str, folder: Path, steps: int = 20) -> ModuleType:
    """The program of an arm, with a shorter smoke preset."""
    code, preset = worked_code(TEMPLATE.name, name) if name else TEMPLATE.code, '"smoke": Config(num_steps=150)'
    assert code.count(preset) == 1
    file = folder / "experiment.py"
    file.write_text(code.replace(preset, preset.replace("150", str(steps))), encoding="utf-8")
    return load_program(file, f"diffusion_2d_{name.replace('/', '_')}")


def diffusion_of(program: ModuleType, preset: str = "demo"):
    return program.Diffusion(program.noise_schedule(program.PRESETS[preset]), CPU)


def train_and_sample(seeds: list[int], config=SHORT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses, samples and held-out losses, each with a row for every pair of seed and dataset."""
    diffusion, draw = PROGRAM.Diffusion(PROGRAM.noise_schedule(config), CPU), PROGRAM.Draw(seeds, CPU)
    model, losses, _ = PROGRAM.train(config, diffusion, draw)
    return losses, PROGRAM.sample(model, diffusion, 600, draw), PROGRAM.held_out_loss(model, diffusion, 50)


# --- one batch of models is many models --------------------------------------------------------------


def test_a_seed_learns_alone_what_it_learns_in_a_batch():
    together, alone = train_and_sample([0, 1, 2]), train_and_sample([1])
    for whole, part in zip(together, alone, strict=True):
        assert_allclose(whole[4:8], part, rtol=1e-3, atol=1e-4)
        assert not np.allclose(whole[:4], part, rtol=1e-2), "another seed gives other numbers"


@pytest.mark.parametrize("preset", ["smoke", "full"])
def test_a_batch_learns_what_a_plain_loop_learns(preset: str):
    config = replace(PROGRAM.PRESETS[preset], num_steps=5, batch_size=64)
    diffusion, seed = PROGRAM.Diffusion(PROGRAM.noise_schedule(config), CPU), 7
    batched, losses, _ = PROGRAM.train(config, diffusion, PROGRAM.Draw([3, seed], CPU))

    draw = PROGRAM.Draw([seed], CPU)
    start = PROGRAM.Denoiser(config, draw)
    rounds = [(draw(torch.rand, 64), draw(torch.rand, 64), draw(torch.randn, 64, 2)) for _ in range(5)]
    for i, name in enumerate(PROGRAM.DATASETS):
        plain, data = PlainDenoiser(config), PROGRAM.make_dataset(name, 10_000, seed=1)
        copy_weights(start, i, plain)
        batches = [((rows[i] * 10_000).long(), (t[i] * 100).long(), noise[i]) for rows, t, noise in rounds]
        averaged, expected = train_plain(plain, diffusion.alpha_bar, data, batches)
        assert_allclose(losses[4 + i], torch.stack(expected), rtol=1e-4)
        found = PlainDenoiser(config)
        copy_weights(batched, 4 + i, found)
        for one, other in zip(averaged.parameters(), found.parameters(), strict=True):
            assert_allclose(one, other.detach(), atol=config.learning_rate / 50)


def copy_weights(batch: nn.Module, i: int, plain: PlainDenoiser) -> None:
    """Give a plain model the weights of model i of a batch."""
    pairs = zip([batch.enter, *batch.layers, batch.leave], [plain.enter, *plain.layers, plain.leave], strict=True)
    with torch.no_grad():
        for many, one in pairs:
            one.weight.copy_(many.weight[i].T)
            one.bias.copy_(many.bias[i, 0])


def test_the_full_preset_has_the_published_size():
    full = PROGRAM.PRESETS["full"]
    assert (full.batch_size, full.num_steps) == (256, 10_000)
    assert 290_000 < sum(p.numel() for p in PlainDenoiser(full).parameters()) < 330_000


# --- diffusion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ["", *ARMS])
def test_a_schedule_ends_near_pure_noise_and_covers_what_is_measured(arm: str, tmp_path: Path):
    program = load_worked(arm, tmp_path)
    for config in program.PRESETS.values():
        betas = program.noise_schedule(config)
        alpha_bar = torch.cumprod(1 - betas.double(), dim=0)
        assert ((betas > 0) & (betas < 1)).all() and alpha_bar[-1] < 0.01
        assert torch.logit(alpha_bar[0]) > 5, "eval_loss is read up to a log SNR of 5"


def test_a_schedule_that_leaves_signal_is_refused():
    """The public template of this kind ends here, at alpha_bar = 0.36, and samples from pure noise all the same."""
    with pytest.raises(AssertionError, match=r"alpha_bar_T = 0\.36\d is not yet pure noise: raise"):
        PROGRAM.Diffusion(torch.linspace(1e-4, 0.02, 100, dtype=torch.float64), CPU)


@pytest.mark.parametrize("t", [0, 30, 99])
def test_noise_is_added_with_the_right_moments(t: int):
    diffusion, x0 = diffusion_of(PROGRAM), torch.tensor([1.5, -0.5])
    noise = torch.randn(1, 200_000, 2, generator=torch.Generator().manual_seed(0))
    x_t = diffusion.add_noise(x0.expand_as(noise), noise, torch.full(noise.shape[:2], t))
    alpha_bar = float(np.prod(1 - np.linspace(1e-3, 0.2, 100)[: t + 1]))
    assert_allclose(x_t.mean((0, 1)), math.sqrt(alpha_bar) * x0, atol=0.01)
    assert_allclose(x_t.var((0, 1)), [1 - alpha_bar] * 2, rtol=0.02)


def test_the_posterior_is_that_of_the_forward_process():
    """Equations 6 and 7 of arXiv:2006.11239, in NumPy and double precision."""
    diffusion, beta = diffusion_of(PROGRAM), np.linspace(1e-3, 0.2, 100)
    now = np.cumprod(1 - beta)
    before = np.concatenate([[1.0], now[:-1]])
    assert_allclose(diffusion.variance, beta * (1 - before) / (1 - now), rtol=1e-4, atol=1e-9)

    x0, noise = torch.randn(2, 1, 50, 2, generator=torch.Generator().manual_seed(1)).unbind()
    for t in (1, 20, 99):
        x_t = diffusion.add_noise(x0, noise, torch.full(x0.shape[:2], t))
        back = diffusion.step_back(x_t, noise, t, torch.zeros_like(noise))
        of_x0, of_x_t = np.sqrt(before[t]) * beta[t], np.sqrt(1 - beta[t]) * (1 - before[t])
        assert_allclose(back, (of_x0 * x0 + of_x_t * x_t) / (1 - now[t]), atol=1e-3)
        step = diffusion.step_back(x_t, noise, t, torch.ones_like(noise)) - back
        assert_allclose(step, torch.full_like(step, diffusion.variance[t].sqrt()), atol=1e-5)


def test_the_last_step_back_gives_the_clean_point():
    diffusion, (x0, noise, z) = diffusion_of(PROGRAM), torch.randn(3, 1, 50, 2).unbind()
    x_t = diffusion.add_noise(x0, noise, torch.zeros(1, 50, dtype=torch.long))
    assert_allclose(diffusion.step_back(x_t, noise, 0, z), x0, atol=1e-5)


# --- evaluation --------------------------------------------------------------------------------------


class LinearOracle(nn.Module):
    """The best linear predictor of the noise for each dataset, from its covariance; it puts out any target.

    E[noise | x_t] = sigma (alpha_bar C + sigma^2 I)^-1 x_t: a function of the noise level, whatever the schedule.
    """

    def __init__(self, diffusion, n: int):
        super().__init__()
        sets = torch.stack([PROGRAM.make_dataset(name, n, seed=2) for name in PROGRAM.DATASETS])
        self.diffusion, self.covariance = diffusion, nn.Parameter(sets.mT @ sets / n, requires_grad=False)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        signal, sigma = self.diffusion.scales(t)
        spread = signal[:, :1] ** 2 * self.covariance + sigma[:, :1] ** 2 * torch.eye(2)
        noise = sigma * torch.linalg.solve(spread, x_t.mT).mT
        return self.diffusion.target((x_t - sigma * noise) / signal, noise, t)


@pytest.mark.parametrize("arm", ["", *ARMS])
def test_a_predictor_has_one_held_out_loss_whatever_the_schedule_and_the_target(arm: str, tmp_path: Path):
    n, diffusion = 4000, diffusion_of(load_worked(arm, tmp_path))
    oracle = LinearOracle(diffusion, n)
    alpha_bar = torch.sigmoid(torch.linspace(-5, 5, 41))[:, None, None, None]
    spread = alpha_bar * oracle.covariance + (1 - alpha_bar) * torch.eye(2)
    lost = (1 - alpha_bar[..., 0, 0]) * torch.linalg.inv(spread).diagonal(dim1=-2, dim2=-1).sum(-1) / 2
    expected = (1 - lost).mean(0)  # per axis: what of the noise a linear predictor cannot know
    assert_allclose(PROGRAM.held_out_loss(oracle, diffusion, n), expected, rtol=0.03)
    plain = diffusion_of(PROGRAM)
    assert_allclose(PROGRAM.held_out_loss(oracle, diffusion, n),
                    PROGRAM.held_out_loss(LinearOracle(plain, n), plain, n), rtol=2e-3)  # fmt: skip


def test_sampling_follows_the_recursion_that_is_known_for_linear_predictors():
    """Every step maps a Gaussian to a Gaussian, whose covariance is here followed in double precision."""
    diffusion, beta = diffusion_of(PROGRAM), np.linspace(1e-3, 0.2, 100)
    oracle, alpha_bar = LinearOracle(diffusion, 4000), np.cumprod(1 - beta)
    points = PROGRAM.sample(oracle, diffusion, 20_000, PROGRAM.Draw([0], CPU))
    assert_allclose(points.mean(1), np.zeros((4, 2)), atol=0.03)
    data = oracle.covariance.double().numpy()
    expected = np.broadcast_to(np.eye(2), (4, 2, 2))
    for t in reversed(range(100)):
        inverse = np.linalg.inv(alpha_bar[t] * data + (1 - alpha_bar[t]) * np.eye(2))
        step = (np.eye(2) - beta[t] * inverse) / np.sqrt(1 - beta[t])
        before = alpha_bar[t - 1] if t else 1.0
        variance = beta[t] * (1 - before) / (1 - alpha_bar[t])
        expected = step @ expected @ step.swapaxes(1, 2) + variance * np.eye(2)
    assert_allclose(points.swapaxes(1, 2) @ points / 20_000, expected, atol=0.05)
    assert_allclose(expected, data, atol=0.12)  # a hundred steps lose a little of the spread


def test_a_schedule_gains_nothing_by_leaving_out_the_hard_levels():
    plain, coarse = diffusion_of(PROGRAM), PROGRAM.Diffusion(torch.linspace(0.05, 0.2, 100).double(), CPU)
    losses = [PROGRAM.held_out_loss(LinearOracle(d, 500), d, 500) for d in (plain, coarse)]
    assert (losses[1] > losses[0]).all()


def gaussian(n: int, seed: int, mean=(0.0, 0.0), sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, (n, 2))


@pytest.mark.parametrize(("p", "q", "nats"), [
    (((0, 0), 1.0), ((1, 0), 2.0), math.log(4) + (2 + 1) / 8 - 1),
    (((1, 0), 1.2), ((0, 0), 1.0), -math.log(1.44) + (2.88 + 1) / 2 - 1),
    (((0, 0), 1.0), ((0, 0), 1.0), 0.0),
    (((0, 0), 1.0), ((0.6, 0.8), 1.0), 0.5),
])  # fmt: skip
def test_the_divergence_of_gaussians_is_the_known_one(p, q, nats: float):
    found = [PROGRAM.kl_divergence(gaussian(4000, i, *p), gaussian(6000, i + 9, *q)) for i in range(4)]
    assert abs(statistics.mean(found) - nats) < 0.04 + 0.05 * nats


@pytest.mark.parametrize("name", PROGRAM.DATASETS)
def test_the_divergence_of_a_dataset_from_itself_is_nearly_zero_and_a_shift_is_seen(name: str):
    p, q = (PROGRAM.make_dataset(name, 3000, seed).numpy() for seed in (3, 11))
    same = PROGRAM.kl_divergence(p, q)
    assert abs(same) < 0.08
    assert PROGRAM.kl_divergence(p, q + np.array([0.0, 0.1])) > same + 0.2


def test_points_that_are_not_finite_are_refused_with_a_cure():
    p, q = gaussian(50, 0), gaussian(50, 1)
    q[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"not finite.*smaller learning rate"):
        PROGRAM.kl_divergence(p, q)


@pytest.mark.parametrize("name", PROGRAM.DATASETS)
def test_a_dataset_is_scaled_and_drawn_anew_for_every_use(name: str):
    points = PROGRAM.make_dataset(name, 20_000, seed=1)
    assert_allclose(points.mean(0), [0, 0], atol=0.02)
    assert float((points**2).mean()) == pytest.approx(1 + 0.06**2, rel=0.02)
    assert torch.equal(PROGRAM.make_dataset(name, 300, 1), PROGRAM.make_dataset(name, 300, 1))
    training, measured, compared = (PROGRAM.make_dataset(name, 300, seed) for seed in (1, 2, 3))
    assert not len({*map(tuple, training.tolist())} & {*map(tuple, measured.tolist()), *map(tuple, compared.tolist())})


def test_a_dataset_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"'spiral'; known: circle, dino"):
        PROGRAM.make_dataset("spiral", 10, 1)


# --- the program as it is run ------------------------------------------------------------------------


def run_program(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, TEMPLATE.path / "experiment.py", f"--out_dir={folder}"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> list[dict]:
    """final_info.json of the smoke preset, run twice."""
    folders = [tmp_path_factory.mktemp("smoke") / "run_0" for _ in range(2)]
    for folder in folders:
        done = run_program(folder, KIT_PRESET="smoke", KIT_SEEDS="")
        assert done.returncode == 0, done.stderr
    with np.load(folders[0] / "all_results.npz") as arrays:
        assert (arrays["losses"].shape, arrays["samples"].shape) == ((8, 150), (8, 300, 2))
        assert arrays["held_out"].shape == (4, 300, 2)
    return [json.loads((folder / "final_info.json").read_text(encoding="utf-8")) for folder in folders]


def test_every_dataset_has_means_seeds_and_stderrs(smoke: list[dict]):
    info = smoke[0]
    assert set(info) == set(PROGRAM.DATASETS)
    timed = {name for name, metric in TEMPLATE.metrics.items() if metric.timing}
    for row in info.values():
        assert set(row["means"]) == set(TEMPLATE.metrics)
        assert set(row["seeds"]) == set(row["stderrs"]) == set(TEMPLATE.metrics) - timed
        for metric, values in row["seeds"].items():
            assert len(values) == TEMPLATE.presets["smoke"].seeds == 2
            assert row["means"][metric] == pytest.approx(statistics.mean(values))
            assert row["stderrs"][metric] == pytest.approx(statistics.stdev(values) / math.sqrt(2))


def test_the_same_run_gives_the_same_numbers(smoke: list[dict]):
    for name in PROGRAM.DATASETS:
        assert smoke[0][name]["seeds"] == smoke[1][name]["seeds"]


def test_one_seed_has_no_stderr():
    row = PROGRAM.summarise({"eval_loss": np.array([[0.1, 0.2, 0.3, 0.4]])}, {"train_time": 1.0})["dino"]
    assert row == {"means": {"eval_loss": 0.2, "train_time": 1.0}, "stderrs": {}, "seeds": {"eval_loss": [0.2]}}


@pytest.mark.parametrize(("name", "value", "said"), [
    ("KIT_PRESET", "huge", "KIT_PRESET='huge' is no preset; choose one of smoke, demo, full"),
    ("KIT_SEEDS", "0", "KIT_SEEDS='0' is no number of seeds"),
    ("KIT_SEEDS", "two", "a whole number from 1 up"),
    ("KIT_SEEDS", "-1", "KIT_SEEDS='-1'"),
])  # fmt: skip
def test_a_wrong_size_is_named(name: str, value: str, said: str, monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said):
        PROGRAM.read_sizes()


# --- worked ideas ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> dict:
    """What the baseline makes of the shortened smoke preset, one seed."""
    folder = tmp_path_factory.mktemp("untouched")
    return run_inside(load_worked("", folder), folder)


def run_inside(program: ModuleType, folder: Path) -> dict:
    """Run a program's main() in this process, smoke preset, one seed: its final_info."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_PRESET", "smoke")
        patch.setenv("KIT_SEEDS", "1")
        program.main(folder / "run_1")
    info = json.loads((folder / "run_1" / "final_info.json").read_text(encoding="utf-8"))
    return {name: row["seeds"] for name, row in info.items()}


@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_idea_runs_and_changes_what_it_should(arm: str, tmp_path: Path, untouched: dict):
    assert protected_changes(TEMPLATE, TEMPLATE.code, worked_code(TEMPLATE.name, arm)) == []
    program = load_worked(arm, tmp_path)
    found = run_inside(program, tmp_path)
    assert all(np.isfinite(values).all() for row in found.values() for values in row.values())
    assert found != untouched, "the edit reaches what is run"
    first, second = (learn_a_little(one, "full") for one in (PROGRAM, program))
    assert not np.array_equal(first, second), "no preset hides the change"


@cache
def learn_a_little(program: ModuleType, preset: str) -> np.ndarray:
    """The held-out loss after three steps of a preset."""
    config = replace(program.PRESETS[preset], num_steps=3, batch_size=8)
    diffusion, draw = program.Diffusion(program.noise_schedule(config), CPU), program.Draw([0], CPU)
    return program.held_out_loss(program.train(config, diffusion, draw)[0], diffusion, 20)


@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_target_can_be_turned_round(arm: str, tmp_path: Path):
    diffusion, (x0, noise) = diffusion_of(load_worked(arm, tmp_path)), torch.randn(2, 1, 100, 2).unbind()
    t = torch.arange(100).unsqueeze(0)
    x_t = diffusion.add_noise(x0, noise, t)
    assert_allclose(diffusion.predicted_noise(diffusion.target(x0, noise, t), x_t, t), noise, atol=1e-3)
    weight = diffusion.loss_weight(t)
    assert weight.shape == t.shape and (weight > 0).all()


# --- the contract, for every template ----------------------------------------------------------------


@pytest.mark.parametrize("name", template_names())
def test_a_template_keeps_the_contract(name: str):
    template = load_template(name)
    assert (template.path / "template.toml").is_file() and template.title
    assert template.system and template.task_description, "prompt.json"
    assert {"smoke", "demo", "full"} <= set(template.presets)
    assert all(preset.about for preset in template.presets.values())
    headline = [metric for metric in template.metrics.values() if metric.headline]
    assert headline and all(metric.direction and not metric.timing for metric in headline)
    assert len({idea.Name for idea in template.seed_ideas}) == len(template.seed_ideas) >= 3
    assert all(idea.Title and idea.Experiment for idea in template.seed_ideas)
    for file in ("plot.py", "prompt.json", "seed_ideas.json", "README.md"):
        assert (template.path / file).is_file(), file


@pytest.mark.parametrize("name", ["diffusion_2d", "grokking", "cautious_optimizers"])
def test_a_figure_has_a_panel_for_a_metric_that_tells_runs_apart(name: str):
    tells_apart = runpy.run_path(str(load_template(name).path / "plot.py"))["tells_apart"]
    first = {"means": {"m": 2.0, "n": 5.0}, "seeds": {"m": [1.0, 3.0], "n": [4.0, 6.0]}}
    other = first | {"seeds": {"m": [1.0, 3.0], "n": [6.0, 4.0]}}
    only_later = {"means": {"m": 2.0}, "seeds": {"m": [1.0, 3.0]}}
    infos = [{"a": first}, {"a": first}, {"a": other}, {"a": only_later}]
    runs = [{"info": info} for info in infos]
    runs = runs if name == "cautious_optimizers" else {f"run_{n}": run for n, run in enumerate(runs)}
    assert not tells_apart(runs, "m"), "the same in all"
    assert tells_apart(runs, "n"), "the same mean, of other seeds"
    alone = runs[:1] if isinstance(runs, list) else {"run_0": runs["run_0"]}
    assert tells_apart(alone, "m"), "a run by itself is shown"


@pytest.mark.parametrize("name", template_names())
def test_what_a_template_protects_is_there(name: str):
    template = load_template(name)
    assert template.protected
    for entry in template.protected:
        file, _, part = entry.partition(":")
        tree = ast.parse((template.path / file).read_text(encoding="utf-8"))
        defined = {getattr(node, "name", None) for node in tree.body}
        defined |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
                    if isinstance(target, ast.Name)}  # fmt: skip
        assert not part or part in defined, f"{entry} is nowhere"


@pytest.mark.parametrize(("preset", "seeds"), [(name, preset.seeds) for name, preset in TEMPLATE.presets.items()])
def test_the_program_has_the_sizes_that_are_announced(preset: str, seeds: int, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", preset)
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    assert PROGRAM.read_sizes()[:2] == (preset, seeds) and preset in PROGRAM.PRESETS
