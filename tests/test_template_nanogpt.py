"""The template nanogpt: one batch is many models, the ruler is not fooled, worked edits do what they say."""

import hashlib
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
from benchmarks.nanogpt_speed import PlainGPT, load_program, train_plain
from numpy.testing import assert_allclose
from torch import nn
from worked_code import worked_code

from kit.offline.worked import worked_ideas
from kit.results import protected_changes, read_final_info
from kit.template import load_template

TEMPLATE = load_template("nanogpt")
PROGRAM = load_program(TEMPLATE.path / "experiment.py", "nanogpt_as_it_is")
CPU = torch.device("cpu")
TEXT = PROGRAM.read_text("plays", CPU)
SIZES = PROGRAM.Sizes(seeds=1, context=16, evaluations=2, windows=12, generated=8)
SHORT = replace(PROGRAM.PRESETS["smoke"], num_steps=12, warmup_steps=3)
pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = [f"{idea}/{arm}" for idea, worked in worked_ideas(TEMPLATE).items() for arm in worked.edits]


def learn(seeds: list[int], config=SHORT, program: ModuleType = PROGRAM, sizes=SIZES):
    """The models of some seeds, their training losses, and the judge that measured them."""
    judge = program.Judge(TEXT, sizes, len(seeds))
    model, losses, _ = program.train(config, TEXT, sizes, judge, seeds)
    return model, losses, judge


# --- one batch of models is many models --------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_seed_learns_alone_what_it_learns_in_a_batch(dropout: float):
    config = replace(SHORT, dropout=dropout)
    (_, together, judge), (_, alone, single) = learn([0, 1, 2], config), learn([1], config)
    assert_allclose(together[1:2], alone, rtol=1e-4)
    for step, losses in judge.curve.items():
        assert_allclose(losses[1:2], single.curve[step], rtol=1e-4)
    assert not np.allclose(together[0], together[1], rtol=1e-3), "another seed gives other numbers"


def test_the_same_seed_gives_the_same_numbers_and_the_same_text():
    (first, losses, _), (second, again, _) = learn([3, 4]), learn([3, 4])
    assert np.array_equal(losses, again)
    texts = [PROGRAM.generate(model, 0, 20, PROGRAM.Draw([3, 4])) for model in (first, second)]
    assert torch.equal(*texts) and not torch.equal(texts[0][0], texts[0][1])


@pytest.mark.parametrize("preset", ["smoke", "demo", "full"])
def test_a_batch_learns_what_a_plain_loop_learns(preset: str):
    config = replace(PROGRAM.PRESETS[preset], num_steps=5, warmup_steps=2, batch_size=2, dropout=0.0, grad_clip=0.3,
                     bfloat16=False)  # fmt: skip
    batched, losses, _ = learn([5, 7], config)
    draw, plain = PROGRAM.Draw([7]), PlainGPT(config, len(TEXT.symbols), SIZES.context)
    copy_weights(PROGRAM.GPT(config, len(TEXT.symbols), SIZES.context, draw, draw), 0, plain)
    batches = [[part[0] for part in PROGRAM.draw_batch(TEXT.train, SIZES.context, config, draw)] for _ in range(5)]
    expected = train_plain(plain, config, batches)
    assert_allclose(losses[1], expected, rtol=1e-4)
    found = PlainGPT(config, len(TEXT.symbols), SIZES.context)
    copy_weights(batched, 1, found)
    for one, other in zip(plain.parameters(), found.parameters(), strict=True):
        assert_allclose(one.detach(), other.detach(), atol=config.learning_rate / 20)


def copy_weights(batch: nn.Module, i: int, plain: PlainGPT) -> None:
    """Give a plain model the weights of model i of a batch."""
    pairs = [(plain.characters.weight, batch.characters[i]), (plain.places.weight, batch.places[i])]
    for one, many in zip([plain, *plain.blocks], [batch, *batch.blocks], strict=True):
        norms = [(one.norm, many.norm)] if one is plain else zip(one.norms, many.norms, strict=True)
        pairs += [(mine.weight, its.weight[i, 0]) for mine, its in norms]
    for one, many in zip(plain.blocks, batch.blocks, strict=True):
        layers = [(one.qkv, many.attention.enter), (one.mix, many.attention.leave),
                  (one.up, many.feed_forward.enter), (one.down, many.feed_forward.leave)]  # fmt: skip
        pairs += [(mine.weight, its.weight[i].T) for mine, its in layers]
    with torch.no_grad():
        for mine, its in pairs:
            mine.copy_(its)


def test_a_gradient_is_clipped_for_each_model_alone():
    draw = PROGRAM.Draw([0, 1])
    model = PROGRAM.GPT(SHORT, 5, 8, draw, draw)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
        parameter.grad[1] *= 1e-6
    before = [p.grad[1].clone() for p in model.parameters()]
    PROGRAM.clip_gradients(model, 0.5)
    norm = math.sqrt(sum(float(p.grad[0].square().sum()) for p in model.parameters()))
    assert norm == pytest.approx(0.5, rel=1e-4)
    assert all(torch.equal(p.grad[1], old) for p, old in zip(model.parameters(), before, strict=True))


def test_the_full_preset_has_the_published_size(monkeypatch):
    monkeypatch.setenv("KIT_PRESET", "full")
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    full, (_, sizes) = PROGRAM.PRESETS["full"], PROGRAM.read_sizes()
    assert (full.n_layer, full.n_head, full.n_embd, full.dropout, full.num_steps) == (6, 6, 384, 0.2, 5000)
    assert (full.batch_size, sizes.context, sizes.seeds) == (64, 256, 3)
    plain = PlainGPT(full, len(TEXT.symbols), sizes.context)
    matrices = sum(p.numel() for p in plain.parameters()) - plain.places.weight.numel()
    assert 10.64e6 < matrices < 10.66e6, "nanoGPT counts its parameters without those of positions"


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    config = PROGRAM.PRESETS["demo"]
    rates = [PROGRAM.learning_rate_at(step, config) for step in range(config.num_steps)]
    highest = int(np.argmax(rates))
    assert config.warmup_steps - 1 <= highest <= config.warmup_steps
    assert rates[highest] == config.learning_rate
    assert rates[-1] == pytest.approx(0.1 * config.learning_rate, rel=0.01)
    assert (np.diff(rates[: highest + 1]) >= 0).all() and (np.diff(rates[highest + 1 :]) < 0).all()


# --- data --------------------------------------------------------------------------------------------


def decode(numbers: torch.Tensor) -> str:
    return bytes(TEXT.symbols[i] for i in numbers.tolist()).decode()


def test_the_plays_are_the_ones_that_the_readme_names():
    train, held_out = decode(TEXT.train), decode(TEXT.held_out)
    digest = hashlib.sha256((train + held_out).encode()).hexdigest()
    assert digest in (TEMPLATE.path / "README.md").read_text(encoding="utf-8")
    assert train.startswith("Prologue:\nTwo households, both alike in dignity,\n")
    assert held_out.startswith("First Witch:\nWhen shall we three meet again\n")
    assert "MACBETH:" in held_out and "MACBETH:" not in train, "a whole play is held out"
    assert len(TEXT.symbols) == 63


def test_batches_are_windows_of_the_training_text():
    x, y = PROGRAM.draw_batch(TEXT.train, 32, replace(SHORT, batch_size=4), PROGRAM.Draw([0, 1]))
    assert x.shape == y.shape == (2, 4, 32) and torch.equal(x[..., 1:], y[..., :-1])
    whole = decode(TEXT.train)
    assert all(decode(row) in whole for row in x.flatten(0, 1))


def test_a_corpus_that_is_missing_or_too_short_is_named(monkeypatch, capsys):
    assert PROGRAM.read_text("plays", CPU).train.dtype == torch.uint8
    monkeypatch.setitem(PROGRAM.CORPORA, "plays", ("nowhere", 10, 10, False))
    assert PROGRAM.read_text("plays", CPU) is None
    assert "`python prepare.py` fetches it" in capsys.readouterr().out
    monkeypatch.setitem(PROGRAM.CORPORA, "plays", ("plays.txt.bz2", 10**9, 10, False))
    with pytest.raises(SystemExit, match="needs 1,000,000,010: fetch it again"):
        PROGRAM.read_text("plays", CPU)


def test_a_corpus_is_fetched_once_and_only_if_it_is_the_right_one(tmp_path, monkeypatch):
    prepare = load_program(TEMPLATE.path / "prepare.py", "nanogpt_prepare")
    source = tmp_path / "source.txt"
    source.write_bytes(b"to be")
    right = hashlib.sha256(b"to be").hexdigest()
    monkeypatch.setattr(prepare, "DATA", tmp_path)
    for name, digest in (("good", right), ("bad", "0" * 64)):
        monkeypatch.setitem(prepare.SOURCES, name, (f"{name}.txt", source.as_uri(), digest))
    assert prepare.prepare("good").endswith("5 characters, fetched")
    assert prepare.prepare("good").endswith("5 characters, was there")
    with pytest.raises(SystemExit, match="is not bad: its SHA-256 is"):
        prepare.prepare("bad")
    assert not (tmp_path / "bad.txt").exists()
    source.unlink()
    (tmp_path / "good.txt").unlink()
    with pytest.raises(SystemExit, match=r"could not be fetched .* by hand"):
        prepare.prepare("good")


def test_every_corpus_that_can_be_fetched_is_one_that_is_read():
    prepare = load_program(TEMPLATE.path / "prepare.py", "nanogpt_prepare")
    assert {name: source[0] for name, source in prepare.SOURCES.items()} == {
        name: corpus[0] for name, corpus in PROGRAM.CORPORA.items() if name != "plays"
    }


# --- evaluation --------------------------------------------------------------------------------------


class Unigram(nn.Module):
    """Predicts every character by the same chances; `peek` moves the true one up."""

    def __init__(self, peek: float = 0.0):
        super().__init__()
        counts = torch.bincount(TEXT.train.long(), minlength=len(TEXT.symbols)).float() + 1
        self.logits, self.peek = (counts / counts.sum()).log(), peek

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ahead = nn.functional.one_hot(x.roll(-1, dims=-1), len(self.logits))
        return self.logits + self.peek * ahead


def test_the_loss_of_a_known_model_is_the_known_one():
    judge = PROGRAM.Judge(TEXT, SIZES._replace(windows=10**6), 2)
    counts = torch.bincount(TEXT.held_out.long(), minlength=len(TEXT.symbols)).double()
    expected = -float((counts / counts.sum() * Unigram().logits).sum())
    assert_allclose(judge.loss(Unigram(), TEXT.held_out), [expected, expected], rtol=1e-3)


def test_a_model_that_sees_the_future_is_refused():
    judge = PROGRAM.Judge(TEXT, SIZES, 1)
    judge.measure(Unigram(), 1)
    with pytest.raises(SystemExit, match="The model sees what it has to predict"):
        judge.measure(Unigram(peek=0.1), 2)


def test_predictions_do_not_depend_on_later_characters():
    draw = PROGRAM.Draw([0])
    model = PROGRAM.GPT(SHORT, 63, 16, draw, draw).eval()
    x = PROGRAM.draw_batch(TEXT.train, 16, SHORT, draw)[0]
    for place in (0, 7, 14):
        changed = x.clone()
        changed[..., place + 1 :] = 0
        assert_allclose(model(x)[..., : place + 1, :].detach(), model(changed)[..., : place + 1, :].detach(), atol=1e-6)


def test_there_are_no_more_evaluations_than_agreed():
    judge = PROGRAM.Judge(TEXT, SIZES, 1)
    with pytest.raises(SystemExit, match="The best of 2 evaluations counts"):
        for step in range(3):
            judge.measure(Unigram(), step)


def test_a_run_that_diverged_says_so():
    judge = PROGRAM.Judge(TEXT, SIZES, 1)
    judge.curve[1] = [math.nan]
    with pytest.raises(SystemExit, match="diverged; try a smaller learning rate"):
        PROGRAM.summarise(judge, Unigram(), {})


def test_an_untrained_model_knows_the_number_of_characters_and_a_trained_one_more():
    _, _, judge = learn([0, 1], replace(SHORT, num_steps=40), sizes=SIZES._replace(context=32))
    start = PROGRAM.Draw([0, 1])
    fresh = PROGRAM.GPT(SHORT, len(TEXT.symbols), 32, start, start).eval()
    assert_allclose(judge.loss(fresh, TEXT.held_out), math.log(63), rtol=0.03)
    assert max(judge.curve[40]) < 3.6 < min(judge.loss(fresh, TEXT.held_out))


def test_the_sampler_draws_by_the_chances_of_the_model():
    class Coin(nn.Module):
        def __init__(self):
            super().__init__()
            self.characters, self.context = nn.Parameter(torch.zeros(2, 3, 1)), 4

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.2, 0.5, 0.3]).log().expand(*x.shape, 3)

    written = PROGRAM.generate(Coin(), 0, 4000, PROGRAM.Draw([0, 1]), temperature=1.0)
    shares = [[float((row == i).float().mean()) for i in range(3)] for row in written]
    assert_allclose(shares, [[0.2, 0.5, 0.3]] * 2, atol=0.03)


# --- the program as it is run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> list[Path]:
    """The results of the smoke preset, run twice."""
    folders = [tmp_path_factory.mktemp("smoke") / f"run_{i}" for i in range(2)]
    environment = {"KIT_PRESET": "smoke", "KIT_SEEDS": ""}
    command = [sys.executable, TEMPLATE.path / "experiment.py", f"--out_dir={folders[0]}"]
    done = subprocess.run(command, env=os.environ | environment | {"OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "step 40/40  loss " in done.stdout
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        PROGRAM.main(folders[1])
    return folders


def test_a_run_keeps_the_contract(smoke: list[Path]):
    info = read_final_info(smoke[0])
    assert set(info) == {"plays"}
    timed = {name for name, metric in TEMPLATE.metrics.items() if metric.timing}
    assert set(info["plays"].means) == set(TEMPLATE.metrics)
    assert set(info["plays"].seeds) == set(info["plays"].stderrs) == set(TEMPLATE.metrics) - timed
    for metric, values in info["plays"].seeds.items():
        assert len(values) == TEMPLATE.presets["smoke"].seeds == 2
        assert info["plays"].means[metric] == pytest.approx(statistics.mean(values))
        assert 2 < min(values) < max(values) < math.log(63)
    assert timed == {"train_time", "inference_tokens_per_second"}
    assert not any(TEMPLATE.metrics[name].headline for name in timed)


def test_the_same_run_gives_the_same_numbers(smoke: list[Path]):
    first, second = (json.loads((folder / "final_info.json").read_text()) for folder in smoke)
    assert first["plays"]["seeds"] == second["plays"]["seeds"]


@pytest.mark.parametrize("runs", [1, 6])
def test_the_figures_are_drawn(runs: int, smoke: list[Path], tmp_path: Path):
    for i in range(runs):
        (tmp_path / f"run_{i}").symlink_to(smoke[i % 2])
    (tmp_path / "run_9").mkdir()  # one without results
    (tmp_path / "labels.json").write_text(
        json.dumps({"run_1": "A name that is as long as names of runs can get $x_1$"})
    )
    done = subprocess.run([sys.executable, TEMPLATE.path / "plot.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    sizes = {file.name: plt_size(file) for file in tmp_path.glob("*.png")}
    assert set(sizes) == {"loss_curves.png", "final_losses.png", "samples.png"}
    assert all(width == pytest.approx(5.5 * 200, abs=2) and height < 8 * 200 for width, height in sizes.values())


def plt_size(file: Path) -> tuple[int, int]:
    """Width and height in pixels, as a PNG file says them."""
    head = file.read_bytes()[16:24]
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")


@pytest.mark.parametrize(("preset", "seeds"), [(name, preset.seeds) for name, preset in TEMPLATE.presets.items()])
def test_the_program_has_the_sizes_that_are_announced(preset: str, seeds: int, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", preset)
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    assert PROGRAM.read_sizes()[1].seeds == seeds and preset in PROGRAM.PRESETS


@pytest.mark.parametrize(("name", "value", "said"), [
    ("KIT_PRESET", "huge", "KIT_PRESET='huge' is no preset; choose one of smoke, demo, full"),
    ("KIT_SEEDS", "0", "KIT_SEEDS='0' is no number of seeds"),
    ("KIT_SEEDS", "two", "a whole number from 1 up"),
])  # fmt: skip
def test_a_wrong_size_is_named(name: str, value: str, said: str, monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said):
        PROGRAM.read_sizes()


# --- worked ideas ------------------------------------------------------------------------------------


def load_worked(name: str, folder: Path) -> ModuleType:
    file = folder / "experiment.py"
    file.write_text(worked_code(TEMPLATE.name, name), encoding="utf-8")
    return load_program(file, f"nanogpt_{name.replace('/', '_')}")


@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_idea_runs_and_changes_what_it_should(arm: str, tmp_path: Path):
    assert protected_changes(TEMPLATE, TEMPLATE.code, worked_code(TEMPLATE.name, arm)) == []
    program = load_worked(arm, tmp_path)
    for preset in ("smoke", "full"):
        _, losses, judge = learn([0, 1], shortened(program, preset), program)
        assert np.isfinite(losses).all() and np.isfinite([*judge.curve.values()]).all()
        assert not np.array_equal(losses, untouched(preset)), f"the edit reaches the preset {preset}"


def shortened(program: ModuleType, preset: str):
    return replace(program.PRESETS[preset], num_steps=4, warmup_steps=1, batch_size=2, n_layer=2, dropout=0.0,
                   bfloat16=False)  # fmt: skip


@cache
def untouched(preset: str) -> np.ndarray:
    """The training losses of the template's own program."""
    return learn([0, 1], shortened(PROGRAM, preset))[1]


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.startswith(("gated", "tied"))])
def test_a_worked_idea_compares_models_of_the_size_that_it_says(arm: str, tmp_path: Path):
    program, draw = load_worked(arm, tmp_path), PROGRAM.Draw([0])
    config = program.PRESETS["demo"]
    ours, base = (
        sum(p.numel() for p in made.GPT(config, 63, 64, draw, draw).parameters()) for made in (program, PROGRAM)
    )
    ratio = {"gated_feed_forward/narrow": (0.75, 0.85), "tied_embeddings/untied": (1.0, 1.05)}.get(arm, (0.995, 1.005))
    assert ratio[0] <= ours / base <= ratio[1]


def test_rotated_queries_and_keys_see_distances_only(tmp_path: Path):
    rotate = load_worked("rotary_positions/rotary", tmp_path).rotate
    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)).unbind()
    products = rotate(q.expand(20, 8)) @ rotate(k.expand(20, 8)).T
    for distance in (0, 1, 5):
        assert_allclose(products.diagonal(distance), products[0, distance].expand(20 - distance), atol=1e-4)
    assert products[0, 0] == pytest.approx(float((q * k).sum()), abs=1e-5)
    (tmp_path / "shuffled").mkdir()
    shuffled = load_worked("rotary_positions/shuffled", tmp_path / "shuffled").rotate
    products = shuffled(q.expand(20, 8)) @ shuffled(k.expand(20, 8)).T
    assert products.diagonal(1).std() > 0.1
    assert_allclose(shuffled(q.expand(9, 8)), shuffled(q.expand(20, 8))[:9])
