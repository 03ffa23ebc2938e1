"""How fast templates/plots_vs_text trains: the networks of all seeds as one batch, and one after the other.

`python tests/benchmarks/plots_speed.py` prints a table within a minute: processor time of one thread, which others on
the machine disturb least. The plain loop is what one would write without batching.
tests/test_template_plots.py holds that it learns the same.
"""

import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

EXPERIMENT = Path(__file__).parents[2] / "templates" / "plots_vs_text" / "experiment.py"
SEEDS, STEPS, REPEATS = 5, 4, 12  # the best of the repeats counts: others can only slow it down


def load_program(path: Path, name: str) -> ModuleType:
    """A template's experiment.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


experiment = load_program(EXPERIMENT, "plots_vs_text_as_it_is")  # before torch, which reads what it sets

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class PlainReader(nn.Module):
    """The Reader of a single seed, of torch's own layers, with the weights of model i of a batch."""

    def __init__(self, batch: Any, i: int):
        super().__init__()
        self.reader, self.layers = batch.reader, nn.ModuleList()
        for layer in batch.layers:
            weight = layer.weight.detach()[i]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], layer.stride, layer.padding)
            conv.weight.data.copy_(weight)
            conv.bias.data.copy_(layer.bias.detach()[i])
            self.layers.append(conv)
        self.leave = nn.Linear(*batch.weight.shape[1:])
        self.leave.weight.data.copy_(batch.weight.detach()[i].T)
        self.leave.bias.data.copy_(batch.bias.detach()[i, 0])

    def forward(self, shown: Tensor) -> Tensor:
        """(batch, ...) as it is shown -> (batch, choices)."""
        if self.reader == "plot":
            x = shown / 255
        else:
            x = torch.eye(12)[shown.long()].permute(0, 2, 1)[:, :, None]
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.leave(x.flatten(1))


def train_plain(model: PlainReader, config: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    """Train one network on what it is shown and the right answers; its losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.num_steps)
    losses = []
    for shown, answers in batches:
        loss = nn.functional.cross_entropy(model(shown), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def step_batched(model: Any, shown: Tensor, answers: Tensor) -> Callable[[], None]:
    """One step of all seeds, as train() takes it."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        logits = model(shown)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
        optimizer.zero_grad()
        loss.reshape(answers.shape).mean(1).sum().backward()
        optimizer.step()

    return step


def step_plain(model: Any, shown: Tensor, answers: Tensor) -> Callable[[], None]:
    """One step of each seed, one after the other."""
    plain = [PlainReader(model, i) for i in range(model.models)]
    optimizers = [torch.optim.AdamW(one.parameters(), fused=True) for one in plain]

    def step() -> None:
        for one, optimizer, x, y in zip(plain, optimizers, shown, answers, strict=True):
            loss = nn.functional.cross_entropy(one(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def milliseconds(*steps: Callable[[], None]) -> list[float]:
    """Of each kind of step, taken in turns: the best of several rounds."""
    best = [float("inf")] * len(steps)
    for _ in range(REPEATS):
        for place, step in enumerate(steps):
            started = time.process_time()
            for _ in range(STEPS):
                step()
            best[place] = min(best[place], 1000 * (time.process_time() - started) / STEPS)
    return best


def main() -> None:
    torch.set_num_threads(1)
    config, draw = experiment.PRESETS["demo"], experiment.Draw(list(range(SEEDS)), torch.device("cpu"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__}, {date.today():%d %B %Y}")
    print(f"Python {platform.python_version()}; ms of one thread for a step of {SEEDS} seeds, preset demo\n")
    print("| task | reader | weights | one after the other | one batch | ratio |\n|---|---|---|---|---|---|")
    for name in experiment.DATASETS:
        values, labels, _ = experiment.make_questions(name, SEEDS * config.batch_size, seed=1)
        answers = torch.tensor(labels).reshape(SEEDS, -1)
        for reader in experiment.READERS:
            shown = experiment.show(reader, name, values, config).unflatten(0, (SEEDS, -1))
            model = experiment.Reader(reader, shown[0, :1], len(experiment.CHOICES[name]), config, draw)
            weights = sum(p.numel() for p in model.parameters()) // SEEDS
            plain, batched = milliseconds(*(make(model, shown, answers) for make in (step_plain, step_batched)))
            print(
                f"| {name} | {reader} | {weights:,} | {plain:.1f} | {batched:.1f} | {plain / batched:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
