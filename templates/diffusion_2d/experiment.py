"""A denoising diffusion model (DDPM, Ho et al. 2020, arXiv:2006.11239) on four sets of points in the plane.

`python experiment.py --out_dir=run_0` writes final_info.json (metrics) and all_results.npz (for plot.py).
KIT_PRESET chooses the size (smoke, demo, full), KIT_SEEDS the number of seeds. One model is trained for every
pair of seed and dataset, all at once: tensors have a leading axis of models, layers are batched products.
"""

import argparse
import copy
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
from scipy.spatial import cKDTree
from torch import Tensor, nn


# --- settings: change them here, or change the function that is named ------------------------------
@dataclass
class Config:
    num_timesteps: int = 100  # of noise_schedule()
    beta_start: float = 1e-4  # variance of the noise added in the first step and in the last, if T were 1000
    beta_end: float = 0.02
    hidden_size: int = 96  # of the Denoiser
    num_layers: int = 3  # residual layers
    embedding_size: int = 32  # of each coordinate, and of time
    max_frequency: float = 8.0  # in the coordinates' embedding, radians per unit length
    batch_size: int = 192  # examples per model and step, see train()
    num_steps: int = 3000
    learning_rate: float = 5e-3  # at the start; falls to zero along a half cosine
    ema_decay: float = 0.995  # of the averaged weights, which are the ones that are evaluated


DATASETS = ("circle", "dino", "line", "moons")
PRESETS = {
    "smoke": Config(num_steps=150),
    "demo": Config(),
    "full": Config(hidden_size=256, num_layers=4, embedding_size=64, batch_size=256, num_steps=10_000,
                   learning_rate=1e-3, ema_decay=0.999),
}  # fmt: skip


# --- data and sizes (protected: the same for every run) --------------------------------------------
def read_sizes() -> tuple[str, int, int, int]:
    """KIT_PRESET; its number of seeds, or KIT_SEEDS; its numbers of held-out and of generated points."""
    sizes = {"smoke": (2, 100, 300), "demo": (3, 500, 3000), "full": (5, 1000, 5000)}
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in sizes:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(sizes)}.")
    seeds = os.environ.get("KIT_SEEDS") or str(sizes[preset][0])
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return preset, int(seeds), *sizes[preset][1:]


def draw_dino(n: int, rng: np.random.Generator) -> np.ndarray:
    """Points on the outline of a dinosaur, and its eye, (n, 2)."""
    corners = np.array([
        99,82, 99,86, 96,89, 91,90, 88,94, 83,96, 78,94, 75,89, 73,82, 70,74, 66,68, 60,64, 52,63, 44,64,
        37,62, 31,57, 26,50, 20,43, 13,40, 6,42, 1,47, 3,38, 9,31, 17,29, 25,31, 31,33, 33,26, 32,18,
        31,10, 37,10, 43,10, 43,18, 45,25, 50,23, 55,23, 57,18, 56,10, 62,10, 68,10, 68,18, 70,26, 75,33,
        78,41, 79,50, 80,58, 81,66, 83,73, 86,78, 92,79, 99,82,
    ], dtype=float).reshape(-1, 2)  # fmt: skip
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    along = rng.uniform(0, length[-1], n)
    points = np.stack([np.interp(along, length, axis) for axis in corners.T], axis=1)
    points[: n // 50] = 85, 88  # the eye
    return points


def draw_points(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Points of one dataset before they are scaled, (n, 2)."""
    if name == "dino":
        return draw_dino(n, rng)
    u = rng.uniform(0, 1, n)
    if name == "circle":
        return np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], axis=1)
    if name == "line":
        return np.stack([u, 0.5 * u], axis=1)
    if name == "moons":
        upper, x, y = np.arange(n) % 2 == 0, np.cos(np.pi * u), np.sin(np.pi * u)
        return np.stack([np.where(upper, x, 1 - x), np.where(upper, y, 0.5 - y)], axis=1)
    raise ValueError(f"there is no dataset {name!r}; known: {', '.join(DATASETS)}")


def make_dataset(name: str, n: int, seed: int) -> Tensor:
    """Draw n points, (n, 2): zero mean, unit variance over both axes together, Gaussian jitter of 0.06."""
    reference = draw_points(name, 20_000, np.random.default_rng(0))  # one scale for every draw
    rng = np.random.default_rng(seed)
    points = (draw_points(name, n, rng) - reference.mean(0)) / (reference - reference.mean(0)).std()
    return torch.tensor(points + rng.normal(0, 0.06, points.shape), dtype=torch.float32)


# --- diffusion -------------------------------------------------------------------------------------
def noise_schedule(config: Config) -> Tensor:
    """Variance of the noise that each step adds (beta), (num_timesteps,)."""
    betas = torch.linspace(config.beta_start, config.beta_end, config.num_timesteps, dtype=torch.float64)
    return betas * 1000 / config.num_timesteps  # the same total noise for any number of steps


class Diffusion:
    """What follows from the schedule: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise."""

    def __init__(self, betas: Tensor, device: torch.device):
        alpha_bar = torch.cumprod(1 - betas, dim=0)
        assert alpha_bar[-1] < 0.01, f"alpha_bar_T = {alpha_bar[-1]:.3f} is not yet pure noise: raise the betas"
        variance = betas * (1 - alpha_bar / (1 - betas)) / (1 - alpha_bar)  # of x_{t-1}, given x_t and x_0
        tensors = (v.float().to(device) for v in (betas, alpha_bar, variance))
        self.betas, self.alpha_bar, self.variance = tensors

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies data and noise at timestep t, (models, batch) -> two of (models, batch, 1)."""
        alpha_bar = self.alpha_bar[t].unsqueeze(-1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self.scales(t)
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to put out."""
        return noise

    def predicted_noise(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that an output stands for: target() turned round."""
        return output

    def loss_weight(self, t: Tensor) -> Tensor:
        """Weight of each example's squared error, (models, batch)."""
        return torch.ones_like(self.alpha_bar[t])

    def step_back(self, x_t: Tensor, noise: Tensor, t: int, z: Tensor) -> Tensor:
        """One ancestral step x_t -> x_{t-1} with the predicted noise; z is standard normal."""
        mean = (x_t - self.betas[t] / (1 - self.alpha_bar[t]).sqrt() * noise) / (1 - self.betas[t]).sqrt()
        return mean + self.variance[t].sqrt() * z  # the variance is zero at t = 0


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
    """One linear layer of every model: (models, batch, inputs) -> (models, batch, outputs)."""

    def __init__(self, inputs: int, outputs: int, draw: Draw):
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(bound * (2 * draw(torch.rand, inputs, outputs) - 1))
        self.bias = nn.Parameter(bound * (2 * draw(torch.rand, 1, outputs) - 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def embed(x: Tensor, size: int, max_frequency: float) -> Tensor:
    """Sines and cosines of each value, frequencies from max_frequency / 16 up: (...) -> (..., size)."""
    angles = x.unsqueeze(-1) * max_frequency * 2 ** torch.linspace(-4, 0, size // 2, device=x.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Denoiser(nn.Module):
    """A residual MLP that sees the coordinates, their embedding and that of time."""

    def __init__(self, config: Config, draw: Draw):
        super().__init__()
        self.config = config
        self.enter = Linear(2 + 3 * config.embedding_size, config.hidden_size, draw)
        sizes = [config.hidden_size] * config.num_layers
        self.layers = nn.ModuleList(Linear(size, size, draw) for size in sizes)
        self.leave = Linear(config.hidden_size, 2, draw)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (models, batch, 2), t (models, batch) -> (models, batch, 2)."""
        places = embed(x, self.config.embedding_size, self.config.max_frequency).flatten(-2)
        times = embed(t / self.config.num_timesteps, self.config.embedding_size, 32.0)
        h = self.enter(torch.cat([x, places, times], dim=-1))
        for layer in self.layers:
            h = h + layer(nn.functional.silu(h))
        return self.leave(nn.functional.silu(h))


# --- training and sampling -------------------------------------------------------------------------
def train(config: Config, diffusion: Diffusion, draw: Draw) -> tuple[Denoiser, np.ndarray, float]:
    """Train all models: their averaged weights (EMA), losses (models, num_steps), seconds in all."""
    sets = [make_dataset(name, 10_000, seed=1) for name in DATASETS]
    data = torch.stack(sets * len(draw.generators)).to(draw.device)  # (models, points, 2)
    model = Denoiser(config, draw).to(draw.device)
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.num_steps)
    rows = torch.arange(len(data), device=draw.device).unsqueeze(1)
    losses, started = torch.zeros(len(data), config.num_steps, device=draw.device), time.perf_counter()
    for step in range(config.num_steps):
        x0 = data[rows, (draw(torch.rand, config.batch_size) * data.shape[1]).long()]
        t = (draw(torch.rand, config.batch_size) * config.num_timesteps).long()
        noise = draw(torch.randn, config.batch_size, 2)
        x_t = diffusion.add_noise(x0, noise, t)
        errors = (model(x_t, t) - diffusion.target(x0, noise, t)).square().mean(-1)
        loss = (diffusion.loss_weight(t) * errors).mean(1)  # one for each model
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that no model's gradient depends on the others
        optimizer.step()
        schedule.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))  # a shorter memory at the start
        for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - decay)
        losses[:, step] = loss.detach()
        if (step + 1) % 50 == 0:
            recent, seconds = losses[:, step - 49 : step + 1].mean(), time.perf_counter() - started
            print(f"step {step + 1}/{config.num_steps}  loss {recent:.4f}  {seconds:.1f} s", flush=True)
    return averaged, losses.cpu().numpy(), time.perf_counter() - started


@torch.no_grad()
def sample(model: Denoiser, diffusion: Diffusion, n: int, draw: Draw) -> np.ndarray:
    """Generate n points with every model by ancestral sampling, (models, n, 2)."""
    x = draw(torch.randn, n, 2)
    for step in reversed(range(len(diffusion.betas))):
        t = torch.full(x.shape[:2], step, device=x.device)
        parts = zip(x.split(500, dim=1), t.split(500, dim=1), strict=True)  # they fit a processor's cache
        output = torch.cat([model(*part) for part in parts], dim=1)
        noise = diffusion.predicted_noise(output, x, t)
        x = diffusion.step_back(x, noise, step, draw(torch.randn, n, 2))
    return x.cpu().numpy()


# --- evaluation (protected: the same for every run) ------------------------------------------------
@torch.no_grad()
def held_out_loss(model: Denoiser, diffusion: Diffusion, n: int) -> np.ndarray:
    """Mean squared error of the predicted noise on n held-out points, (models,).

    Whatever a run changes in target, weights or schedule, it is asked the same: the error is measured at all
    its timesteps and read off, by interpolation, at 41 noise levels, log SNR -5 to 5. The noise is fixed.
    Below the least noise of its schedule a model knows nothing, which is an error of 1; holding on to the error
    of the first timestep instead would reward a schedule for leaving out the hard levels.
    """
    device, copies = diffusion.betas.device, len(next(model.parameters())) // len(DATASETS)
    x0 = torch.stack([make_dataset(name, n, seed=2) for name in DATASETS] * copies).to(device)
    fixed = torch.Generator().manual_seed(2)
    noise = torch.randn(len(DATASETS), n, 2, generator=fixed).repeat(copies, 1, 1).to(device)
    errors = []
    for step in range(len(diffusion.betas)):
        t = torch.full(x0.shape[:2], step, device=device)
        x_t = diffusion.alpha_bar[step].sqrt() * x0 + (1 - diffusion.alpha_bar[step]).sqrt() * noise
        predicted = diffusion.predicted_noise(model(x_t, t), x_t, t)
        errors.append((predicted - noise).square().mean((1, 2)))
    log_snr = torch.logit(diffusion.alpha_bar.cpu().double()).numpy()
    curves = torch.stack(errors, dim=1).cpu().numpy()
    levels = np.linspace(-5, 5, 41)
    return np.array([np.interp(levels, log_snr[::-1], curve[::-1], right=1.0).mean() for curve in curves])


def kl_divergence(p: np.ndarray, q: np.ndarray, k: int = 2) -> float:
    """KL(P || Q) in nats from points of both, (n, d) and (m, d), by distances to the k-th nearest neighbour.

    Wang, Kulkarni and Verdu, IEEE Trans. Inf. Theory 55(5), 2009. Near zero the estimate may be negative.
    """
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise ValueError("points are not finite: training has diverged; try a smaller learning rate")
    (n, d), m = p.shape, len(q)
    within = cKDTree(p).query(p, k=[k + 1])[0]  # the nearest one is the point itself
    across = cKDTree(q).query(p, k=[k])[0]
    return float(d * np.log(across / within).mean() + math.log(m / (n - 1)))


def evaluate(model: Denoiser, diffusion: Diffusion, samples: np.ndarray, num_eval: int) -> dict:
    """Noise prediction on held-out data, and KL(held-out data || samples); each (seeds, datasets)."""
    held_out = [make_dataset(name, samples.shape[1], seed=3).numpy() for name in DATASETS]
    kl = [kl_divergence(held_out[i % len(DATASETS)], points) for i, points in enumerate(samples)]
    scores = {"eval_loss": held_out_loss(model, diffusion, num_eval), "kl_divergence": np.array(kl)}
    return {metric: values.reshape(-1, len(DATASETS)) for metric, values in scores.items()}


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
    preset, num_seeds, num_eval, num_samples = read_sizes()
    config = PRESETS[preset]
    gpu = torch.accelerator.is_available()  # CUDA, MPS and others
    device = torch.accelerator.current_accelerator() if gpu else torch.device("cpu")
    print(f"{preset}: {num_seeds} seeds x {len(DATASETS)} datasets on {device}", flush=True)
    draw = Draw(list(range(num_seeds)), device)
    diffusion = Diffusion(noise_schedule(config), device)
    model, losses, train_time = train(config, diffusion, draw)
    started = time.perf_counter()
    samples = sample(model, diffusion, num_samples, draw)
    seconds = {"train_time": train_time, "inference_time": time.perf_counter() - started}
    info = summarise(evaluate(model, diffusion, samples, num_eval), seconds)
    out_dir.mkdir(parents=True, exist_ok=True)
    arrays = {"datasets": DATASETS, "losses": losses, "samples": samples}
    arrays["held_out"] = np.stack([make_dataset(name, num_samples, seed=3) for name in DATASETS])
    np.savez_compressed(out_dir / "all_results.npz", **arrays)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(f"{name:8s}" + "  ".join(f"{metric} {value:.4f}" for metric, value in row["means"].items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
