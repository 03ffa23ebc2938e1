"""How fast templates/grokking trains: all its models as one batch, and one model after the other.

`python tests/benchmarks/grokking_speed.py` prints a table within four minutes. On one thread the processor's own time
counts, which other programs hardly change; on all threads nothing else should run beside it.
The plain loop is what one would write without batching, with every token in every layer.
tests/test_template_grokking.py holds that it learns the same weights.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["GOMP_SPINCOUNT"] = "300000"  # libgomp's own: giving way soon costs the plain loop more than the batch

from diffusion_speed import describe_machine, load_program

EXPERIMENT = Path(__file__).parents[2] / "templates" / "grokking" / "experiment.py"
STEPS = {"demo": 20, "full": 4}  # of the batch; a single model takes four times as many
REPEATS = 3  # the best counts: others can only slow it down

experiment = load_program(EXPERIMENT, "grokking")  # before torch, which reads the environment that it sets

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class PlainBlock(nn.Module):
    """One decoder layer for a single model, of torch's own layers."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key_value, self.merge = (nn.Linear(width, size) for size in (width, 2 * width, width))
        self.enter, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same."""
        h = nn.functional.layer_norm(x, x.shape[-1:])
        heads = [part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                 for part in (self.query(h), *self.key_value(h).chunk(2, dim=-1))]  # fmt: skip
        read = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.merge(read.transpose(1, 2).flatten(-2))
        h = nn.functional.layer_norm(x, x.shape[-1:])
        return x + self.leave(torch.relu(self.enter(h)))


class PlainTransformer(nn.Module):
    """The Transformer for a single model."""

    def __init__(self, config: Any, vocabulary: int):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary + 1, config.width), nn.Embedding(3, config.width)
        self.blocks = nn.ModuleList(PlainBlock(config.width, config.num_heads) for _ in range(config.num_layers))
        self.answer = nn.Linear(config.width, vocabulary)

    def forward(self, pairs: Tensor) -> Tensor:
        """pairs (batch, 2) -> logits (batch, vocabulary)."""
        equals = torch.full_like(pairs[:, :1], self.tokens.num_embeddings - 1)
        x = self.tokens(torch.cat([pairs, equals], dim=1)) + self.places.weight
        for block in self.blocks:
            x = block(x)
        return self.answer(nn.functional.layer_norm(x[:, -1], x.shape[-1:]))


def train_plain(
    model: PlainTransformer, config: Any, examples: tuple[Tensor, Tensor], batches: Iterable[Tensor]
) -> list[float]:
    """Train one model on pairs and results; batches are rows of them. A loss for each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2),
                                  weight_decay=config.weight_decay, fused=True)  # fmt: skip
    factor = lambda step: experiment.learning_rate_factor(step, config)  # noqa: E731
    schedule, losses = torch.optim.lr_scheduler.LambdaLR(optimizer, factor), []
    for rows in batches:
        loss = nn.functional.cross_entropy(model(examples[0][rows]), examples[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def set_up(preset: str, seeds: int) -> tuple[Any, Any]:
    """The tables of a preset, and the random numbers of its seeds."""
    os.environ["KIT_PRESET"] = preset
    _, _, modulus, order, _ = experiment.read_sizes()
    draw = experiment.Draw(list(range(seeds)), torch.device("cpu"))
    config = experiment.PRESETS[preset]
    return experiment.Tables(draw, modulus, experiment.make_group(order), config.train_fraction), draw


def time_plain(preset: str, config: Any, clock: Callable[[], float]) -> float:
    """Steps of one model per second."""
    tables, _ = set_up(preset, 1)
    model = PlainTransformer(config, tables.vocabulary)
    num_train = int(tables.num_train[0])
    batches = (torch.randint(num_train, (config.batch_size,)) for _ in range(config.num_steps))
    started = clock()
    train_plain(model, config, (tables.pairs[0], tables.results[0]), batches)
    return config.num_steps / (clock() - started)


def time_batch(preset: str, config: Any, clock: Callable[[], float], seeds: int) -> float:
    """Steps of the batch per second, times its models; nothing is measured on the way."""
    tables, draw = set_up(preset, seeds)
    times: list[float] = []
    first = experiment.next_batch

    def started(*arguments: Any) -> Tensor:
        times.append(clock())
        return first(*arguments)

    experiment.next_batch = started
    with contextlib.redirect_stdout(io.StringIO()):
        experiment.train(config, tables, config.num_steps + 1, draw)
    experiment.next_batch = first
    return (len(times) - 1) * len(tables.pairs) / (times[-1] - times[0])


def main() -> None:
    print(describe_machine())
    print("| preset | parameters | models | threads | one after the other | one batch | ratio |")
    print("|---|---|---|---|---|---|---|")
    every = torch.get_num_threads()
    for preset, steps in STEPS.items():
        os.environ["KIT_PRESET"] = preset
        (_, seeds, *_), whole = experiment.read_sizes(), experiment.PRESETS[preset]
        tables, _ = set_up(preset, 1)
        parameters = sum(p.numel() for p in PlainTransformer(whole, tables.vocabulary).parameters())
        short, longer = replace(whole, num_steps=steps), replace(whole, num_steps=4 * steps)
        for threads, clock in ((1, time.process_time), (every, time.perf_counter)):
            torch.set_num_threads(threads)
            rates = [(time_plain(preset, longer, clock), time_batch(preset, short, clock, seeds))
                     for _ in range(REPEATS)]  # fmt: skip
            plain, batch = (max(column) for column in zip(*rates, strict=True))
            cells = [f"`{preset}`", f"{parameters:,}", f"{seeds * len(experiment.DATASETS)}", f"{threads}",
                     f"{plain:.1f} steps/s", f"{batch:.1f} steps/s", f"{batch / plain:.1f}"]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
