"""Optimizers with and without caution (Liang et al. 2024, arXiv:2411.16085): AdamW, Lion and momentum.

`python experiment.py --out_dir=run_0` writes final_info.json (metrics) and all_results.npz (for plot.py). An optimizer
trains small language models on an artificial language whose entropy is known, at three learning rates, and walks down
two surfaces in the plane. KIT_PRESET chooses the size (smoke, demo, full), KIT_SEEDS the number of seeds. All models
are trained at once: every tensor has a leading axis of models.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Read when torch is loaded: a thread that waits gives way soon. Without it, two runs on the same cores stall.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]  # by name, each (models, ...)


# --- settings: change them here, or change the function that is named ------------------------------
@dataclass
class Config:
    rule: str = "adamw"  # the optimizer of the language models, one of RULES
    cautious: bool = False  # whether adjust() masks its updates
    learning_rate: float = 0.016  # of "text", after the warm-up; see learning_rate_at()
    beta1: float = 0.9  # memory of the momentum
    beta2: float = 0.99  # memory of adamw's second moment; of lion's momentum
    weight_decay: float = 0.1
    grad_clip: float = 1.0  # largest norm of one model's gradient
    warmup: float = 0.05  # share of the steps in which the learning rate rises
    num_steps: int = 800
    batch_size: int = 16  # windows per model and step
    n_layer: int = 2  # of the transformer
    n_head: int = 2
    n_embd: int = 32
    plane_rule: str = "momentum"  # the optimizer on the two surfaces, with the same betas and the same adjust()
    plane_rate: float = 0.01  # its learning rate, which stays as it is
    plane_steps: int = 80


PRESETS = {
    "smoke": Config(num_steps=40, n_embd=16, n_layer=1, plane_steps=40),
    "demo": Config(),
    "full": Config(num_steps=5000, batch_size=64, n_layer=6, n_head=6, n_embd=384, learning_rate=1e-3),
}


# --- sizes and data (protected: the same for every run) --------------------------------------------
RATES = {"text_slow": 0.5, "text": 1.0, "text_fast": 2.0}  # datasets of text, and the share of learning_rate
SURFACES = ("quadratic", "rosenbrock")
LETTERS = " abcdefghijklmnopqrstuvwxyz"


class Sizes(NamedTuple):
    """What a preset fixes beside its Config."""

    seeds: int
    words: int  # of the language
    context: int  # characters that a prediction may be made from, at most
    windows: int  # of text to train on
    held_out: int  # windows
    evaluations: int  # during training, evenly spread; the last one counts
    starts: int  # on each surface, for each seed


def read_sizes() -> tuple[str, Sizes]:
    """KIT_PRESET and what it fixes; KIT_SEEDS is another number of seeds."""
    sizes = {"smoke": Sizes(2, 60, 16, 500, 50, 4, 10), "demo": Sizes(5, 120, 32, 20_000, 400, 20, 100),
             "full": Sizes(3, 2000, 256, 100_000, 500, 50, 1000)}  # fmt: skip
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in sizes:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(sizes)}.")
    seeds = os.environ.get("KIT_SEEDS") or str(sizes[preset].seeds)
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return preset, sizes[preset]._replace(seeds=int(seeds))


class Language:
    """A chain of words: three times in five one of the word before's six favourites, else any, by Zipf's law."""

    def __init__(self, size: int, favourites: int = 6, share: float = 0.6):
        rng, words = np.random.default_rng(0), set()
        while len(words) < size:
            syllables = np.char.add(rng.choice(list("bdfgklmnprstvz"), 3), rng.choice(list("aeiou"), 3))
            words.add("".join(syllables[: rng.integers(1, 4)]) + rng.choice(["", "n", "s", "r"]))
        self.words = sorted(words, key=lambda word: (len(word), word))  # frequent words are short
        self.place = {word: i for i, word in enumerate(self.words)}
        self.zipf = 1 / (np.arange(size) + 2.7)
        self.zipf *= (1 - share) / self.zipf.sum()
        self.followers = np.stack([rng.choice(size, favourites, replace=False) for _ in range(size)])
        self.weights = share / np.arange(1, favourites + 1) / (1 / np.arange(1, favourites + 1)).sum()
        self.first = np.full(size, 1 / size)  # chances of a word wherever one looks: the chain's stationary law
        for _ in range(200):
            self.first = self.zipf + np.bincount(
                self.followers.ravel(), np.outer(self.first, self.weights).ravel(), size
            )

    def after(self, word: int) -> np.ndarray:
        """Chances of each word after one, (words,)."""
        chances = self.zipf.copy()
        chances[self.followers[word]] += self.weights
        return chances

    def write(self, n: int, context: int, seed: int) -> np.ndarray:
        """Windows of text, each a space and then words, cut after context characters more, (n, context + 1)."""
        rng = np.random.default_rng(seed)
        text = [rng.choice(len(self.words), n, p=self.first)]
        for _ in range(context // 3 + 1):  # a word and its space take three characters or more
            favourite = self.followers[text[-1], rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())]
            other = rng.choice(len(self.words), n, p=self.zipf / self.zipf.sum())
            text.append(np.where(rng.random(n) < self.weights.sum(), favourite, other))
        lines = (" " + " ".join(self.words[i] for i in row) for row in np.stack(text, axis=1))
        return np.array([[LETTERS.index(c) for c in line[: context + 1]] for line in lines])

    def least_loss(self, windows: np.ndarray) -> float:
        """Nats a character that a reader pays who knows the language: the mean over windows."""
        total = 0.0
        for window in windows:
            *whole, last = "".join(LETTERS[i] for i in window[1:]).split(" ")
            places = [self.place[word] for word in whole]
            chances = [self.first, *map(self.after, places)]
            total -= sum(math.log(chance[i]) for chance, i in zip(chances, places, strict=False))
            total -= math.log(sum(chances[-1][i] for i, word in enumerate(self.words) if word.startswith(last)))
        return total / windows[:, 1:].size


def surface(name: str, points: Tensor, angles: Tensor) -> Tensor:
    """Height of a surface, whose least is zero; points (models, 2), angles of the quadratic's axes (models,)."""
    x, y = points.unbind(-1)
    if name == "quadratic":
        along, across = x * angles.cos() + y * angles.sin(), y * angles.cos() - x * angles.sin()
        return (along.square() + 25 * across.square()) / 2
    return 0.1 * (1 - x).square() + (y - x.square()).square()  # Rosenbrock's valley, bent and flat


# --- model -----------------------------------------------------------------------------------------
class Draw:
    """Random numbers from one generator a seed, on the CPU: no seed knows who runs beside it."""

    def __init__(self, seeds: list[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, law: Callable[..., Tensor], *shape: int, **kind: torch.dtype) -> Tensor:
        """Numbers by torch.rand or torch.randn, (seeds, *shape)."""
        return torch.stack([law(shape, generator=g, **kind) for g in self.generators])


def make_weights(config: Config, context: int, draw: Draw) -> Weights:
    """Weights of a small transformer for every seed."""
    n, small = config.n_embd, 0.02 / math.sqrt(2 * config.n_layer)
    shapes = {"characters": (len(LETTERS), n, 0.02), "places": (context, n, 0.02), "head": (n, len(LETTERS), 0.02)}
    for i in range(config.n_layer):
        shapes |= {f"look_{i}": (n, 3 * n, 0.02), f"leave_{i}": (n, n, small)}  # attention
        shapes |= {f"wide_{i}": (n, 4 * n, 0.02), f"narrow_{i}": (4 * n, n, small)}  # feed-forward
    return {name: std * draw(torch.randn, rows, columns) for name, (rows, columns, std) in shapes.items()}


def forward(w: Weights, x: Tensor, config: Config) -> Tensor:
    """Logits of each next character: (models, batch, time) -> (models, batch, time, characters)."""
    (models, batch, time), n = x.shape, (config.n_embd,)
    known = F.one_hot(x.flatten(1), len(LETTERS)).to(w["head"].dtype)
    h = torch.bmm(known, w["characters"]) + w["places"][:, :time].repeat(1, batch, 1)  # (models, batch * time, n)
    for i in range(config.n_layer):
        qkv = torch.bmm(F.rms_norm(h, n), w[f"look_{i}"]).view(models * batch, time, 3, config.n_head, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (models * batch, heads, time, channels of a head)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + torch.bmm(seen.transpose(1, 2).reshape(h.shape), w[f"leave_{i}"])
        h = h + torch.bmm(F.gelu(torch.bmm(F.rms_norm(h, n), w[f"wide_{i}"])), w[f"narrow_{i}"])
    return torch.bmm(F.rms_norm(h, n), w["head"]).view(models, batch, time, -1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of each model in nats a character, (models,)."""
    losses = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none")
    return losses.view(len(targets), -1).mean(1)


# --- optimizers ------------------------------------------------------------------------------------
class Memory(NamedTuple):
    """What an optimizer remembers of one tensor."""

    first: Tensor  # momentum
    second: Tensor  # mean square of the gradient


def adamw(gradient: Tensor, memory: Memory, step: int, config: Config) -> Tensor:
    """Adam (Kingma and Ba 2015): the mean of the gradients over the root of their mean square; steps count from 1."""
    memory.first.lerp_(gradient, 1 - config.beta1)
    memory.second.lerp_(gradient.square(), 1 - config.beta2)
    spread = (memory.second / (1 - config.beta2**step)).sqrt()
    return memory.first / (1 - config.beta1**step) / (spread + 1e-8)


def lion(gradient: Tensor, memory: Memory, step: int, config: Config) -> Tensor:
    """Lion (Chen et al. 2023): the sign of momentum and gradient together; it wants a lower learning rate."""
    update = memory.first.lerp(gradient, 1 - config.beta1).sign()
    memory.first.lerp_(gradient, 1 - config.beta2)
    return update


def momentum(gradient: Tensor, memory: Memory, step: int, config: Config) -> Tensor:
    """Gradient descent with momentum (Polyak 1964)."""
    return memory.first.mul_(config.beta1).add_(gradient)


RULES = {"adamw": adamw, "lion": lion, "momentum": momentum}


def mask_of(update: Tensor, gradient: Tensor) -> Tensor:
    """One where an update goes down the gradient of its component, zero where it goes up; (models, ...)."""
    return (update * gradient > 0).to(update.dtype)


def rescale(mask: Tensor) -> Tensor:
    """A mask whose mean over each model's tensor is one, so that the updates keep their size; at most 1,000-fold."""
    return mask / mask.mean(tuple(range(1, mask.dim())), keepdim=True).clamp(min=1e-3)


def adjust(update: Tensor, gradient: Tensor, progress: float, config: Config) -> Tensor:
    """What is applied of an optimizer's update, one tensor at a time; progress goes from 0 to 1 in training."""
    if not config.cautious:
        return update
    return update * rescale(mask_of(update, gradient))


class Optimizer:
    """Changes the weights of all models in place."""

    def __init__(self, weights: Weights, rule: str, weight_decay: float, config: Config):
        self.weights, self.rule, self.weight_decay, self.config = weights, RULES[rule], weight_decay, config
        self.memory = {name: Memory(torch.zeros_like(w), torch.zeros_like(w)) for name, w in weights.items()}
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: Weights, rates: Tensor, progress: float) -> Tensor:
        """One step, rates (models,); the share of each model's components whose update goes down the gradient."""
        self.steps += 1
        agreed, count = torch.zeros_like(rates), sum(w[0].numel() for w in self.weights.values())
        for name, w in self.weights.items():
            update = self.rule(gradients[name], self.memory[name], self.steps, self.config)
            agreed += mask_of(update, gradients[name]).flatten(1).sum(1)
            rate = rates.view(-1, *[1] * (w.dim() - 1))
            w.mul_(1 - rate * self.weight_decay)
            w.sub_(rate * adjust(update, gradients[name], progress, self.config))
        return agreed / count


def learning_rate_at(progress: float, config: Config) -> float:
    """Rises along a line during the warm-up, then falls to zero along half a cosine; a share of the highest."""
    if progress < config.warmup:
        return progress / config.warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup)))


@torch.no_grad()
def clip(gradients: Weights, limit: float) -> Weights:
    """Each model's gradient, shortened to a norm of at most limit."""
    norms = torch.stack([g.square().flatten(1).sum(1) for g in gradients.values()]).sum(0).sqrt()
    return {name: g * (limit / norms.clamp(min=limit)).view(-1, 1, 1) for name, g in gradients.items()}


# --- training --------------------------------------------------------------------------------------
def train(config: Config, sizes: Sizes, judge: "Judge", rates: list[float], draw: Draw) -> tuple[Weights, np.ndarray]:
    """Models for every rate and seed, sorted by rate, then seed; and their shares of agreement, (num_steps, models)."""
    device, data = judge.device, torch.from_numpy(judge.language.write(sizes.windows, sizes.context, seed=1))
    start = make_weights(config, sizes.context, draw)  # of each seed; the same, as are its windows, for every rate
    weights = {k: w.repeat(len(rates), 1, 1).to(device).requires_grad_() for k, w in start.items()}
    optimizer = Optimizer(weights, config.rule, config.weight_decay, config)
    scale = config.learning_rate * torch.tensor(rates).repeat_interleave(len(draw.generators)).to(device)
    agreement, started, every = [], time.perf_counter(), math.ceil(config.num_steps / sizes.evaluations)
    for step in range(1, config.num_steps + 1):
        rows = (draw(torch.rand, config.batch_size) * len(data)).long()
        text = data[rows].repeat(len(rates), 1, 1).to(device)  # (models, batch, context + 1)
        loss = cross_entropy(forward(weights, text[..., :-1], config), text[..., 1:])
        found = torch.autograd.grad(loss.sum(), list(weights.values()))  # a sum: no model's gradient depends on others
        gradients = clip(dict(zip(weights, found, strict=True)), config.grad_clip)
        progress = step / config.num_steps
        agreement.append(optimizer.step(gradients, scale * learning_rate_at(progress, config), progress))
        if step % every == 0 or step == config.num_steps:
            judge.measure(lambda x: forward(weights, x, config), step)
        if step % max(1, config.num_steps // 40) == 0:
            seconds = time.perf_counter() - started
            print(f"step {step}/{config.num_steps}  loss {loss.detach().mean():.4f}  {seconds:.1f} s", flush=True)
    return weights, torch.stack(agreement).cpu().numpy()


def walk(config: Config, name: str, points: Tensor, angles: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Down a surface from all starting points at once: paths (steps + 1, models, 2) and heights (steps + 1, models)."""
    points = points.clone().requires_grad_()
    optimizer = Optimizer({"point": points}, config.plane_rule, 0.0, config)
    rates = torch.full((len(points),), config.plane_rate, dtype=points.dtype)
    path, heights = [points.detach().clone()], []
    for step in range(1, config.plane_steps + 1):
        height = surface(name, points, angles)
        optimizer.step({"point": torch.autograd.grad(height.sum(), points)[0]}, rates, step / config.plane_steps)
        path.append(points.detach().clone())
        heights.append(height.detach())
    heights.append(surface(name, points, angles).detach())
    return torch.stack(path).numpy(), torch.stack(heights).numpy()


# --- evaluation (protected: the same for every run) ------------------------------------------------
class Judge:
    """Measures all language models on the same held-out text, in nats a character."""

    def __init__(self, sizes: Sizes, models: int, device: torch.device):
        self.language, self.models, self.device, self.sizes = Language(sizes.words), models, device, sizes
        windows = self.language.write(sizes.held_out, sizes.context, seed=2)
        self.least = self.language.least_loss(windows)  # nobody can do better, but by chance
        self.windows = torch.from_numpy(windows).to(device)
        self.steps: list[int] = []
        self.curve: list[np.ndarray] = []  # the loss of every model, at those steps

    @torch.no_grad()
    def measure(self, model: Callable[[Tensor], Tensor], step: int) -> None:
        """One more point of the curve."""
        if len(self.steps) == self.sizes.evaluations:
            raise SystemExit(f"There are {self.sizes.evaluations} evaluations and no more.")
        total = torch.zeros(self.models, device=self.device)
        for some in self.windows.split(50):
            text = some.expand(self.models, -1, -1)
            total += len(some) * cross_entropy(model(text[..., :-1]), text[..., 1:])
        changed = text.clone()
        changed[..., -2] = 0
        if (model(changed[..., :-1]) - model(text[..., :-1]))[:, :, :-1].abs().max() > 1e-3:
            raise SystemExit("The model sees what it has to predict: what comes later changes a prediction.")
        self.steps.append(step)
        self.curve.append((total / len(self.windows)).cpu().double().numpy())


def scores_of(curve: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics from losses in the order of training, (evaluations, models): each (models,)."""
    if not np.isfinite(curve).all():
        raise SystemExit("The loss is not finite: training has diverged; try a smaller learning rate.")
    return {"final_loss": curve[-1], "mean_loss": curve.mean(0), "uphill": (np.diff(curve, axis=0) > 0).mean(0)}


def summarise(scores: dict[str, np.ndarray], train_time: float) -> dict:
    """A dataset's part of final_info.json, scores (seeds,). The time is that of all models together: without spread."""
    seeds = {metric: values.tolist() for metric, values in scores.items()}
    means = {metric: float(np.mean(v)) for metric, v in seeds.items()}
    stderrs = {m: float(np.std(v, ddof=1)) / len(v) ** 0.5 for m, v in seeds.items() if len(v) > 1}
    return {"means": means | {"train_time": train_time}, "stderrs": stderrs, "seeds": seeds}


def read_texts(config: Config, sizes: Sizes, device: torch.device) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Scores of every dataset of text, and arrays for plot.py."""
    judge = Judge(sizes, len(RATES) * sizes.seeds, device)
    _, agreement = train(config, sizes, judge, list(RATES.values()), Draw(list(range(sizes.seeds))))
    if judge.steps[-1] != config.num_steps:
        raise SystemExit("The last evaluation has to come after the last step.")
    curves = np.split(np.stack(judge.curve), len(RATES), axis=1)  # each (evaluations, seeds)
    arrays = {"steps": judge.steps, "curves": np.stack(curves), "least": judge.least, "agreement": agreement}
    return {name: scores_of(curve) for name, curve in zip(RATES, curves, strict=True)}, arrays


def walk_surfaces(config: Config, sizes: Sizes) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Scores of both surfaces, each seed's a mean over its starting points; and arrays for plot.py."""
    draw, scores, arrays = Draw(list(range(1000, 1000 + sizes.seeds))), {}, {}
    for name in SURFACES:
        points = draw(torch.rand, sizes.starts, 2, dtype=torch.float64) * 4 - 2
        angles = draw(torch.rand, sizes.starts, dtype=torch.float64) * math.pi
        path, heights = walk(config, name, points.flatten(0, 1), angles.flatten())
        scores[name] = {m: v.reshape(sizes.seeds, -1).mean(1) for m, v in scores_of(heights).items()}
        arrays |= {f"{name}/path": path[:, :4], f"{name}/heights": heights, f"{name}/angles": angles[0, :4].numpy()}
    return scores, arrays


def main(out_dir: Path) -> None:
    preset, sizes = read_sizes()
    config, started = PRESETS[preset], time.perf_counter()
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    print(f"{preset}: {sizes.seeds} seeds x {len(RATES)} learning rates on {device}", flush=True)
    scores, arrays = read_texts(config, sizes, device)
    plane_scores, plane_arrays = walk_surfaces(config, sizes)
    seconds = time.perf_counter() - started
    info = {name: summarise(found, seconds) for name, found in (scores | plane_scores).items()}
    out_dir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out_dir / "all_results.npz", texts=list(RATES), surfaces=SURFACES, **arrays, **plane_arrays)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(f"{name:12s}" + "  ".join(f"{metric} {value:.4f}" for metric, value in row["means"].items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
