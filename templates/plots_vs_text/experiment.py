"""Plot or numbers? Small networks answer questions about time series, shown as a picture or as a line of digits.

After "Plots unlock time-series understanding in multimodal models" (Daswani et al., arXiv:2410.02637).
`python experiment.py --out_dir=run_0` writes final_info.json (metrics) and all_results.npz (for plot.py).
KIT_PRESET chooses the size (smoke, demo, full), KIT_SEEDS the number of seeds. The networks of all seeds are trained
at once: tensors and weights have a leading axis of models.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

# Read when torch is loaded: a thread that waits gives way soon. Without it, two runs on the same cores stall.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


# --- settings: change them here, or change the function that is named ------------------------------
@dataclass
class Config:
    picture_size: int = 32  # pixels a side, see draw_plot()
    line_thickness: float = 1.5  # pixels
    dot_size: float = 2.0  # pixels a side of the dots of a scatter plot
    num_digits: int = 2  # of each number, see write_text()
    hidden_size: int = 16  # channels after the first layer of a Reader; twice as many after the others
    num_layers: int = 3
    plot_window: tuple[int, int] = (3, 3)  # of a convolution: rows and columns of pixels ...
    plot_stride: tuple[int, int] = (2, 2)
    text_window: tuple[int, int] = (1, 9)  # ... and as many characters of a line
    text_stride: tuple[int, int] = (1, 2)
    train_noise: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)  # in the training questions
    num_train: int = 12_000  # questions of each task
    batch_size: int = 64  # questions per model and step, see train()
    num_steps: int = 400  # of each network
    learning_rate: float = 3e-3  # at the start; falls to zero along a half cosine
    weight_decay: float = 0.01


READERS = ("plot", "text")
PRESETS = {
    "smoke": Config(num_train=300, num_steps=20),
    "demo": Config(),
    "full": Config(picture_size=64, hidden_size=32, num_train=50_000, batch_size=128, num_steps=5000),
}

# --- the questions (protected: the same for every run) ---------------------------------------------
DATASETS = ("function", "correlation", "clusters", "derivative")
CHOICES = {
    "function": ("linear", "quadratic", "cubic", "exponential", "periodic"),
    "correlation": ("negative", "none", "positive"),
    "clusters": ("1", "2", "3", "4", "5"),
    "derivative": ("A", "B", "C", "D"),
}
NUM_POINTS = 24  # of each series
NOISE_LEVELS = (0.0, 0.05, 0.1, 0.2)  # standard deviation over a range of 1; each in a quarter of the questions


def read_sizes() -> tuple[str, int, int]:
    """KIT_PRESET; its number of seeds, or KIT_SEEDS; its number of questions that measure."""
    sizes = {"smoke": (2, 200), "demo": (5, 2000), "full": (5, 4000)}
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in sizes:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(sizes)}.")
    seeds = os.environ.get("KIT_SEEDS") or str(sizes[preset][0])
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return preset, int(seeds), sizes[preset][1]


def smooth_curves(n: int, waves: int, rng: np.random.Generator) -> np.ndarray:
    """Random sums of waves with their first and second derivatives, (3, n, points)."""
    angle = np.pi * np.linspace(0, 1, NUM_POINTS) * np.arange(1, waves + 1)[:, None]  # (waves, points)
    height, phase = rng.normal(size=(n, waves, 1)), rng.uniform(0, 2 * np.pi, (n, waves, 1))
    order = np.arange(1, waves + 1)[:, None]
    turns = [np.sin(angle + phase), order * np.cos(angle + phase), -(order**2) * np.sin(angle + phase)]
    return np.stack([(height / order * turn).sum(1) for turn in turns])


def function_values(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One curve a question, of the kind that its label says, (n, points)."""
    t, kinds = np.linspace(-1, 1, NUM_POINTS), np.empty((5, len(labels), NUM_POINTS))
    turn, sign, shift, bend = (rng.uniform(-1, 1, (len(labels), 1)) for _ in range(4))
    kinds[0] = t
    kinds[1] = (t - 0.5 * shift) ** 2
    kinds[2] = (t - 0.2 * shift) ** 3 - (0.45 + 0.4 * bend) * t
    kinds[3] = np.exp((3.5 + 1.5 * bend) * t * np.sign(turn))
    kinds[4] = np.sin((1.6 + 0.6 * bend) * np.pi * t + np.pi * shift)  # 1 to 2.2 waves
    return np.sign(sign) * kinds[labels, np.arange(len(labels))]


def correlated_pairs(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two curves a question with a correlation of -0.6, 0 or 0.6 before the noise, (n, 2, points)."""
    pair = smooth_curves(2 * len(labels), 4, rng)[0].reshape(2, -1, NUM_POINTS)
    one, other = (curve / np.linalg.norm(curve, axis=1, keepdims=True) for curve in pair - pair.mean(-1, keepdims=True))
    other = other - (one * other).sum(1, keepdims=True) * one
    r = 0.6 * (labels[:, None] - 1)
    return np.stack([one, r * one + np.sqrt(1 - r**2) * other / np.linalg.norm(other, axis=1, keepdims=True)], axis=1)


def derivative_choices(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A curve and four others, (n, 5, points): the label says where its derivative stands among them.

    The others are the derivative upside down, the second derivative, and the derivative of another curve.
    """
    curve, slope, bend = smooth_curves(len(labels), 3, rng)
    others = np.stack([-slope, bend, smooth_curves(len(labels), 3, rng)[1]], axis=1)
    order = rng.permuted(np.tile(np.arange(3), (len(labels), 1)), axis=1)
    choices = np.concatenate([slope[:, None], np.take_along_axis(others, order[..., None], axis=1)], axis=1)
    place = (np.arange(4) - labels[:, None]) % 4  # the right one comes first, and is turned round to its place
    return np.concatenate([curve[:, None], np.take_along_axis(choices, place[..., None], axis=1)], axis=1)


def scatter_points(labels: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points of 1 to 5 clusters in a random order, within the unit square, (n, 2, points)."""
    n = len(labels)
    cells = rng.permuted(np.tile(np.arange(9), (n, 1)), axis=1)[:, :5]  # a cluster has a ninth of the square
    centres = (np.stack([cells % 3, cells // 3], axis=1) + 0.5 + rng.uniform(-0.2, 0.2, (n, 2, 5))) / 3
    member = rng.permuted(np.arange(NUM_POINTS) % (labels[:, None] + 1), axis=1)  # (n, points)
    spread = (0.02 + 0.25 * noise)[:, None, None]
    points = np.take_along_axis(centres, np.repeat(member[:, None], 2, axis=1), axis=2)
    return np.clip(points + spread * rng.normal(size=points.shape), 0, 1)


def make_questions(name: str, n: int, seed: int, levels: tuple[float, ...] = NOISE_LEVELS) -> tuple:
    """Values (n, series, points) from 0 to 1, right answers (n,) and noise levels (n,) of a task."""
    if name not in DATASETS:
        raise ValueError(f"there is no task {name!r}; known: {', '.join(DATASETS)}")
    rng = np.random.default_rng([seed, DATASETS.index(name)])
    labels, noise = rng.integers(0, len(CHOICES[name]), n), np.resize(levels, n)
    if name == "clusters":
        return scatter_points(labels, noise, rng), labels, noise
    made = {"function": function_values, "correlation": correlated_pairs, "derivative": derivative_choices}
    values = scale(made[name](labels, rng).reshape(n, -1, NUM_POINTS))
    return scale(values + noise[:, None, None] * rng.normal(size=values.shape)), labels, noise


def scale(values: np.ndarray) -> np.ndarray:
    """Every series from 0 to 1, as an axis of its own would show it."""
    low, high = values.min(-1, keepdims=True), values.max(-1, keepdims=True)
    return (values - low) / (high - low)


# --- the two ways to show them ---------------------------------------------------------------------
def draw_plot(name: str, values: np.ndarray, config: Config) -> np.ndarray:
    """Values as pictures, (n, colours, rows, columns) from 0 to 255: each series is a line in its own colour."""
    size = config.picture_size
    draw = draw_dots if name == "clusters" else draw_lines
    ink = np.concatenate([draw(part, size, config) for part in np.array_split(values, math.ceil(len(values) / 500))])
    return np.round(255 * ink).astype(np.uint8)


def draw_lines(values: np.ndarray, size: int, config: Config) -> np.ndarray:
    """Anti-aliased lines: a pixel is as dark as its centre is near to a segment, (n, series, size, size)."""
    segments = values.shape[-1] - 1
    step = (size - 3) / segments  # pixels between two points; a pixel is left free all round
    columns, rows = np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)[:, None]
    heights = (1 + (size - 3) * (1 - values)).astype(np.float32)  # row 0 is at the top
    nearest = np.floor((columns - 1) / step).astype(int)
    reach = math.ceil((config.line_thickness / 2 + 0.5) / step)
    distance = np.full((*values.shape[:-1], size, size), np.inf, dtype=np.float32)
    for offset in range(-reach, reach + 1):  # the few segments that a column can meet
        first = np.clip(nearest + offset, 0, segments - 1)
        top, rise = heights[..., None, first], (heights[..., first + 1] - heights[..., first])[..., None, :]
        across = columns - (1 + first * step).astype(np.float32)
        along = np.clip((across * step + (rows - top) * rise) / (step**2 + rise**2), 0, 1)
        distance = np.minimum(distance, (across - along * step) ** 2 + (rows - top - along * rise) ** 2)
    return np.clip(config.line_thickness / 2 + 0.5 - np.sqrt(distance), 0, 1)


def draw_dots(values: np.ndarray, size: int, config: Config) -> np.ndarray:
    """A square dot for each point x, y: the part of a pixel that it covers, (n, 1, size, size)."""
    places = 1.5 + (size - 3) * np.stack([values[:, 0], 1 - values[:, 1]])[..., None]  # (2, n, points, 1)
    edges, half = np.arange(size), config.dot_size / 2
    covered = np.clip(np.minimum(edges + 1, places + half) - np.maximum(edges, places - half), 0, 1)
    ink = np.einsum("npc,npr->nrc", covered[0], covered[1], optimize=True)
    return np.clip(ink, 0, 1)[:, None]


CHARACTERS = "0123456789 ;"


def write_text(name: str, values: np.ndarray, config: Config) -> np.ndarray:
    """Values as lines of text, (n, length) of places in CHARACTERS: `07 12;53 40;99 71;` for two series of three.

    As in a table: a row for each step of the series, or for each point of a scatter plot, ends in a semicolon.
    """
    rows = values.swapaxes(1, 2)
    numbers = np.round(rows * (10**config.num_digits - 1)).astype(int)
    digits = numbers[..., None] // 10 ** np.arange(config.num_digits)[::-1] % 10
    after = np.full((*numbers.shape, 1), CHARACTERS.index(" "))
    after[:, :, -1] = CHARACTERS.index(";")
    return np.concatenate([digits, after], axis=-1).reshape(len(values), -1).astype(np.uint8)


def show(reader: str, name: str, values: np.ndarray, config: Config) -> Tensor:
    """What a reader is given: pictures (n, colours, rows, columns) or lines of characters (n, length)."""
    return torch.tensor((draw_plot if reader == "plot" else write_text)(name, values, config))


# --- model -----------------------------------------------------------------------------------------
class Draw:
    """Random numbers for all models, from one generator a seed: no seed knows who runs beside it."""

    def __init__(self, seeds: list[int], device: torch.device):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # on the CPU
        self.device = device

    def __call__(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1, (models, *shape)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(self.device)


class Convolution(nn.Module):
    """One convolution of every model: (models, batch, inputs, rows, columns), and so with outputs."""

    def __init__(self, inputs: int, outputs: int, window: tuple[int, int], stride: tuple[int, int], draw: Draw):
        super().__init__()
        self.stride, self.padding = stride, (window[0] // 2, window[1] // 2)
        bound = math.sqrt(6 / (inputs * math.prod(window)))  # He et al. 2015, arXiv:1502.01852
        self.weight = nn.Parameter(bound * (2 * draw(outputs, inputs, *window) - 1))
        self.bias = nn.Parameter(0 * draw(outputs))

    def forward(self, x: Tensor) -> Tensor:
        each = zip(x, self.weight, self.bias, strict=True)  # on a CPU faster than one convolution with groups
        return torch.stack([F.conv2d(*model, self.stride, self.padding) for model in each])


class Reader(nn.Module):
    """A convolutional network for pictures, or for text as a picture of one row with a colour for each character."""

    def __init__(self, reader: str, example: Tensor, choices: int, config: Config, draw: Draw):
        super().__init__()
        window = config.plot_window if reader == "plot" else config.text_window
        stride = config.plot_stride if reader == "plot" else config.text_stride
        self.reader, self.models = reader, len(draw.generators)
        sizes = [config.hidden_size] + [2 * config.hidden_size] * (config.num_layers - 1)
        inputs = [example.shape[1] if reader == "plot" else len(CHARACTERS), *sizes]
        pairs = zip(inputs, sizes, strict=False)
        self.layers = nn.ModuleList(Convolution(a, b, window, stride, draw) for a, b in pairs)
        with torch.no_grad():
            features = self.features(example.expand(self.models, *example.shape).to(draw.device)).shape[-1]
        bound = 1 / math.sqrt(features)
        self.weight = nn.Parameter(bound * (2 * draw(features, choices) - 1))
        self.bias = nn.Parameter(0 * draw(1, choices))

    def features(self, shown: Tensor) -> Tensor:
        """(models, batch, ...) as it is shown -> (models, batch, features)."""
        if self.reader == "plot":
            x = shown.float() / 255  # (models, batch, colours, rows, columns)
        else:
            x = F.one_hot(shown.long(), len(CHARACTERS)).float().mT.unsqueeze(-2)  # one row
        for layer in self.layers:
            x = F.relu(layer(x))
        return x.flatten(2)

    def forward(self, shown: Tensor) -> Tensor:
        """(models, batch, ...) -> the logits of the choices, (models, batch, choices)."""
        return torch.baddbmm(self.bias, self.features(shown), self.weight)


# --- training --------------------------------------------------------------------------------------
def train(reader: str, name: str, config: Config, draw: Draw) -> tuple[Reader, np.ndarray]:
    """Train the networks of all seeds on one task, shown in one way; their losses (models, num_steps)."""
    values, labels, _ = make_questions(name, config.num_train, seed=1, levels=config.train_noise)
    shown = show(reader, name, values, config).to(draw.device)
    answers = torch.tensor(labels, device=draw.device)
    model = Reader(reader, shown[:1], len(CHOICES[name]), config, draw)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay,
                                  fused=True)  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.num_steps)
    losses, started = torch.zeros(model.models, config.num_steps, device=draw.device), time.perf_counter()
    for step in range(config.num_steps):
        rows = (draw(config.batch_size) * len(shown)).long()  # (models, batch)
        logits = model(shown[rows])
        loss = F.cross_entropy(logits.flatten(0, 1), answers[rows].flatten(), reduction="none")
        loss = loss.reshape(rows.shape).mean(1)  # one for each model
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that no model's gradient depends on the others
        optimizer.step()
        schedule.step()
        losses[:, step] = loss.detach()
        if (step + 1) % 50 == 0 or step + 1 == config.num_steps:
            recent, seconds = losses[:, max(0, step - 49) : step + 1].mean(), time.perf_counter() - started
            said = f"step {step + 1}/{config.num_steps}  {reader}_loss {recent:.4f}  {seconds:.1f} s  {name}"
            print(said, flush=True)
    return model, losses.cpu().numpy()


# --- evaluation (protected: the same for every run) ------------------------------------------------
@torch.no_grad()
def evaluate(model: Reader, name: str, num_eval: int, config: Config) -> tuple[np.ndarray, int]:
    """Share of right answers by noise level, (models, levels), and the pixels or characters of a question."""
    values, labels, noise = make_questions(name, num_eval, seed=2)
    shown, device = show(model.reader, name, values, config), model.weight.device
    chosen = [
        model(part.to(device).expand(model.models, *part.shape)).argmax(-1).cpu().numpy() for part in shown.split(250)
    ]
    right = np.concatenate(chosen, axis=1) == labels
    return np.stack([right[:, noise == level].mean(1) for level in NOISE_LEVELS], axis=1), shown[0].numel()


def summarise(right: dict[str, np.ndarray], sizes: dict[str, int], seconds: dict[str, float]) -> dict:
    """One task's entry of final_info.json; sizes and seconds have no spread."""
    scores = {f"{reader}_accuracy": right[reader].mean(1) for reader in READERS}
    scores["plot_advantage"] = scores["plot_accuracy"] - scores["text_accuracy"]
    fixed = {"plot_pixels": sizes["plot"], "text_characters": sizes["text"]}
    fixed |= {f"{reader}_time": seconds[reader] for reader in READERS}
    means = {metric: float(values.mean()) for metric, values in scores.items()}
    spread = {m: float(np.std(v, ddof=1)) / len(v) ** 0.5 for m, v in scores.items() if len(v) > 1}
    return {"means": means | fixed, "stderrs": spread, "seeds": {m: v.tolist() for m, v in scores.items()}}


def main(out_dir: Path) -> None:
    preset, num_seeds, num_eval = read_sizes()
    config, info, arrays = PRESETS[preset], {}, {"datasets": DATASETS, "noise": NOISE_LEVELS}
    gpu = torch.accelerator.is_available()  # CUDA, MPS and others
    device = torch.accelerator.current_accelerator() if gpu else torch.device("cpu")
    if preset != "full":
        torch.set_num_threads(1)  # so small networks gain little from more, and lose much where others share the cores
    print(f"{preset}: {num_seeds} seeds x {len(DATASETS)} tasks x {len(READERS)} readers on {device}", flush=True)
    for name in DATASETS:
        right, sizes, seconds = {}, {}, {}
        for reader in READERS:
            started = time.perf_counter()
            model, losses = train(reader, name, config, Draw(list(range(num_seeds)), device))
            right[reader], sizes[reader] = evaluate(model, name, num_eval, config)
            seconds[reader] = time.perf_counter() - started
            arrays |= {f"{name}_{reader}_losses": losses, f"{name}_{reader}_accuracy": right[reader]}
        info[name] = summarise(right, sizes, seconds)
        values, labels, _ = make_questions(name, 2, seed=38)  # two examples, the second one with some noise
        arrays[f"{name}_plot"] = draw_plot(name, values, config)
        arrays[f"{name}_answer"] = [CHOICES[name][label] for label in labels]
        arrays[f"{name}_text"] = ["".join(CHARACTERS[c] for c in line) for line in write_text(name, values, config)]
    out_dir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out_dir / "all_results.npz", **arrays)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(f"{name:12s}" + "  ".join(f"{metric} {value:.4g}" for metric, value in row["means"].items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
