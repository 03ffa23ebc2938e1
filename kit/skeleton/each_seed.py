"""Run an experiment once a seed, read the numbers that it prints or writes, and keep them in final_info.json.

experiment.py calls `run` first of all. The process that a person or the kit started with --out_dir then starts
the experiment again for each seed, in a copy of this folder, and ends there. In those copies the call sets the seed and
returns, and the experiment goes on as it is written. KIT_SEEDS or KIT_PRESET say how many seeds there are.
"""

import argparse
import csv
import io
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

METRICS: list[str] = []  # the numbers that count; without names: all that are found
DATASET = "data"  # what final_info.json calls the data
SEEDS = {"smoke": 2, "demo": 3, "full": 5}  # of each preset

HERE = Path(__file__).resolve().parent
FAR = 10_007  # between the random numbers of one seed and of the next
LARGE = 10_000_000  # bytes; a larger file is not copied for each seed but linked to
LEFT = ("run_*", "seed_*", "__pycache__", ".*")  # not copied

# Names by which a number is known to measure something, and names of numbers that measure nothing.
LOWER = re.compile(r"loss|error|perplexity|divergence|distance|regret|latency|elapsed|seconds|runtime|"
                   r"(?:^|_)(?:err|mse|mae|rmse|nll|ppl|bpc|bpb|wer|cer|fid|kl|brier|time)(?:_|$)")  # fmt: skip
HIGHER = re.compile(r"accuracy|reward|return|score|precision|recall|bleu|rouge|success|"
                    r"(?:^|_)(?:acc\d?|f1|auc|auroc|r2|iou|dice|psnr|ssim|map|elbo)(?:_|$)")  # fmt: skip
COUNTER = re.compile(r"(?:^|_)(?:epochs?|steps?|iters?|iterations?|batch|batches|seed|lr|learning_rate|params|it|eta|"
                     r"parameters|device|size|fold|version|port|line|gpu|cpu|rank)(?:_|$)|^(?:n|num)_")  # fmt: skip
WHICH = {"train", "training", "val", "valid", "validation", "test", "eval", "dev", "mean", "avg", "average", "best",
         "final", "total", "last", "ema"}  # fmt: skip
OWN = "measured: "  # begins a line that report() printed

NUMBER = re.compile(
    r"(?<![\w.])(?P<name>[A-Za-z][\w./@-]*(?:[ \t]+(?:[A-Za-z][\w./@-]*|\d{3,})){0,8})"  # val loss, Test/Accuracy
    r"(?P<sign>[\"']?[ \t]*[:=][ \t]*|[ \t]+)(?:tensor\(|array\(|np\.float\d+\(|\[)?"
    r"(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf)\b)(?:[ \t]*/[ \t]*(?P<whole>\d+)\b)?"
    r"(?:[ \t]?(?:%|ms|s|secs?|seconds|nats|bits)(?!\w))?(?![\w:]|\.\d)",
    re.IGNORECASE,
)


# --- read numbers ---------------------------------------------------------------------------------
def plain(name: str) -> str:
    """A name in lower case, its words joined by underscores: Test Loss → test_loss."""
    return re.sub(r"[\W_]+", "_", name, flags=re.ASCII).strip("_").lower()


def is_known(name: str) -> bool:
    """Whether a name says that lower or higher is better."""
    return bool(LOWER.search(name) or HIGHER.search(name))


def short(name: str) -> str:
    """A name without the words of a sentence that lead to it: saved model with val_loss → val_loss."""
    words = name.split("_")
    start = next((place for place, word in enumerate(words) if is_known(word)), 0)
    while start and words[start - 1] in WHICH | {"set", "data"}:
        start -= 1
    return "_".join(words[start:])


def numbers(line: str) -> dict[str, float]:
    """The numbers of one printed line, by name: JSON, or `loss: 0.31`, `acc=0.9`, `val loss 4.2`, `Accuracy: 9/10`."""
    line = line[:4000].strip().removeprefix(OWN)
    try:
        data = json.loads(line) if line.startswith("{") else None
    except ValueError:
        data = None  # a Python dictionary, perhaps: it reads like any line
    if isinstance(data, dict):
        return leaves(data)
    found = {}
    for match in NUMBER.finditer(line):
        name, value = short(plain(match["name"])), float(match["value"])
        if is_known(name) or (not match["sign"].isspace() and name and not COUNTER.search(name)):
            whole = int(match["whole"] or 0)
            found[name] = value / whole if match["value"].isdecimal() and whole >= value > 0 else value
    return found


def leaves(data: object, name: str = "") -> dict[str, float]:
    """The numbers in parsed JSON, by the path to each; of a list the last entry counts."""
    if isinstance(data, dict):
        parts = [leaves(value, f"{name} {key}") for key, value in data.items()]
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(data, list):
        return leaves(data[-1], name) if data else {}
    key = plain(name)
    if isinstance(data, bool) or not isinstance(data, int | float) or not key:
        return {}
    return {} if COUNTER.search(key) and not is_known(key) else {key: float(data)}


def numbers_in_file(file: Path) -> dict[str, float]:
    """The numbers of a JSON, JSON-lines or CSV file; of a table the last row counts."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        cells = {key: value for key, value in (rows[-1] if rows else {}).items() if isinstance(value, str) and key}
        return {key: n for name, cell in cells.items() for key, n in numbers(f"{plain(name)}: {cell}").items()}
    try:
        return leaves(json.loads(text))
    except ValueError:
        return {key: value for line in text.splitlines() for key, value in numbers(line).items()}


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """The files of results that are there, and what tells whether they were written since."""
    found = [f for f in folder.rglob("*") if f.suffix in (".json", ".jsonl", ".csv") and f.is_file()]
    return {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in found if f.stat().st_size < LARGE}


def measured(lines: list[str], folder: Path, before: dict[Path, tuple[int, int]]) -> dict[str, list[float]]:
    """All values of each number, in the order in which they came; what is printed goes before what is in a file."""
    printed: dict[str, list[float]] = {}
    for line in lines:
        for name, value in numbers(line).items():
            printed.setdefault(name, []).append(value)
    written = [file for file, state in files_of(folder).items() if before.get(file) != state]
    filed = {name: [value] for file in sorted(written) for name, value in numbers_in_file(file).items()}
    return filed | printed


def report(**values: float) -> None:
    """Report further numbers of this seed: they enter final_info.json beside METRICS."""
    print(OWN + json.dumps({name: float(value) for name, value in values.items()}), flush=True)


# --- seeds ----------------------------------------------------------------------------------------
def seed_everything(seed: int) -> None:
    """Seed all chance, and move the seeds that the experiment sets itself: at seed 0 they are what it says."""
    random.seed(seed)
    random.seed = moved(random.seed, seed)
    if uses("numpy", "pandas", "scipy", "sklearn", "torch"):
        import numpy

        numpy.random.seed(seed)
        fresh = numpy.random.RandomState(seed).randint  # for generators that would take any seed
        numpy.random.default_rng = moved(numpy.random.default_rng, seed, lambda: int(fresh(2**31)))
        numpy.random.seed = moved(numpy.random.seed, seed)
    if uses("torch", "lightning", "pytorch_lightning", "transformers"):
        import torch

        torch.manual_seed(seed)
        torch.manual_seed = moved(torch.manual_seed, seed)


def moved(function: Callable, by: int, fresh: Callable[[], int] | None = None) -> Callable:
    """A function that takes a seed, given one that differs from seed to seed; `fresh` where it is given none."""

    def call(seed=None, *rest, **named):
        if isinstance(seed, Integral) and not isinstance(seed, bool):
            seed = int(seed) + FAR * by
        elif seed is None and fresh and not named:
            seed = fresh()
        return function(*([] if seed is None else [seed]), *rest, **named)

    return call


def uses(*packages: str) -> bool:
    """Whether a program of this folder imports one of them."""
    words = re.compile(rf"^\s*(?:import|from)\s+(?:{'|'.join(packages)})\b", re.MULTILINE)
    programs = [file for file in Path().rglob("*.py") if file.name != "each_seed.py"]
    return any(words.search(file.read_text(encoding="utf-8", errors="replace")) for file in programs)


# --- run ------------------------------------------------------------------------------------------
def run(modules: str = "") -> None:
    """Run the experiment once a seed and end; in the process of one seed, set it and return.

    `modules` is the folder in which the experiment's own modules lie, where it is not this one.
    """
    if modules:
        sys.path.insert(0, str(HERE / modules))
    if "EACH_SEED" in os.environ:
        seed_everything(int(os.environ["EACH_SEED"]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    arguments, rest = parser.parse_known_args()
    preset = os.environ.get("KIT_PRESET") or "demo"
    if preset not in SEEDS:
        sys.exit(f"KIT_PRESET={preset!r} is no preset: add it to SEEDS in each_seed.py. There are {', '.join(SEEDS)}.")
    num_seeds = int(os.environ.get("KIT_SEEDS") or SEEDS[preset])
    found, extra = [], set()
    for seed in range(num_seeds):
        lines = run_seed(seed, rest, arguments.out_dir, found)
        extra |= {name for line in lines if line.startswith(OWN) for name in numbers(line)}
    keep(arguments.out_dir, found, extra)
    sys.exit(0)


def run_seed(seed: int, arguments: list[str], out_dir: Path, found: list[dict[str, list[float]]]) -> list[str]:
    """Run the experiment with one seed in a copy of this folder; what it measured is added to `found`."""
    print(f"--- seed {seed} ---", flush=True)
    with tempfile.TemporaryDirectory(prefix="seed_", dir=HERE) as name:
        room, lines = Path(name, "room"), []
        left = shutil.ignore_patterns(*LEFT, out_dir.name)
        shutil.copytree(HERE, room, copy_function=copy, symlinks=True, ignore=left)
        before = files_of(room)
        command = [sys.executable, Path(sys.argv[0]).name, *arguments]
        env = os.environ | {"EACH_SEED": str(seed), "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, cwd=room, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace") as child:  # fmt: skip
            for line in child.stdout or []:  # a progress bar's \r ends a line, too
                lines.append(line)
                print(line, end="", flush=True)
        if child.returncode:
            sys.exit(f"The experiment ended with code {child.returncode} at seed {seed}.")
        found.append(measured(lines, room, before))
        return lines


def copy(source: str, target: str) -> str:
    """Copy a file, or link to it where it is large: those are data, which are read."""
    if os.path.getsize(source) < LARGE:
        return shutil.copy2(source, target)
    os.symlink(source, target)
    return target


def keep(out_dir: Path, found: list[dict[str, list[float]]], extra: set[str]) -> None:
    """Write final_info.json, and curves.json with what was said along the way."""
    seen = sorted({name for one in found for name in one})
    names = [*METRICS, *sorted(extra - set(METRICS))] if METRICS else seen
    missing = [name for name in names if not all(one.get(name) for one in found)]
    if missing or not names:
        sys.exit(f"No number called {', '.join(missing) or 'anything'} was printed (as `loss: 0.31`) or written to a "
                 f"JSON or CSV file at every seed. Found: {', '.join(seen) or 'none'}.")  # fmt: skip
    seeds = {name: [one[name][-1] for one in found] for name in names}
    spread = {name: statistics.stdev(v) / math.sqrt(len(v)) for name, v in seeds.items() if len(v) > 1}
    means = {name: statistics.fmean(values) for name, values in seeds.items()}
    curves = {name: [one[name] for one in found] for name in names if all(len(one[name]) > 2 for one in found)}
    out_dir.mkdir(parents=True, exist_ok=True)
    info = {DATASET: {"means": means, "stderrs": spread, "seeds": seeds}}
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    (out_dir / "curves.json").write_text(json.dumps({DATASET: curves} if curves else {}), encoding="utf-8")
