"""How fast templates/nanogpt trains: the models of all seeds as one batch, and one model after the other.

`python tests/benchmarks/nanogpt_speed.py` prints a table within three minutes. It gives processor time on one thread,
which other programs disturb least. The plain loop is what one would write without batching.
tests/test_template_nanogpt.py holds that it learns the same.
"""

import importlib.util
import math
import os
import platform
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

EXPERIMENT = Path(__file__).parents[2] / "templates" / "nanogpt" / "experiment.py"
STEPS = {"demo": 12, "full": 1}  # that are timed, after one that is not
REPEATS = {"demo": 4, "full": 1}  # the best counts: others can only slow it down


def load_program(path: Path, name: str = "nanogpt") -> ModuleType:
    """A template's experiment.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


experiment = load_program(EXPERIMENT)  # before torch, which reads the environment that it sets

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


class PlainBlock(nn.Module):
    """Attention and feed-forward of one model, of torch's own layers."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.n_head = config.n_embd, config.n_head
        self.norms = nn.ModuleList(nn.LayerNorm(size, bias=False) for _ in range(2))
        self.qkv, self.mix = nn.Linear(size, 3 * size, bias=False), nn.Linear(size, size, bias=False)
        self.up, self.down = nn.Linear(size, 4 * size, bias=False), nn.Linear(4 * size, size, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, time, n_embd) -> the same shape."""
        batch, time, size = x.shape
        heads = [part.view(batch, time, self.n_head, -1).transpose(1, 2)
                 for part in self.qkv(self.norms[0](x)).chunk(3, dim=-1)]  # fmt: skip
        seen = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.dropout(self.mix(seen.transpose(1, 2).reshape(batch, time, size)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norms[1](x)))))


class PlainGPT(nn.Module):
    """The GPT for a single model."""

    def __init__(self, config: Any, characters: int, context: int):
        super().__init__()
        self.characters = nn.Embedding(characters, config.n_embd)
        self.places = nn.Embedding(context, config.n_embd)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, time) -> (batch, time, characters)."""
        h = self.dropout(self.characters(x) + self.places.weight[: x.shape[1]])
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h), self.characters.weight)


def train_plain(model: PlainGPT, config: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    """Train one model on windows and their next characters, (batch, context): a loss for each step."""
    matrices, vectors = ([p for p in model.parameters() if p.ndim == n] for n in (2, 1))
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, config.beta2), fused=True)
    losses = []
    for step, (x, y) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = experiment.learning_rate_at(step, config)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def time_plain(config: Any, text: Any, context: int, steps: int) -> float:
    """Seconds a step of one model."""
    model, draw = PlainGPT(config, len(text.symbols), context), experiment.Draw([0])
    batches = [tuple(part[0] for part in experiment.draw_batch(text.train, context, config, draw))
               for _ in range(steps + 1)]  # fmt: skip
    train_plain(model, config, batches[:1])
    started = time.process_time()
    train_plain(model, config, batches[1:])
    return (time.process_time() - started) / steps


def time_batch(config: Any, text: Any, context: int, steps: int, seeds: int) -> float:
    """Seconds a step of the batch."""
    draw = experiment.Draw(list(range(seeds)))
    model = experiment.GPT(config, len(text.symbols), context, draw, draw)
    optimizer, started = experiment.make_optimizer(model, config), math.nan
    for step in range(steps + 1):
        if step == 1:
            started = time.process_time()
        x, y = experiment.draw_batch(text.train, context, config, draw)
        optimizer.zero_grad()
        experiment.loss_of(model(x), y).sum().backward()
        experiment.clip_gradients(model, config.grad_clip)
        optimizer.step()
    return (time.process_time() - started) / steps


def describe_machine() -> str:
    """Processor, threads, versions, load and day, in one line."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else [platform.processor() or platform.machine()]  # fmt: skip
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (f"{names[0]}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, "
            f"Python {platform.python_version()}{load}, {date.today()}")  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    print(describe_machine())
    print("| preset | parameters | seeds | one after the other | one batch | ratio | training, whole preset |")
    print("|---|---|---|---|---|---|---|")
    text = experiment.read_text("plays", torch.device("cpu"))
    for preset, steps in STEPS.items():
        os.environ["KIT_PRESET"] = preset
        sizes, config = experiment.read_sizes()[1], replace(experiment.PRESETS[preset])
        parameters = sum(p.numel() for p in PlainGPT(config, len(text.symbols), sizes.context).parameters())
        repeats = range(REPEATS[preset])
        plain = sizes.seeds * min(time_plain(config, text, sizes.context, steps) for _ in repeats)
        batch = min(time_batch(config, text, sizes.context, steps, sizes.seeds) for _ in repeats)
        whole = f"{plain * config.num_steps:.0f} → {batch * config.num_steps:.0f} s"
        cells = [f"`{preset}`", f"{parameters:,}", f"{sizes.seeds}", f"{1000 * plain:.0f} ms", f"{1000 * batch:.0f} ms",
                 f"{plain / batch:.2f}", whole]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
