"""A small GPT (Radford et al. 2019) that learns to write, one character after the other.

`python experiment.py --out_dir=run_0` writes final_info.json (metrics) and all_results.npz (for plot.py). KIT_PRESET
chooses the size (smoke, demo, full), KIT_SEEDS the number of seeds. The models of all seeds are trained at once:
tensors have a leading axis of models, layers are batched products.
"""

import argparse
import bz2
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Read when torch is loaded: a thread that waits gives way soon. Without it, two runs on the same cores stall.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._triton import has_triton


# --- settings: change them here, or change the function that is named ------------------------------
@dataclass
class Config:
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 64  # width: of the embeddings and of all that runs along the layers
    dropout: float = 0.0  # of the embedding and of what each layer adds
    batch_size: int = 8  # windows per model and step, see draw_batch()
    num_steps: int = 2000
    learning_rate: float = 8e-3  # the highest, after the warm-up; see learning_rate_at()
    warmup_steps: int = 100
    final_fraction: float = 0.1  # of the learning rate is left in the last step
    weight_decay: float = 0.1  # of matrices
    beta2: float = 0.99  # memory of Adam's second moment
    grad_clip: float = 1.0  # largest norm of one model's gradient
    bfloat16: bool = False  # for products, where the machine is quick at it; small models gain nothing


PRESETS = {
    "smoke": Config(n_embd=32, num_steps=40, warmup_steps=10),
    "demo": Config(),
    "full": Config(n_layer=6, n_head=6, n_embd=384, dropout=0.2, batch_size=64, num_steps=5000, learning_rate=1e-3,
                   bfloat16=True),
}  # fmt: skip


# --- data and sizes (protected: the same for every run) --------------------------------------------
CORPORA = {  # file in data/, characters to train on, characters after them that are held out, large?
    "plays": ("plays.txt.bz2", 1_027_480, 95_857, False),
    "shakespeare": ("shakespeare.txt", 1_003_854, 111_540, False),
    "enwik8": ("enwik8", 90_000_000, 5_000_000, True),
    "text8": ("text8", 90_000_000, 5_000_000, True),
}


class Sizes(NamedTuple):
    """What a preset fixes beside its Config."""

    seeds: int  # of a small corpus; a large one has a third
    context: int  # characters that a prediction may be made from, at most
    evaluations: int  # during training, evenly spread
    windows: int  # of held-out text that each of them reads, at most
    generated: int  # characters of each sample


def read_sizes() -> tuple[str, Sizes]:
    """KIT_PRESET and what it fixes; KIT_SEEDS is another number of seeds."""
    sizes = {"smoke": Sizes(2, 32, 2, 40, 40), "demo": Sizes(3, 64, 8, 300, 400), "full": Sizes(3, 256, 20, 450, 500)}
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in sizes:
        raise SystemExit(f"KIT_PRESET={preset!r} is no preset; choose one of {', '.join(sizes)}.")
    seeds = os.environ.get("KIT_SEEDS") or str(sizes[preset].seeds)
    if not seeds.isdecimal() or int(seeds) < 1:
        raise SystemExit(f"KIT_SEEDS={seeds!r} is no number of seeds; give a whole number from 1 up.")
    return preset, sizes[preset]._replace(seeds=int(seeds))


class Text(NamedTuple):
    """A corpus as numbers, one for each character (a byte of the file)."""

    train: Tensor  # (characters,) uint8
    held_out: Tensor
    symbols: bytes  # what the numbers stand for


def read_text(name: str, device: torch.device) -> Text | None:
    """One corpus; nothing where its file is not there."""
    file, train, held_out, _ = CORPORA[name]
    path = Path(__file__).parent / "data" / file
    if not path.is_file():
        print(f"{name} is left out: data/{file} is not here; `python prepare.py` fetches it.", flush=True)
        return None
    content = (bz2.decompress if path.suffix == ".bz2" else bytes)(path.read_bytes())[: train + held_out]
    if len(content) < train + held_out:
        raise SystemExit(f"data/{file} has {len(content):,} characters and needs {train + held_out:,}: fetch it again.")
    characters = np.frombuffer(content, np.uint8)
    symbols = np.flatnonzero(np.bincount(characters, minlength=256))
    whole = torch.from_numpy(np.searchsorted(symbols, characters).astype(np.uint8)).to(device)
    return Text(whole[:train], whole[train:], bytes(symbols.tolist()))


# --- model -----------------------------------------------------------------------------------------
class Draw:
    """Random numbers for all models, from one generator a seed: no seed knows who runs beside it."""

    def __init__(self, seeds: list[int], device: torch.device | str = "cpu"):
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    @torch.compiler.disable
    def __call__(self, law: Callable[..., Tensor], *shape: int) -> Tensor:
        """Numbers by torch.rand, torch.randn and the like, (models, *shape)."""
        return torch.stack([law(size=shape, generator=g, device=g.device) for g in self.generators])


class Linear(nn.Module):
    """One linear layer of every model, without bias: (models, rows, inputs) -> (models, rows, outputs)."""

    def __init__(self, inputs: int, outputs: int, draw: Draw, std: float = 0.02):
        super().__init__()
        self.weight = nn.Parameter(std * draw(torch.randn, inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight)


class Norm(nn.Module):
    """Layer normalisation with a weight for each channel of each model."""

    def __init__(self, models: int, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(models, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) * self.weight


class Dropout(nn.Module):
    """Sets a share of the numbers to zero while the model is trained, with each seed's own random numbers."""

    def __init__(self, share: float, draw: Draw):
        super().__init__()
        self.share, self.draw = share, draw

    def forward(self, x: Tensor) -> Tensor:
        kept = 1 - self.share if self.training else 1
        return x if kept == 1 else x * (self.draw(torch.rand, *x.shape[1:]) < kept) / kept


class Attention(nn.Module):
    """Every character looks at itself and at those before it, with several heads."""

    def __init__(self, config: Config, draw: Draw):
        super().__init__()
        self.n_head = config.n_head
        self.enter = Linear(config.n_embd, 3 * config.n_embd, draw)  # queries, keys, values
        self.leave = Linear(config.n_embd, config.n_embd, draw, 0.02 / math.sqrt(2 * config.n_layer))

    def forward(self, x: Tensor, time: int) -> Tensor:
        """x (models, batch * time, n_embd) -> the same shape."""
        qkv = self.enter(x).view(-1, time, 3, self.n_head, x.shape[-1] // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (models * batch, heads, time, channels of a head)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.leave(y.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    """Two layers with a nonlinearity between them, for each character alone."""

    def __init__(self, config: Config, draw: Draw):
        super().__init__()
        self.enter = Linear(config.n_embd, 4 * config.n_embd, draw)
        self.leave = Linear(4 * config.n_embd, config.n_embd, draw, 0.02 / math.sqrt(2 * config.n_layer))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(F.gelu(self.enter(x)))


class Block(nn.Module):
    """Attention and feed-forward, each added to what comes in."""

    def __init__(self, config: Config, draw: Draw, dropout: Dropout):
        super().__init__()
        self.norms = nn.ModuleList(Norm(len(draw.generators), config.n_embd) for _ in range(2))
        self.attention, self.feed_forward, self.dropout = Attention(config, draw), FeedForward(config, draw), dropout

    def forward(self, x: Tensor, time: int) -> Tensor:
        x = x + self.dropout(self.attention(self.norms[0](x), time))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class GPT(nn.Module):
    """Predicts each next character: (models, batch, time) -> (models, batch, time, characters)."""

    def __init__(self, config: Config, characters: int, context: int, draw: Draw, noise: Draw):
        super().__init__()
        self.context = context
        self.characters = nn.Parameter(0.02 * draw(torch.randn, characters, config.n_embd))  # read and written with
        self.places = nn.Parameter(0.02 * draw(torch.randn, context, config.n_embd))
        self.dropout = Dropout(config.dropout, noise)
        self.blocks = nn.ModuleList(Block(config, draw, self.dropout) for _ in range(config.n_layer))
        self.norm = Norm(len(draw.generators), config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        models, batch, time = x.shape
        first = torch.arange(models, device=x.device).view(-1, 1, 1) * self.characters.shape[1]  # row of each model
        h = F.embedding(x + first, self.characters.flatten(0, 1)) + self.places[:, None, :time]
        h = self.dropout(h.flatten(1, 2))  # (models, batch * time, n_embd)
        for block in self.blocks:
            h = block(h, time)
        return torch.bmm(self.norm(h), self.characters.mT).view(models, batch, time, -1)


# --- training and sampling -------------------------------------------------------------------------
def learning_rate_at(step: int, config: Config) -> float:
    """Rises along a line during the warm-up, then falls along half a cosine."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done, floor = (step - config.warmup_steps) / (config.num_steps - config.warmup_steps), config.final_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimizer(model: GPT, config: Config) -> torch.optim.Optimizer:
    """AdamW; the weights of the norms, which are no matrices, do not decay."""
    matrices, vectors = ([p for p in model.parameters() if (p.shape[1] > 1) is many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)


def draw_batch(data: Tensor, context: int, config: Config, draw: Draw) -> tuple[Tensor, Tensor]:
    """Windows from anywhere in the text, and their next characters; both (models, batch, context)."""
    starts = draw(partial(torch.randint, len(data) - context), config.batch_size)
    windows = data[(starts.unsqueeze(-1) + torch.arange(context + 1)).to(data.device)].long()
    return windows[..., :-1], windows[..., 1:]


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """What is made small: the mean cross-entropy of each model, (models,)."""
    losses = F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), reduction="none")
    return losses.view(len(targets), -1).mean(1)


@torch.no_grad()
def clip_gradients(model: GPT, limit: float) -> None:
    """Shorten each model's gradient to a norm of at most limit."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norms = torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0).sqrt()
    for gradient in gradients:
        gradient.mul_((limit / norms.clamp(min=limit)).view(-1, 1, 1))


def train(config: Config, text: Text, sizes: Sizes, judge: "Judge", seeds: list[int]) -> tuple[GPT, np.ndarray, float]:
    """Train a model for every seed: the models, losses (models, num_steps), seconds less those of the judge."""
    device, draw = text.train.device, Draw(seeds)
    model = GPT(config, len(text.symbols), sizes.context, draw, Draw(seeds, device)).to(device)
    fast = torch.compile(model) if device.type == "cuda" and has_triton() else model
    optimizer, every = make_optimizer(model, config), math.ceil(config.num_steps / sizes.evaluations)
    losses, started = torch.zeros(len(seeds), config.num_steps, device=device), time.perf_counter()
    for step in range(config.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, config)
        x, y = draw_batch(text.train, sizes.context, config, draw)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16 and quick_at_bfloat16(device)):
            loss = loss_of(fast(x), y)
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that no model's gradient depends on the others
        clip_gradients(model, config.grad_clip)
        optimizer.step()
        losses[:, step] = loss.detach()
        if (step + 1) % every == 0 or step + 1 == config.num_steps:
            judge.measure(model, step + 1)
        if (step + 1) % max(1, config.num_steps // 50) == 0:
            recent, seconds = losses[:, max(0, step - 19) : step + 1].mean(), time.perf_counter() - started
            print(f"step {step + 1}/{config.num_steps}  loss {recent:.4f}  {seconds:.1f} s", flush=True)
    return model.eval(), losses.cpu().numpy(), time.perf_counter() - started - judge.seconds


def quick_at_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are made in hardware; weights and sums stay in single precision all the same."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


@torch.no_grad()
def generate(model: GPT, start: int, n: int, draw: Draw, temperature: float = 0.8) -> Tensor:
    """Let every model write n characters after a first one, (models, n); each step reads the whole window again."""
    written = torch.full((len(model.characters), 1, 1), start, device=model.characters.device)
    for _ in range(n):
        chances = torch.softmax(model(written[..., -model.context :])[:, :, -1] / temperature, dim=-1)
        waits = -draw(torch.rand, *chances.shape[1:]).to(written.device).log()  # exponential: the shortest wait is next
        written = torch.cat([written, (chances / waits).argmax(-1, keepdim=True)], dim=-1)
    return written[:, 0, 1:]


# --- evaluation (protected: the same for every run) ------------------------------------------------
class Judge:
    """Measures all models on the same windows of text, in nats a character and single precision."""

    def __init__(self, text: Text, sizes: Sizes, models: int):
        self.text, self.sizes, self.models, self.seconds = text, sizes, models, 0.0
        self.curve: dict[int, list[float]] = {}  # the validation loss of every model, by step

    @torch.no_grad()
    def measure(self, model: nn.Module, step: int) -> None:
        """One more point of the curve; SystemExit where a model sees what it has to predict."""
        if self.text.train.device.type != "cpu":
            torch.accelerator.synchronize()  # what was asked for before is not the judge's time
        started = time.perf_counter()
        if len(self.curve) == self.sizes.evaluations:
            raise SystemExit(f"The best of {self.sizes.evaluations} evaluations counts: there are no more.")
        self.curve[step] = self.loss(model, self.text.held_out)
        refuse_foresight(model, cut(self.text.held_out, self.sizes)[:2].expand(self.models, -1, -1))
        model.train()
        self.seconds += time.perf_counter() - started

    @torch.no_grad()
    def loss(self, model: nn.Module, data: Tensor) -> list[float]:
        """Cross-entropy of a text for every model: of each character but the first of its window."""
        model.eval()
        windows, total = cut(data, self.sizes), 0.0
        for some in windows.expand(self.models, -1, -1).split(50, dim=1):
            logits = model(some[..., :-1]).float()
            total += F.cross_entropy(logits.movedim(-1, 1), some[..., 1:], reduction="none").sum((1, 2))
        return (total / windows[:, 1:].numel()).tolist()


def cut(data: Tensor, sizes: Sizes) -> Tensor:
    """Windows evenly spread over a text, each a context and one character more, (windows, context + 1)."""
    count = min(sizes.windows, (len(data) - 1) // sizes.context)
    starts = torch.linspace(0, len(data) - sizes.context - 1, count, dtype=torch.float64, device="cpu").long()
    return data[(starts.unsqueeze(1) + torch.arange(sizes.context + 1)).to(data.device)].long()


def refuse_foresight(model: nn.Module, windows: Tensor) -> None:
    """Other characters in the second half of a window must leave the predictions of its first half as they are."""
    known, changed = windows.shape[-1] // 2, windows.clone()
    changed[..., known:] = windows[..., :1]
    first, second = (model(x[..., :-1])[..., :known, :].float().log_softmax(-1) for x in (windows, changed))
    if (first - second).abs().max() > 0.01:
        raise SystemExit("The model sees what it has to predict: a prediction changes with the characters after it.")


def summarise(judge: Judge, model: nn.Module, timing: dict[str, float]) -> dict:
    """A dataset's part of final_info.json. Times are measured once, for all models together: they have no spread."""
    curve, last = np.array([*judge.curve.values()]), np.array(judge.loss(model, judge.text.train))
    if not (np.isfinite(curve).all() and np.isfinite(last).all()):
        raise SystemExit("The loss is not finite: training has diverged; try a smaller learning rate.")
    seeds = {"best_val_loss": curve.min(0).tolist(), "final_train_loss": last.tolist()}
    means = {metric: float(np.mean(values)) for metric, values in seeds.items()}
    stderrs = {m: float(np.std(v, ddof=1)) / len(v) ** 0.5 for m, v in seeds.items() if len(v) > 1}
    return {"means": means | timing, "stderrs": stderrs, "seeds": seeds}


def study(name: str, text: Text, config: Config, sizes: Sizes) -> tuple[dict, dict]:
    """Train, measure and let write on one corpus: its part of final_info.json, and arrays for plot.py."""
    seeds = list(range(max(1, sizes.seeds // 3) if CORPORA[name][-1] else sizes.seeds))
    judge = Judge(text, sizes, len(seeds))
    model, losses, train_time = train(config, text, sizes, judge, seeds)
    started = time.perf_counter()
    numbers = generate(model, max(0, text.symbols.find(b"\n")), sizes.generated, Draw(seeds)).cpu().numpy()
    timing = {"train_time": train_time, "inference_tokens_per_second": numbers.size / (time.perf_counter() - started)}
    samples = [bytes(text.symbols[i] for i in row).decode("utf-8", errors="replace") for row in numbers]
    arrays = {"losses": losses, "steps": [*judge.curve], "valid": [*judge.curve.values()], "samples": samples}
    return summarise(judge, model, timing), arrays


def main(out_dir: Path) -> None:
    preset, sizes = read_sizes()
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    names = list(CORPORA) if preset == "full" else ["plays"]
    print(f"{preset} on {device}: {', '.join(names)}", flush=True)
    info, arrays = {}, {}
    for name in names:
        if text := read_text(name, device):
            info[name], found = study(name, text, PRESETS[preset], sizes)
            arrays |= {f"{name}/{key}": values for key, values in found.items()}
    out_dir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out_dir / "all_results.npz", datasets=list(info), **arrays)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    for name, row in info.items():
        print(f"{name:12s}" + "  ".join(f"{metric} {value:.4f}" for metric, value in row["means"].items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
