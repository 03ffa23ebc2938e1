"""Grokking (Power et al. 2022, arXiv:2201.02177): small transformers learn tables of four operations.

`python experiment.py --out_dir=run_0` writes final_info.json (metrics) and all_results.npz (for plot.py).
KIT_PRESET chooses the size (smoke, demo, full), KIT_SEEDS the number of seeds. One model is trained for every
pair of seed and dataset, all at once: tensors have a leading axis of models, layers are batched products.
"""

import argparse
import itertools
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Read when torch is loaded: a thread that waits gives way soon. Without it, two runs on the same cores stall.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from torch import Tensor, nn


# --- settings: change them here, or change the function that is named ------------------------------
@dataclass
class Config:
    train_fraction: float = 0.6  # of each table; another part, VALIDATION, is never trained on
    width: int = 96  # of the Transformer
    embedding_scale: float = 1.0  # of the first embeddings, whose entries have a variance of 1 / width
    num_heads: int = 4
    num_layers: int = 1
    batch_size: int = 256  # examples per model and step, see next_batch()
    num_steps: int = 1200
    learning_rate: float = 3e-3  # see learning_rate_factor()
    warmup_steps: int = 10  # at the start
    cooldown_steps: int = 200  # at the end, so that the last measurement is a calm one
    weight_decay: float = 2.0  # of make_optimizer()
    beta1: float = 0.9  # memory of AdamW's first moment and of its second
    beta2: float = 0.98


DATASETS = ("x_plus_y", "x_minus_y", "x_div_y", "permutation")
VALIDATION = 0.3  # of each table, the same part whatever a run trains on
PRESETS = {
    "smoke": Config(width=32, batch_size=64, num_steps=100, cooldown_steps=20),
    "demo": Config(),
    "full": Config(train_fraction=0.5, width=128, num_layers=2, batch_size=512, num_steps=7500,
                   learning_rate=1e-3, cooldown_steps=0, weight_decay=1.0),
}  # fmt: skip


# --- data and sizes (protected: the same for every run) --------------------------------------------
def read_sizes() -> tuple[str, int, int, int, int]:
    """KIT_PRESET; its number of seeds, or KIT_SEEDS; modulus, order of the group, steps between measurements."""
    sizes = {"smoke": (2, 11, 6, 20), "demo": (3, 37, 60, 20), "full": (3, 97, 120, 50)}
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in sizes:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(sizes)}.")
    seeds = os.environ.get("KIT_SEEDS") or str(sizes[preset][0])
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return preset, int(seeds), *sizes[preset][1:]


def make_group(order: int) -> list[tuple[int, ...]]:
    """The permutations of some objects (6: of 3, 24: of 4, 120: of 5), or the even ones (12: of 4, 60: of 5)."""
    for n in range(1, 7):
        group, pairs = list(itertools.permutations(range(n))), list(itertools.combinations(range(n), 2))
        even = [g for g in group if sum(g[i] > g[j] for i, j in pairs) % 2 == 0]
        for found in (group, even):
            if len(found) == order:
                return found
    raise ValueError(f"there is no group of {order} permutations here; take 6, 12, 24, 60 or 120")


def make_table(name: str, modulus: int, group: list[tuple[int, ...]]) -> Tensor:
    """All examples of one operation: x, y and the result, (n, 3)."""
    p = modulus
    if name == "permutation":  # composition: the result sends i to x[y[i]]
        number = {element: i for i, element in enumerate(group)}
        rows = [(i, j, number[tuple(x[k] for k in y)]) for i, x in enumerate(group) for j, y in enumerate(group)]
    elif name == "x_plus_y":
        rows = [(x, y, (x + y) % p) for x in range(p) for y in range(p)]
    elif name == "x_minus_y":
        rows = [(x, y, (x - y) % p) for x in range(p) for y in range(p)]
    elif name == "x_div_y":
        rows = [(x, y, x * pow(y, -1, p) % p) for x in range(p) for y in range(1, p)]
    else:
        raise ValueError(f"there is no dataset {name!r}; known: {', '.join(DATASETS)}")
    return torch.tensor(rows)


class Tables:
    """The tables of all models, each shuffled by its seed: the training part stands first, validation last."""

    def __init__(self, draw: "Draw", modulus: int, group: list[tuple[int, ...]], train_fraction: float):
        if not 0 < train_fraction <= 1 - VALIDATION:
            raise SystemExit(f"train_fraction={train_fraction} has to be above 0 and at most {1 - VALIDATION:g}.")
        tables = [make_table(name, modulus, group) for name in DATASETS]
        sizes = torch.tensor([len(table) for table in tables])
        keys = draw(torch.rand, int(sizes.max())).cpu()
        self.vocabulary = 1 + max(int(table.max()) for table in tables)  # elements of the largest set
        shuffled = [table[key[: len(table)].argsort()] for key, table in zip(keys, itertools.cycle(tables))]
        examples = nn.utils.rnn.pad_sequence(shuffled, batch_first=True)  # (models, examples, 3)
        sizes = sizes.repeat(len(keys) // len(tables)).unsqueeze(1)
        num_train, num_validation = (train_fraction * sizes).long(), (VALIDATION * sizes).long()
        # what is measured: as many training examples as there are in validation, and the validation part
        place = torch.arange(int(num_validation.max()))
        parts = [(place, num_train.minimum(num_validation)), (sizes - num_validation + place, num_validation)]
        rows = [torch.where(place < count, row, 0) for row, count in parts]  # a short part is filled with row 0,
        weights = [(place < count).float() for _, count in parts]  # which does not count
        self.models = torch.arange(len(keys)).unsqueeze(1).to(draw.device)
        self.pairs, self.results = examples[..., :2].to(draw.device), examples[..., 2].to(draw.device)
        self.num_train = num_train.to(draw.device)  # (models, 1)
        self.measured = torch.stack(rows).to(draw.device)  # rows of both parts, (2, models, rows)
        self.weights = torch.stack(weights).to(draw.device)  # one, or zero for a row that does not count


# --- model -----------------------------------------------------------------------------------------
class Draw:
    """Random numbers for all models, from one generator a seed: no seed knows who runs beside it."""

    def __init__(self, seeds: list[int], device: torch.device):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # on the CPU
        self.device = device

    def __call__(self, law: Callable[..., Tensor], *shape: int) -> Tensor:
        """Numbers by torch.rand or torch.randn, (models, *shape); models are sorted by seed, then dataset."""
        return torch.cat([law((len(DATASETS), *shape), generator=g) for g in self.generators]).to(self.device)


class Linear(nn.Module):
    """One linear layer of every model: (models, ..., inputs) -> (models, ..., outputs)."""

    def __init__(self, inputs: int, outputs: int, draw: Draw):
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(bound * (2 * draw(torch.rand, inputs, outputs) - 1))
        self.bias = nn.Parameter(torch.zeros_like(self.weight[:, :1]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.baddbmm(self.bias, x.flatten(1, -2), self.weight)
        return y.view(*x.shape[:-1], -1)


def normalize(x: Tensor) -> Tensor:
    """Layer normalization without a gain of its own: the layer that follows can express it."""
    return nn.functional.layer_norm(x, x.shape[-1:])


class Block(nn.Module):
    """One decoder layer: causal self-attention and an MLP, each added to its input after normalization."""

    def __init__(self, config: Config, draw: Draw):
        super().__init__()
        width, self.num_heads = config.width, config.num_heads
        self.query = Linear(width, width, draw)
        self.key_value = Linear(width, 2 * width, draw)
        self.merge = Linear(width, width, draw)
        self.enter = Linear(width, 4 * width, draw)
        self.leave = Linear(4 * width, width, draw)

    def forward(self, x: Tensor, last: int) -> Tensor:
        """x (models, batch, tokens, width) -> the same for the last few tokens."""
        h, x = normalize(x), x[:, :, -last:]
        x = x + self.merge(self.attend(h, last))
        return x + self.leave(nn.functional.relu(self.enter(normalize(x))))

    def attend(self, h: Tensor, last: int) -> Tensor:
        """What the last few tokens read from those up to themselves; tokens are so few that plain sums are fast."""
        query = self.query(h[:, :, -last:]).unflatten(-1, (self.num_heads, -1)).unsqueeze(3)
        key, value = self.key_value(h).unflatten(-1, (2, self.num_heads, -1)).unsqueeze(2).unbind(-3)
        scores = (query * key).sum(-1) / math.sqrt(key.shape[-1])  # (models, batch, last, tokens, heads)
        future = torch.ones(last, h.shape[2], dtype=torch.bool, device=h.device).triu(h.shape[2] - last + 1)
        weights = scores.masked_fill(future.unsqueeze(-1), -torch.inf).softmax(3)
        return (weights.unsqueeze(-1) * value).sum(3).flatten(-2)


class Transformer(nn.Module):
    """Reads the tokens x, y and "=", and answers after the last of them."""

    def __init__(self, config: Config, vocabulary: int, draw: Draw):
        super().__init__()
        self.vocabulary = vocabulary
        tokens, places = (draw(torch.randn, n, config.width) / math.sqrt(config.width) for n in (vocabulary + 1, 3))
        self.tokens = nn.Parameter(config.embedding_scale * tokens)
        self.places = nn.Parameter(config.embedding_scale * places)
        self.blocks = nn.ModuleList(Block(config, draw) for _ in range(config.num_layers))
        self.answer = Linear(config.width, vocabulary, draw)

    def forward(self, pairs: Tensor) -> Tensor:
        """pairs (models, batch, 2) -> a logit for each element, (models, batch, vocabulary)."""
        rows = torch.arange(len(pairs), device=pairs.device)[:, None, None] * (self.vocabulary + 1)
        sentence = nn.functional.pad(pairs, (0, 1), value=self.vocabulary)
        x = nn.functional.embedding(sentence + rows, self.tokens.flatten(0, 1)) + self.places.unsqueeze(1)
        for block in self.blocks[:-1]:
            x = block(x, last=3)
        return self.answer(normalize(self.blocks[-1](x, last=1).squeeze(2)))


# --- training --------------------------------------------------------------------------------------
def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW treats each weight for itself; what mixes weights (a norm, clipping) has to keep the models apart."""
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2),
                             weight_decay=config.weight_decay, fused=True)  # fmt: skip


def learning_rate_factor(step: int, config: Config) -> float:
    """What multiplies the learning rate at a step: it rises in a line, stays, and falls in a line."""
    rise, fall = (step + 1) / max(1, config.warmup_steps), (config.num_steps - step) / max(1, config.cooldown_steps)
    return min(1.0, rise, fall)


def next_batch(step: int, tables: Tables, config: Config, draw: Draw) -> Tensor:
    """Rows of each model's training part, drawn with replacement, (models, batch)."""
    return (draw(torch.rand, config.batch_size) * tables.num_train).long()


def training_loss(logits: Tensor, results: Tensor, step: int) -> Tensor:
    """Loss of each example, (models, batch), from logits (models, batch, vocabulary) and results (models, batch)."""
    return nn.functional.cross_entropy(logits.transpose(1, 2), results, reduction="none")


def train(config: Config, tables: Tables, every: int, draw: Draw) -> tuple[Transformer, dict[str, np.ndarray], float]:
    """Train all models: them, what measure() found every few steps, (models, times) each, and seconds in all."""
    model = Transformer(config, tables.vocabulary, draw).to(draw.device)
    optimizer = make_optimizer(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
    found, started = [], time.perf_counter()
    for step in range(config.num_steps):
        rows = next_batch(step, tables, config, draw)
        logits = model(tables.pairs[tables.models, rows])
        loss = training_loss(logits, tables.results[tables.models, rows], step).mean(1)  # one for each model
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that no model's gradient depends on the others
        optimizer.step()
        schedule.step()
        if (step + 1) % every == 0 or step + 1 == config.num_steps:
            found.append({"step": torch.full((len(loss),), step + 1)} | measure(model, tables))
            accuracy, seconds = found[-1]["val_acc"].mean(), time.perf_counter() - started
            said = f"step {step + 1}/{config.num_steps}  loss {loss.mean():.4f}  val_acc {accuracy:.3f}"
            print(f"{said}  {seconds:.1f} s", flush=True)
    curves = {name: torch.stack([one[name].cpu() for one in found], dim=1).numpy() for name in found[0]}
    return model, curves, time.perf_counter() - started


# --- evaluation (protected: the same for every run) ------------------------------------------------
@torch.no_grad()
def measure(model: Transformer, tables: Tables) -> dict[str, Tensor]:
    """Cross-entropy and accuracy on both parts of the tables, and the norm of all weights; (models,) each."""
    squares = [weights.square().flatten(1).sum(1) for weights in model.parameters()]
    scores = {"weight_norm": torch.stack(squares).sum(0).sqrt()}
    for part, rows, weights in zip(("train", "val"), tables.measured, tables.weights, strict=True):
        logits = torch.cat([model(tables.pairs[tables.models, some]) for some in rows.split(256, dim=1)], dim=1)
        results = tables.results[tables.models, rows]
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), results, reduction="none")
        scores[f"{part}_loss"] = (weights * loss).sum(1) / weights.sum(1)
        scores[f"{part}_acc"] = (weights * (logits.argmax(-1) == results)).sum(1) / weights.sum(1)
    return scores


def first_step(steps: np.ndarray, accuracy: np.ndarray, threshold: float = 0.99) -> np.ndarray:
    """The first measured step at which each model is that accurate, (models,); the last step where none is."""
    reached = accuracy >= threshold
    return np.where(reached.any(1), steps[np.arange(len(steps)), reached.argmax(1)], steps[:, -1])


def evaluate(curves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics, each (seeds, datasets): where the curves end, and when they reach 99 percent."""
    scores = {name: curves[name][:, -1] for name in ("train_loss", "train_acc", "val_loss", "val_acc")}
    scores["steps_to_fit"] = first_step(curves["step"], curves["train_acc"])
    scores["steps_to_generalize"] = first_step(curves["step"], curves["val_acc"])
    return {metric: values.astype(float).reshape(-1, len(DATASETS)) for metric, values in scores.items()}


def summarise(scores: dict[str, np.ndarray], seconds: dict[str, float]) -> dict:
    """final_info.json. Seconds are measured once, for the whole batch of models: they have no spread."""
    info = {}
    for i, name in enumerate(DATASETS):
        seeds = {metric: values[:, i].tolist() for metric, values in scores.items()}
        means = {metric: float(np.mean(v)) for metric, v in seeds.items()}
        stderrs = {m: float(np.std(v, ddof=1)) / len(v) ** 0.5 for m, v in seeds.items() if len(v) > 1}
        info[name] = {"means": means | seconds, "stderrs": stderrs, "seeds": seeds}
    return info


def main(out_dir: Path) -> None:
    preset, num_seeds, modulus, order, every = read_sizes()
    config = PRESETS[preset]
    gpu = torch.accelerator.is_available()  # CUDA, MPS and others
    device = torch.accelerator.current_accelerator() if gpu else torch.device("cpu")
    print(f"{preset}: {num_seeds} seeds x {len(DATASETS)} datasets on {device}", flush=True)
    draw = Draw(list(range(num_seeds)), device)
    tables = Tables(draw, modulus, make_group(order), config.train_fraction)
    _, curves, seconds = train(config, tables, every, draw)
    info = summarise(evaluate(curves), {"train_time": seconds})
    out_dir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out_dir / "all_results.npz", datasets=DATASETS, **curves)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(f"{name:12s}" + "  ".join(f"{metric} {value:.4f}" for metric, value in row["means"].items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
