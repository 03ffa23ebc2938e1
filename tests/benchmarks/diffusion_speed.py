"""How fast templates/diffusion_2d trains: all its models as one batch, and one model after the other.

`python tests/benchmarks/diffusion_speed.py` prints a table within three minutes; nothing else should run beside it.
The plain loop is what one would write without batching. tests/test_template.py holds that it learns the same weights.
"""

import contextlib
import copy
import importlib.util
import io
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["GOMP_SPINCOUNT"] = "300000"  # libgomp's own: giving way soon costs the plain loop more than the batch
EXPERIMENT = Path(__file__).parents[2] / "templates" / "diffusion_2d" / "experiment.py"
STEPS = {"demo": 400, "full": 50}  # of the batch; a single model takes four times as many
REPEATS = 5  # the best counts: others can only slow it down


def load_program(path: Path, name: str = "diffusion_2d") -> ModuleType:
    """A template's experiment.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


experiment = load_program(EXPERIMENT)  # before torch, which reads the environment that it sets

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class PlainDenoiser(nn.Module):
    """The Denoiser for a single model, of torch's own layers."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.enter = nn.Linear(2 + 3 * config.embedding_size, size)
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(config.num_layers))
        self.leave = nn.Linear(size, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (batch, 2), t (batch,) -> (batch, 2)."""
        octaves = 2.0 ** torch.linspace(-4, 0, self.config.embedding_size // 2)
        inputs = [x]
        for values, top in ((x[:, :1], self.config.max_frequency), (x[:, 1:], self.config.max_frequency),
                            (t[:, None] / self.config.num_timesteps, 32.0)):  # fmt: skip
            inputs += [torch.sin(values * top * octaves), torch.cos(values * top * octaves)]
        h = self.enter(torch.cat(inputs, dim=1))
        for layer in self.layers:
            h = h + layer(nn.functional.silu(h))
        return self.leave(nn.functional.silu(h))


def train_plain(
    model: PlainDenoiser, alpha_bar: Tensor, data: Tensor, batches: Iterable[tuple[Tensor, Tensor, Tensor]]
) -> tuple[PlainDenoiser, list[Tensor]]:
    """Train one model on one dataset, (points, 2): the averaged weights and a loss for each step."""
    config, averaged, losses = model.config, copy.deepcopy(model).requires_grad_(False), []
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.num_steps)
    for step, (rows, t, noise) in enumerate(batches):
        level = alpha_bar[t].unsqueeze(1)
        x_t = level.sqrt() * data[rows] + (1 - level).sqrt() * noise
        loss = nn.functional.mse_loss(model(x_t, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - decay)
        losses.append(loss.detach())
    return averaged, losses


def draw_batches(config: Any, points: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows of the data, timesteps and noise, for every step."""
    for _ in range(config.num_steps):
        yield (torch.randint(points, (config.batch_size,)), torch.randint(config.num_timesteps, (config.batch_size,)),
               torch.randn(config.batch_size, 2))  # fmt: skip


def time_plain(config: Any) -> float:
    """Steps of one model per second."""
    alpha_bar = torch.cumprod(1 - experiment.noise_schedule(config), dim=0).float()
    data, model = experiment.make_dataset("dino", 10_000, seed=1), PlainDenoiser(config)
    started = time.perf_counter()
    train_plain(model, alpha_bar, data, draw_batches(config, len(data)))
    return config.num_steps / (time.perf_counter() - started)


def time_batch(config: Any, seeds: int) -> float:
    """Steps of the batch per second, times its models."""
    draw = experiment.Draw(list(range(seeds)), torch.device("cpu"))
    diffusion = experiment.Diffusion(experiment.noise_schedule(config), torch.device("cpu"))
    with contextlib.redirect_stdout(io.StringIO()):
        _, _, seconds = experiment.train(config, diffusion, draw)
    return config.num_steps * seeds * len(experiment.DATASETS) / seconds


def describe_machine() -> str:
    """Processor, threads, versions, load and day, in one line."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else [platform.processor() or platform.machine()]  # fmt: skip
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (f"{names[0]}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, "
            f"Python {platform.python_version()}{load}, {date.today()}")  # fmt: skip


def main() -> None:
    print(describe_machine())
    print("| preset | parameters | models | one after the other | one batch | ratio | training, whole preset |")
    print("|---|---|---|---|---|---|---|")
    for preset, steps in STEPS.items():
        os.environ["KIT_PRESET"] = preset
        (_, seeds, *_), whole = experiment.read_sizes(), experiment.PRESETS[preset]
        models, short = seeds * len(experiment.DATASETS), replace(whole, num_steps=steps)
        parameters = sum(p.numel() for p in PlainDenoiser(whole).parameters())
        longer = replace(short, num_steps=4 * steps)
        rates = [(time_plain(longer), time_batch(short, seeds)) for _ in range(REPEATS)]
        plain, batch = (max(column) for column in zip(*rates, strict=True))
        seconds = [whole.num_steps * models / rate for rate in (plain, batch)]
        cells = [f"`{preset}`", f"{parameters:,}", f"{models}", f"{plain:.0f} steps/s", f"{batch:.0f} steps/s",
                 f"{batch / plain:.1f}", f"{seconds[0]:.0f} → {seconds[1]:.0f} s"]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
