"""The template grokking: one batch is many models, the tables are those of groups, the ruler is not fooled."""

import itertools
import json
import math
import os
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
from benchmarks.diffusion_speed import load_program
from numpy.testing import assert_allclose
from torch import nn
from worked_code import worked_code

from kit.offline.worked import worked_ideas
from kit.results import protected_changes, read_final_info
from kit.template import load_template

TEMPLATE = load_template("grokking")
PROGRAM = load_program(TEMPLATE.path / "experiment.py", "grokking_as_it_is")
CPU = torch.device("cpu")
SHORT = replace(PROGRAM.PRESETS["smoke"], num_steps=20)
pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = [f"{idea}/{arm}" for idea, worked in worked_ideas(TEMPLATE).items() for arm in worked.edits]
GROUP = PROGRAM.make_group(6)


def set_up(seeds: list[int], config=SHORT, program: ModuleType = PROGRAM, modulus: int = 11):
    """Tables and random numbers of some seeds."""
    draw = program.Draw(seeds, CPU)
    return program.Tables(draw, modulus, GROUP, config.train_fraction), draw


def learn(seeds: list[int], config=SHORT, program: ModuleType = PROGRAM, every: int = 10):
    """The models of some seeds, and their curves."""
    tables, draw = set_up(seeds, config, program)
    return program.train(config, tables, every, draw)[:2]


# --- one batch of models is many models --------------------------------------------------------------


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_seed_learns_alone_what_it_learns_in_a_batch(num_layers: int):
    config = replace(SHORT, num_layers=num_layers)
    (_, together), (_, alone) = learn([0, 1, 2], config), learn([1], config)
    for name, curve in alone.items():
        assert_allclose(together[name][4:8], curve, rtol=1e-3, atol=1e-4)
    assert not np.allclose(together["val_loss"][:4], alone["val_loss"], rtol=1e-3), "another seed gives other numbers"


def test_the_same_seed_gives_the_same_numbers():
    (_, first), (_, second) = learn([3, 4]), learn([3, 4])
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("preset", ["smoke", "demo", "full"])
def test_a_batch_learns_what_a_plain_loop_learns(preset: str):
    speed = load_speed()
    config = replace(PROGRAM.PRESETS[preset], num_steps=5, warmup_steps=2, cooldown_steps=2, batch_size=16)
    tables, draw = set_up([5, 7], config)
    batched, _, _ = PROGRAM.train(config, tables, 1, draw)
    alone, draw = set_up([7], config)
    start = PROGRAM.Transformer(config, alone.vocabulary, draw)
    rounds = [PROGRAM.next_batch(step, alone, config, draw) for step in range(5)]
    for i in range(4):
        plain, found = (speed.PlainTransformer(config, alone.vocabulary) for _ in range(2))
        copy_weights(start, i, plain)
        with torch.no_grad():
            assert_allclose(start(alone.pairs)[i], plain(alone.pairs[i]), atol=1e-5)
        speed.train_plain(plain, config, (alone.pairs[i], alone.results[i]), [rows[i] for rows in rounds])
        copy_weights(batched, 4 + i, found)
        with torch.no_grad():
            assert_allclose(plain(alone.pairs[i]), found(alone.pairs[i]), atol=1e-3)
            assert not np.allclose(start(alone.pairs)[i], found(alone.pairs[i]), atol=0.02), "five steps are seen"


@cache
def load_speed() -> ModuleType:
    """The plain form of the model, which is timed in tests/benchmarks."""
    folder = Path(__file__).parent / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("GOMP_SPINCOUNT", "")  # it sets its own
        return load_program(folder / "grokking_speed.py", "grokking_speed")


def copy_weights(batch: nn.Module, i: int, plain: nn.Module) -> None:
    """Give a plain model the weights of model i of a batch: a layer's matrix stands the other way round there."""
    many = dict(batch.named_parameters())
    with torch.no_grad():
        for name, one in plain.named_parameters():
            short = name.removesuffix(".weight") if name.startswith(("tokens", "places")) else name
            found = many.pop(short)[i]
            one.copy_(found.T if one.ndim == 2 and short == name else found.reshape(one.shape))
    assert not many, "every weight has its place"


def test_the_full_preset_has_the_published_size():
    full = PROGRAM.PRESETS["full"]
    assert (full.num_layers, full.width, full.num_heads) == (2, 128, 4)
    assert (full.batch_size, full.num_steps, full.train_fraction) == (512, 7500, 0.5)


def test_an_answer_depends_on_both_tokens_and_on_their_order():
    config = replace(SHORT, num_layers=2)
    tables, draw = set_up([0], config)
    model = PROGRAM.Transformer(config, tables.vocabulary, draw)
    with torch.no_grad():
        answers = model(torch.tensor([[[1, 2], [2, 1], [1, 3], [3, 2]]] * 4))
    assert all(not torch.allclose(answers[:, i], answers[:, j], atol=1e-3)
               for i, j in itertools.combinations(range(4), 2))  # fmt: skip


# --- tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [6, 12, 24, 60, 120])
def test_a_group_of_permutations_is_a_group(order: int):
    group = PROGRAM.make_group(order)
    assert len(set(group)) == order and tuple(sorted(group[0])) in group
    table = PROGRAM.make_table("permutation", 1, group)
    square = table[:, 2].reshape(order, order)
    whole = torch.arange(order)
    assert (square.sort(0).values == whole[:, None]).all() and (square.sort(1).values == whole).all()
    x, y, z = torch.randint(order, (3, 200), generator=torch.Generator().manual_seed(0))
    assert torch.equal(square[square[x, y], z], square[x, square[y, z]])
    assert not torch.equal(square, square.T) or order < 6


def test_a_group_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no group of 7 permutations"):
        PROGRAM.make_group(7)


def test_tables_are_arithmetic_modulo_a_prime():
    for x, y, z in PROGRAM.make_table("x_plus_y", 13, GROUP).tolist():
        assert (x + y - z) % 13 == 0
    for x, y, z in PROGRAM.make_table("x_minus_y", 13, GROUP).tolist():
        assert (x - y - z) % 13 == 0
    quotients = PROGRAM.make_table("x_div_y", 13, GROUP).tolist()
    assert len(quotients) == 13 * 12
    assert all(y and (y * z - x) % 13 == 0 for x, y, z in quotients)
    with pytest.raises(ValueError, match="'x_times_y'; known: x_plus_y, x_minus_y"):
        PROGRAM.make_table("x_times_y", 13, GROUP)


@pytest.mark.parametrize("fraction", [0.2, 0.6, 0.7])
def test_the_parts_have_no_example_in_common_and_validation_is_one_for_all_fractions(fraction: float):
    tables, _ = set_up([0, 1], replace(SHORT, train_fraction=fraction))
    usual, _ = set_up([0, 1])
    for i, name in enumerate(PROGRAM.DATASETS * 2):
        whole = PROGRAM.make_table(name, 11, GROUP)
        train = tables.pairs[i, : tables.num_train[i, 0]].tolist()
        assert len(train) == int(fraction * len(whole)) == len({*map(tuple, train)})
        rows = tables.measured[1, i][tables.weights[1, i] == 1]
        held_out = tables.pairs[i, rows].tolist()
        assert len(held_out) == int(0.3 * len(whole))
        assert not {*map(tuple, train)} & {*map(tuple, held_out)}
        assert held_out == usual.pairs[i, rows].tolist()
        answers = {(x, y): z for x, y, z in whole.tolist()}
        assert [answers[x, y] for x, y in held_out] == tables.results[i, rows].tolist()
    assert tables.pairs[0].tolist() != tables.pairs[4].tolist(), "another seed has other parts"


@pytest.mark.parametrize("fraction", [0.0, 0.75])
def test_a_fraction_that_reaches_into_validation_is_refused(fraction: float):
    with pytest.raises(SystemExit, match=r"at most 0\.7"):
        set_up([0], replace(SHORT, train_fraction=fraction))


def test_batches_are_drawn_from_all_of_the_training_part_and_nothing_else():
    tables, draw = set_up([0])
    rows = torch.cat([PROGRAM.next_batch(step, tables, SHORT, draw) for step in range(60)], dim=1)
    for found, size in zip(rows, tables.num_train[:, 0], strict=True):
        assert set(found.tolist()) == set(range(int(size)))


# --- evaluation --------------------------------------------------------------------------------------


class KnowsTheTraining(nn.Module):
    """Puts nearly all of its weight on the result where an example was trained on, and on 0 elsewhere."""

    def __init__(self, tables, certainty: float = 5.0):
        super().__init__()
        self.tables, self.certainty = tables, certainty
        self.weight = nn.Parameter(torch.full((len(tables.pairs), 3, 3), 2.0))
        self.known = []  # of each model: the result of each pair of its training part
        for pairs, results, n in zip(tables.pairs, tables.results, tables.num_train[:, 0], strict=True):
            self.known.append(dict(zip(map(tuple, pairs[:n].tolist()), results[:n].tolist(), strict=True)))

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        both = zip(self.known, pairs.tolist(), strict=True)
        answers = [[known.get((x, y), 0) for x, y in some] for known, some in both]
        return self.certainty * nn.functional.one_hot(torch.tensor(answers), self.tables.vocabulary).float()


@pytest.mark.parametrize("fraction", [0.2, 0.6])
def test_what_is_known_by_heart_is_measured_as_that(fraction: float):
    tables, _ = set_up([0], replace(SHORT, train_fraction=fraction))
    scores = PROGRAM.measure(KnowsTheTraining(tables), tables)
    assert_allclose(scores["train_acc"], np.ones(4))
    rest = math.log1p((tables.vocabulary - 1) * math.exp(-5))
    assert_allclose(scores["train_loss"], [rest] * 4, rtol=1e-5)
    for i in range(4):
        zeros = tables.results[i, tables.measured[1, i][tables.weights[1, i] == 1]] == 0
        share = float(zeros.float().mean())
        assert float(scores["val_acc"][i]) == pytest.approx(share)
        assert float(scores["val_loss"][i]) == pytest.approx(rest + 5 * (1 - share), rel=1e-5)
    assert_allclose(scores["weight_norm"], [6.0] * 4)


def test_steps_are_those_of_the_first_measurement_that_reaches_99_percent():
    steps = np.array([[10, 20, 30]] * 4)
    accuracy = np.array([[0.1, 0.995, 0.2], [0.1, 0.2, 0.98], [0.99, 1, 1], [0, 0, 1]], dtype=np.float32)
    assert PROGRAM.first_step(steps, accuracy).tolist() == [20, 30, 10, 30]


# --- the program as it is run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """The folder that the smoke preset leaves."""
    folder = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, TEMPLATE.path / "experiment.py", f"--out_dir={folder / 'run_0'}"]
    env = os.environ | {"KIT_PRESET": "smoke", "KIT_SEEDS": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "step 100/100  loss 0." in done.stdout
    return folder


def test_every_dataset_has_means_seeds_and_stderrs(smoke: Path):
    measured = read_final_info(smoke / "run_0")
    assert tuple(measured) == PROGRAM.DATASETS
    timed = {name for name, metric in TEMPLATE.metrics.items() if metric.timing}
    for row in measured.values():
        assert set(row.means) == set(TEMPLATE.metrics)
        assert set(row.seeds) == set(row.stderrs) == set(TEMPLATE.metrics) - timed
        for metric, values in row.seeds.items():
            assert len(values) == TEMPLATE.presets["smoke"].seeds == 2
            assert row.means[metric] == pytest.approx(statistics.mean(values))


def test_a_smoke_run_learns_by_heart(smoke: Path):
    for row in read_final_info(smoke / "run_0").values():
        assert row.means["train_acc"] > 0.95 and row.means["val_acc"] < 0.6
        assert row.means["steps_to_fit"] < row.means["steps_to_generalize"] == 100


@pytest.mark.parametrize("count", [1, 6])
def test_figures_are_drawn_for_any_number_of_runs(smoke: Path, count: int, tmp_path: Path):
    labels = {}
    for i in range(count):
        (tmp_path / f"run_{i}").symlink_to(smoke / "run_0")
        labels[f"run_{i}"] = f"A variant with a label that is rather long, number {i}"
    (tmp_path / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    done = subprocess.run([sys.executable, TEMPLATE.path / "plot.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert {p.name for p in tmp_path.glob("*.png")} == {"accuracy.png", "losses.png", "metrics.png"}


@pytest.mark.parametrize("preset", TEMPLATE.presets)
def test_the_program_has_the_sizes_that_are_announced(preset: str, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", preset)
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    assert PROGRAM.read_sizes()[:2] == (preset, TEMPLATE.presets[preset].seeds) and preset in PROGRAM.PRESETS
    PROGRAM.make_group(PROGRAM.read_sizes()[3])


@pytest.mark.parametrize(("name", "value", "said"), [
    ("KIT_PRESET", "huge", "KIT_PRESET='huge' is no preset; choose one of smoke, demo, full"),
    ("KIT_SEEDS", "0", "KIT_SEEDS='0' is no number of seeds"),
])  # fmt: skip
def test_a_wrong_size_is_named(name: str, value: str, said: str, monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said):
        PROGRAM.read_sizes()


# --- worked ideas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("idea", worked_ideas(TEMPLATE).values(), ids=worked_ideas(TEMPLATE))
def test_a_worked_idea_has_a_control_and_predictions(idea):
    assert "control" in {arm.role for arm in idea.arms}
    assert all(arm.prediction and arm.change and arm.start_from == "run_0" for arm in idea.arms)
    assert idea.idea.Metric in TEMPLATE.metrics and idea.keywords


@pytest.mark.parametrize("preset", ["demo", "full"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_edit_changes_what_is_learned_in_every_preset(arm: str, preset: str, tmp_path: Path):
    code = worked_code(TEMPLATE.name, arm)
    assert protected_changes(TEMPLATE, TEMPLATE.code, code) == []
    file = tmp_path / "experiment.py"
    file.write_text(code, encoding="utf-8")
    program = load_program(file, f"grokking_{arm.replace('/', '_')}")
    (_, before), (_, after) = learn_a_little(PROGRAM, preset), learn_a_little(program, preset)
    assert np.isfinite(after["val_loss"]).all()
    assert not np.array_equal(before["val_loss"], after["val_loss"])


def learn_a_little(program: ModuleType, preset: str):
    config = replace(program.PRESETS[preset], num_steps=6, batch_size=8, warmup_steps=1, cooldown_steps=1)
    return learn([0], config, program, every=6)
