"""A denoising diffusion model (DDPM, Ho et al. 2020, arXiv:2006.11239) on four sets of points in the plane.

    python experiment.py --out_dir=run_0

writes run_0/final_info.json (the metrics) and run_0/all_results.npz (what plot.py draws). KIT_PRESET chooses the
size (smoke, demo, full), KIT_SEEDS the number of seeds. One model is trained for every pair of seed and dataset,
all of them at once: every tensor has a leading axis of models, so that a linear layer is one batched matrix product.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional as F

# --- settings -------------------------------------------------------------------------------------


@dataclass
class Config:
    """The baseline; what an idea would change stands here, or in the function that is named."""

    # noise, see class Diffusion
    num_timesteps: int = 100
    beta_start: float = 1e-4  # linear schedule as for 1000 steps; rescaled to num_timesteps
    beta_end: float = 0.02
    # model, see class Denoiser
    hidden_size: int = 96
    num_layers: int = 3  # residual layers
    embedding_size: int = 32  # of each coordinate, and of time
    max_frequency: float = 8.0  # of the coordinates' embedding, in radians per unit length
    # training, see train()
    batch_size: int = 192
    num_steps: int = 2500
    learning_rate: float = 3e-3  # falls to zero along a half cosine
    weight_decay: float = 0.0
    ema_decay: float = 0.995
    # evaluation
    num_seeds: int = 3
    num_train: int = 10_000  # points in each training set
    num_eval: int = 500  # held-out points for eval_loss
    num_samples: int = 2000  # generated, and held-out, points for kl_divergence


PRESETS = {
    "smoke": {"num_seeds": 2, "num_steps": 150, "num_eval": 100, "num_samples": 300},
    "demo": {},
    "full": {"num_seeds": 5, "hidden_size": 256, "num_layers": 4, "embedding_size": 64, "batch_size": 256,
             "num_steps": 10_000, "learning_rate": 1e-3, "ema_decay": 0.999, "num_eval": 1000, "num_samples": 5000},
}  # fmt: skip
DATASETS = ("circle", "dino", "line", "moons")


def read_config() -> Config:
    """The preset that KIT_PRESET names, with KIT_SEEDS seeds where that is set."""
    preset = os.environ.get("KIT_PRESET", "demo")
    if preset not in PRESETS:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(PRESETS)}.")
    config = replace(Config(), **PRESETS[preset])
    seeds = os.environ.get("KIT_SEEDS") or str(config.num_seeds)
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return replace(config, num_seeds=int(seeds))


# --- data (protected: the same for every run) -----------------------------------------------------


def outline_dino(n: int, rng: np.random.Generator) -> np.ndarray:
    """Points on the outline of a dinosaur, and its eye, (n, 2)."""
    corners = np.array([
        99,82, 99,86, 96,89, 91,90, 88,94, 83,96, 78,94, 75,89, 73,82, 70,74, 66,68, 60,64, 52,63, 44,64, 37,62,
        31,57, 26,50, 20,43, 13,40, 6,42, 1,47, 3,38, 9,31, 17,29, 25,31, 31,33, 33,26, 32,18, 31,10, 37,10, 43,10,
        43,18, 45,25, 50,23, 55,23, 57,18, 56,10, 62,10, 68,10, 68,18, 70,26, 75,33, 78,41, 79,50, 80,58, 81,66,
        83,73, 86,78, 92,79, 99,82,
    ], dtype=float).reshape(-1, 2)  # fmt: skip
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    along = rng.uniform(0, length[-1], n)
    points = np.stack([np.interp(along, length, axis) for axis in corners.T], axis=1)
    points[: n // 50] = 85, 88  # the eye
    return points


def draw_points(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Raw points of one dataset, (n, 2)."""
    if name == "dino":
        return outline_dino(n, rng)
    u = rng.uniform(0, 1, n)
    if name == "circle":
        return np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], axis=1)
    if name == "line":
        return np.stack([u, 0.5 * u], axis=1)
    if name == "moons":
        upper = np.arange(n) % 2 == 0
        x, y = np.cos(np.pi * u), np.sin(np.pi * u)
        return np.stack([np.where(upper, x, 1 - x), np.where(upper, y, 0.5 - y)], axis=1)
    raise ValueError(f"there is no dataset {name!r}; known: {', '.join(DATASETS)}")


def make_dataset(name: str, n: int, seed: int) -> Tensor:
    """Draw n points, (n, 2): zero mean and unit variance over both axes together, and Gaussian jitter of 0.03."""
    reference = draw_points(name, 20_000, np.random.default_rng(0))  # one scale for all draws
    rng = np.random.default_rng(seed)
    points = (draw_points(name, n, rng) - reference.mean(0)) / (reference - reference.mean(0)).std()
    return torch.tensor(points + rng.normal(0, 0.03, points.shape), dtype=torch.float32)


# --- diffusion ------------------------------------------------------------------------------------


class Diffusion:
    """The noise schedule, and what follows from it: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise."""

    def __init__(self, config: Config, device: torch.device):
        T = config.num_timesteps
        betas = torch.linspace(config.beta_start, config.beta_end, T, dtype=torch.float64) * 1000 / T
        alpha_bar = torch.cumprod(1 - betas, dim=0)
        assert alpha_bar[-1] < 0.01, f"sampling starts from pure noise, but alpha_bar_T is {alpha_bar[-1]:.3f}"
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        variance = betas * (1 - previous) / (1 - alpha_bar)  # of x_{t-1} given x_t and x_0
        self.num_timesteps = T
        self.betas, self.alpha_bar, self.variance = (v.float().to(device) for v in (betas, alpha_bar, variance))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies data and noise at timestep t, (models, batch) -> twice (models, batch, 1)."""
        alpha_bar = self.alpha_bar[t].unsqueeze(-1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self.scales(t)
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to put out."""
        return noise

    def predicted_noise(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that an output stands for: the inverse of target()."""
        return output

    def loss_weight(self, t: Tensor) -> Tensor:
        """Weight of each example's squared error, (models, batch)."""
        return torch.ones_like(self.alpha_bar[t])

    def step_back(self, x_t: Tensor, noise: Tensor, t: int, z: Tensor) -> Tensor:
        """One ancestral step x_t -> x_{t-1}, given the predicted noise; z is standard normal."""
        sigma = (1 - self.alpha_bar[t]).sqrt()
        mean = (x_t - self.betas[t] / sigma * noise) / (1 - self.betas[t]).sqrt()
        return mean + self.variance[t].sqrt() * z  # the variance is zero at t = 0


# --- model ----------------------------------------------------------------------------------------


class Linear(nn.Module):
    """One linear layer for every model: (models, batch, inputs) -> (models, batch, outputs)."""

    def __init__(self, inputs: int, outputs: int, draw: "Draw"):
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(bound * (2 * draw.uniform(inputs, outputs) - 1))
        self.bias = nn.Parameter(bound * (2 * draw.uniform(1, outputs) - 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def embed(x: Tensor, size: int, max_frequency: float) -> Tensor:
    """Sines and cosines of each value at size / 2 frequencies, in geometric steps: (...) -> (..., size)."""
    exponents = torch.linspace(-4, 0, size // 2, device=x.device)
    angles = x.unsqueeze(-1) * (max_frequency * 2**exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Denoiser(nn.Module):
    """A residual MLP over the embedded coordinates and time."""

    def __init__(self, config: Config, draw: "Draw"):
        super().__init__()
        self.size, self.max_frequency = config.embedding_size, config.max_frequency
        self.num_timesteps = config.num_timesteps
        width = config.hidden_size
        self.enter = Linear(2 + 3 * self.size, width, draw)
        self.layers = nn.ModuleList(Linear(width, width, draw) for _ in range(config.num_layers))
        self.leave = Linear(width, 2, draw)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (models, batch, 2), t (models, batch) -> (models, batch, 2)."""
        places = embed(x, self.size, self.max_frequency).flatten(-2)  # both coordinates side by side
        times = embed(t / self.num_timesteps, self.size, 32.0)
        h = self.enter(torch.cat([x, places, times], dim=-1))
        for layer in self.layers:
            h = h + layer(F.silu(h))
        return self.leave(F.silu(h))


# --- training and sampling ------------------------------------------------------------------------


class Draw:
    """Random numbers for all models, from one CPU generator a seed: no seed knows how many others run beside it."""

    def __init__(self, seeds: list[int], device: torch.device):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device

    def _stack(self, draw_one) -> Tensor:
        return torch.cat([draw_one(generator) for generator in self.generators]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """(models, *shape), in [0, 1)."""
        return self._stack(lambda g: torch.rand(len(DATASETS), *shape, generator=g))

    def normal(self, *shape: int) -> Tensor:
        return self._stack(lambda g: torch.randn(len(DATASETS), *shape, generator=g))

    def integers(self, end: int, *shape: int) -> Tensor:
        return self._stack(lambda g: torch.randint(end, (len(DATASETS), *shape), generator=g))


def train(config: Config, diffusion: Diffusion, draw: Draw, device: torch.device) -> tuple[Denoiser, np.ndarray]:
    """Train all models; the averaged (EMA) model, and the mean loss of every 50 steps, (models, num_steps / 50)."""
    data = torch.stack([make_dataset(name, config.num_train, seed=1) for name in DATASETS]).to(device)
    data = data.repeat(len(draw.generators), 1, 1)  # (models, num_train, 2)
    rows = torch.arange(len(data), device=device).unsqueeze(1)
    model = Denoiser(config, draw).to(device)
    ema = Denoiser(config, Draw([0] * len(draw.generators), device)).to(device)
    ema.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=config.weight_decay, fused=True)
    losses, started = [], time.time()
    for step in range(config.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.num_steps))
        x0 = data[rows, draw.integers(config.num_train, config.batch_size)]
        t = draw.integers(config.num_timesteps, config.batch_size)
        noise = draw.normal(config.batch_size, 2)
        x_t = diffusion.add_noise(x0, noise, t)
        errors = (model(x_t, t) - diffusion.target(x0, noise, t)).square().mean(-1)
        loss = (diffusion.loss_weight(t) * errors).mean(1)  # one for each model
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that no model's gradient depends on the others
        optimizer.step()
        with torch.no_grad():
            for averaged, parameter in zip(ema.parameters(), model.parameters(), strict=True):
                averaged.lerp_(parameter, 1 - min(config.ema_decay, (1 + step) / (10 + step)))
        losses.append(loss.detach())
        if (step + 1) % 50 == 0:
            mean = torch.stack(losses[-50:]).mean()
            print(f"step {step + 1}/{config.num_steps}  loss {mean:.4f}  {time.time() - started:.1f} s", flush=True)
    curve = torch.stack(losses, dim=1).cpu().numpy()
    return ema, curve.reshape(len(curve), -1, 50).mean(-1)


@torch.no_grad()
def sample(model: Denoiser, diffusion: Diffusion, n: int, draw: Draw) -> Tensor:
    """Generate n points with every model, (models, n, 2), by ancestral sampling."""
    x = draw.normal(n, 2)
    for t in reversed(range(diffusion.num_timesteps)):
        time_of_all = torch.full(x.shape[:2], t, device=x.device)
        noise = diffusion.predicted_noise(model(x, time_of_all), x, time_of_all)
        x = diffusion.step_back(x, noise, t, draw.normal(n, 2))
    return x


# --- evaluation (protected: the same for every run) -----------------------------------------------


@torch.no_grad()
def held_out_loss(model: Denoiser, diffusion: Diffusion, n: int, device: torch.device) -> np.ndarray:
    """Mean squared error of the predicted noise on held-out data, one for each model, (models,).

    Whatever a run changes in target, weights or schedule, it is asked the same: the error is measured at all its
    timesteps and read off, by interpolation, at 41 fixed noise levels, log SNR from -5 to 5. Points and noise are fixed.
    """
    models = next(model.parameters()).shape[0]
    x0 = torch.stack([make_dataset(name, n, seed=2) for name in DATASETS]).to(device)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)).to(device)
    x0, noise = (v.repeat(models // len(DATASETS), 1, 1) for v in (x0, noise))
    errors = []
    for step in range(diffusion.num_timesteps):
        t = torch.full(x0.shape[:2], step, device=device)
        x_t = diffusion.add_noise(x0, noise, t)
        predicted = diffusion.predicted_noise(model(x_t, t), x_t, t)
        errors.append((predicted - noise).square().mean((1, 2)))
    log_snr = torch.logit(diffusion.alpha_bar.double()).cpu().numpy()[::-1]  # rising
    curves = torch.stack(errors, dim=1).double().cpu().numpy()[:, ::-1]
    levels = np.linspace(-5, 5, 41)
    return np.array([np.interp(levels, log_snr, curve).mean() for curve in curves])


def kl_divergence(p: np.ndarray, q: np.ndarray, k: int = 5) -> float:
    """KL(P || Q) in nats from points of both, (n, d) and (m, d), by distances to the k-th nearest neighbour.

    Wang, Kulkarni and Verdu, IEEE Trans. Inf. Theory 55(5), 2009. Close to zero the estimate may be negative.
    """
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise ValueError("generated points are not finite: training diverged; lower the learning rate")
    (n, d), m = p.shape, len(q)
    within = cKDTree(p).query(p, k=k + 1)[0][:, k]  # the nearest neighbour is the point itself
    across = cKDTree(q).query(p, k=k)[0][:, k - 1]
    return float(d * np.log(across / within).mean() + math.log(m / (n - 1)))


def evaluate(model: Denoiser, diffusion: Diffusion, samples: Tensor, config: Config) -> dict[str, np.ndarray]:
    """eval_loss and kl_divergence (held-out data against generated), each (seeds, datasets)."""
    held_out = [make_dataset(name, config.num_samples, seed=3).numpy() for name in DATASETS]
    generated = samples.cpu().numpy()
    kl = [kl_divergence(held_out[i % len(DATASETS)], points) for i, points in enumerate(generated)]
    loss = held_out_loss(model, diffusion, config.num_eval, samples.device)
    return {"eval_loss": loss.reshape(-1, len(DATASETS)), "kl_divergence": np.reshape(kl, (-1, len(DATASETS)))}


def summarise(scores: dict[str, np.ndarray], seconds: dict[str, float]) -> dict:
    """final_info.json. Seconds are one measurement of the whole batch of models, so they have no spread."""
    info = {}
    for i, name in enumerate(DATASETS):
        seeds = {metric: values[:, i] for metric, values in scores.items()}
        n = len(next(iter(seeds.values())))
        spread = {metric: float(v.std(ddof=1) / math.sqrt(n)) for metric, v in seeds.items()} if n > 1 else {}
        means = {metric: float(v.mean()) for metric, v in seeds.items()}
        info[name] = {"means": means | seconds, "stderrs": spread, "seeds": {m: v.tolist() for m, v in seeds.items()}}
    return info


# --- the run --------------------------------------------------------------------------------------


def timed(device: torch.device, function, *args):
    """A function's result, and the seconds that it took on the device."""
    started = time.perf_counter()
    result = function(*args)
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return result, time.perf_counter() - started


def main(out_dir: Path) -> None:
    config = read_config()
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    draw = Draw(list(range(config.num_seeds)), device)
    diffusion = Diffusion(config, device)
    print(f"{config.num_seeds} seeds x {len(DATASETS)} datasets on {device}", flush=True)
    (model, losses), train_time = timed(device, train, config, diffusion, draw, device)
    samples, inference_time = timed(device, sample, model, diffusion, config.num_samples, draw)
    scores = evaluate(model, diffusion, samples, config)
    info = summarise(scores, {"train_time": train_time, "inference_time": inference_time})
    out_dir.mkdir(parents=True, exist_ok=True)
    grid = (config.num_seeds, len(DATASETS))
    np.savez_compressed(
        out_dir / "all_results.npz", datasets=DATASETS, loss=losses.reshape(*grid, -1), steps_per_loss=50,
        samples=samples.cpu().numpy().reshape(*grid, -1, 2),
        data=np.stack([make_dataset(name, config.num_samples, seed=3).numpy() for name in DATASETS]),
    )  # fmt: skip
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(name, "  ".join(f"{metric} {value:.4f}" for metric, value in row["means"].items()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
