"""How fast templates/cautious_optimizers trains: all its models as one batch, and one model after the other.

`python tests/benchmarks/cautious_speed.py [steps]`; the plain loop is PlainModel with PyTorch's own AdamW.
"""

import contextlib
import io
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPERIMENT = Path(__file__).parents[2] / "templates" / "cautious_optimizers" / "experiment.py"


class PlainModel(nn.Module):
    """The transformer of the template as one reads it in a textbook: one model, (batch, time) -> logits."""

    def __init__(self, config, letters: int, context: int):
        super().__init__()
        n = config.n_embd
        self.config = config
        self.characters, self.places = nn.Embedding(letters, n), nn.Embedding(context, n)
        self.head = nn.Linear(n, letters, bias=False)
        for i in range(config.n_layer):
            sizes = {"look": (n, 3 * n), "leave": (n, n), "wide": (n, 4 * n), "narrow": (4 * n, n)}
            for name, size in sizes.items():
                self.add_module(f"{name}_{i}", nn.Linear(*size, bias=False))

    def take(self, weights: dict[str, Tensor], i: int) -> None:
        """Copy the weights of model i of a batch."""
        with torch.no_grad():
            for name, part in self.named_children():
                whole = weights[name][i]
                part.weight.copy_(whole if isinstance(part, nn.Embedding) else whole.T)

    def forward(self, x: Tensor) -> Tensor:
        heads, n = self.config.n_head, self.config.n_embd
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        h = self.characters(x) + self.places(torch.arange(x.shape[1]))
        for i in range(self.config.n_layer):
            qkv = getattr(self, f"look_{i}")(F.rms_norm(h, (n,))).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv)
            scores = (q @ k.mT / (n // heads) ** 0.5).masked_fill(later, float("-inf"))
            h = h + getattr(self, f"leave_{i}")((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
            h = h + getattr(self, f"narrow_{i}")(F.gelu(getattr(self, f"wide_{i}")(F.rms_norm(h, (n,)))))
        return self.head(F.rms_norm(h, (n,)))


def train_plain(model: PlainModel, config, rates: Iterable[float], batches: Iterable[Tensor]) -> list[float]:
    """One model with PyTorch's AdamW and clipping; the loss of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(config.beta1, config.beta2), eps=1e-8,
                                  weight_decay=config.weight_decay)  # fmt: skip
    losses = []
    for rate, text in zip(rates, batches, strict=True):
        loss = F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(steps: int) -> None:
    from diffusion_speed import load_program  # which lies beside this file

    program = load_program(EXPERIMENT, "cautious_optimizers")
    sizes = program.read_sizes()[1]._replace(evaluations=1)
    config, models = replace(program.PRESETS["demo"], num_steps=steps), sizes.seeds * len(program.RATES)
    judge = program.Judge(sizes._replace(held_out=50), models, torch.device("cpu"))
    data = torch.from_numpy(judge.language.write(2000, sizes.context, seed=1))
    for _ in range(3):
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            program.train(config, sizes._replace(windows=2000), judge, list(program.RATES.values()),
                          program.Draw(list(range(sizes.seeds))))  # fmt: skip
        batched = models * steps / (time.perf_counter() - started)
        judge.steps.clear()
        started = time.perf_counter()
        for seed in range(models):
            draw, plain = program.Draw([seed]), PlainModel(config, len(program.LETTERS), sizes.context)
            plain.take(program.make_weights(config, sizes.context, draw), 0)
            batches = (data[torch.randint(len(data), (config.batch_size,))] for _ in range(steps))
            train_plain(plain, config, [config.learning_rate] * steps, batches)
        alone = models * steps / (time.perf_counter() - started)
        print(f"one batch {batched:.0f} steps/s, one after the other {alone:.0f} steps/s, ratio {batched / alone:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
