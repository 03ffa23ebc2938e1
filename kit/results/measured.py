"""Read final_info.json, in The AI Scientist's form and its variants."""

import json
import math
import re
import statistics
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from kit.schemas import KitError

SUFFIXES = {"means": "_mean", "stderrs": "_stderr"}  # some public templates write val_loss_mean for val_loss
FORM = '{dataset: {"means": {metric: number}, "stderrs": {...}, "seeds": {metric: [numbers]}}}'
UNSAFE = re.compile(r"[^ -~]|[\\{}%#~^&$]")  # what TeX could not read in a key


class Sample(NamedTuple):
    """What is known of one metric over seeds."""

    mean: float
    stderr: float
    n: int


class Measured(BaseModel):
    """What one run measured on one dataset."""

    means: dict[str, float]
    stderrs: dict[str, float] = {}  # of the mean; computed where there are values per seed
    seeds: dict[str, list[float]] = {}  # one value per seed, in the order of the seeds
    num_seeds: int = 1  # as the template declares them, for metrics without values per seed
    places: dict[str, str] = {}  # "means/loss" → where in the file (JSON pointer)

    def sample(self, metric: str) -> Sample | None:
        """Mean, standard error and number of seeds; nothing where one of them is not known."""
        values = self.seeds.get(metric, [])
        if len(values) >= 2:
            return Sample(statistics.fmean(values), stderr(values), len(values))
        if metric in self.stderrs and self.num_seeds >= 2:
            return Sample(self.means[metric], self.stderrs[metric], self.num_seeds)
        return None


def read_final_info(folder: Path, num_seeds: int = 1) -> dict[str, Measured]:
    """The datasets of folder/final_info.json; KitError names the file, the place and what was expected."""
    file = folder / "final_info.json"
    if not file.is_file():
        raise KitError(f"{file} was not written. experiment.py has to write {FORM}.")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KitError(f"{file} is not JSON ({error}). Expected {FORM}.") from error
    if not isinstance(data, dict) or not data:
        raise KitError(f"{file} holds no datasets. Expected {FORM}.")
    read = {_safe(name): _measured(file, name, entry, num_seeds) for name, entry in data.items()}
    if len(read) < len(data):
        raise KitError(f"{file}: the names of its datasets differ in signs alone that a key cannot hold.")
    return read


def _measured(file: Path, dataset: str, entry: Any, num_seeds: int) -> Measured:
    if not isinstance(entry, dict) or not isinstance(entry.get("means"), dict) or not entry["means"]:
        raise KitError(f"{file}: {dataset!r} has no means. Expected {FORM}.")
    places: dict[str, str] = {}
    means, stderrs = (_numbers(file, dataset, part, entry.get(part) or {}, places) for part in SUFFIXES)
    made = Measured(means=means, stderrs=stderrs, num_seeds=num_seeds)
    for metric, values in _seeds(file, dataset, entry, made.means, places).items():
        made.seeds[metric] = values
        if len(values) >= 2:  # some public templates divide by n where the root of n is meant
            made.stderrs[metric] = stderr(values)
            places[f"stderrs/{metric}"] = places[f"seeds/{metric}"]
    made.places = places
    return made


def _numbers(file: Path, dataset: str, part: str, entry: Any, places: dict[str, str]) -> dict[str, float]:
    if not isinstance(entry, dict):
        raise KitError(f"{file}: {dataset}/{part} is no object. Expected {FORM}.")
    suffix = SUFFIXES[part] if all(name.endswith(SUFFIXES[part]) for name in entry) else ""
    found = {}
    for name, value in entry.items():
        metric = _safe(name.removesuffix(suffix))
        found[metric] = _number(file, f"{dataset}/{part}/{name}", value)
        places[f"{part}/{metric}"] = pointer(dataset, part, name)
    return found


def _seeds(file: Path, dataset: str, entry: dict, means: dict[str, float], places: dict) -> dict[str, list[float]]:
    """The values per seed; a list that does not average to the mean is a mistake, or something else."""
    part = "seeds" if entry.get("seeds") else "final_info_dict"
    lists, found = entry.get(part) or {}, {}
    if not isinstance(lists, dict):
        raise KitError(f"{file}: {dataset}/{part} is no object. Expected {FORM}.")
    for name, values in lists.items():
        if not isinstance(values, list):
            raise KitError(f"{file}: {dataset}/{part}/{name} is not a list of numbers.")
        numbers, metric = [_number(file, f"{dataset}/{part}/{name}", value) for value in values], _safe(name)
        if metric not in means or not numbers:
            continue
        average, size = statistics.fmean(numbers), max(map(abs, numbers))
        if abs(average - means[metric]) <= 0.02 * size:  # a mean may have been rounded
            found[metric] = numbers
            places[f"seeds/{metric}"] = pointer(dataset, part, name)
        elif part == "seeds":
            words = f"{dataset}/means/{name} is {means[metric]:.6g}, but the values of its seeds average to"
            raise KitError(f"{file}: {words} {average:.6g}.")
    return found


def mix(weights: Mapping[str, float], measured: Mapping[str, Mapping[str, Measured]]) -> dict[str, Measured]:
    """What a weighted sum of runs would have measured, by dataset: its means, and its values seed by seed.

    Only the datasets and metrics that all of them have; no values per seed where they have not equally many.
    """
    runs, mixed = [measured[run] for run in weights], {}
    for dataset in [name for name in runs[0] if all(name in run for run in runs)]:
        sides = [run[dataset] for run in runs]
        metrics = [m for m in sides[0].means if all(m in side.means for side in sides)]
        seeds = {m: [side.seeds.get(m, []) for side in sides] for m in metrics}
        mixed[dataset] = Measured(
            means={m: _sum(weights.values(), [side.means[m] for side in sides]) for m in metrics},
            seeds={m: [_sum(weights.values(), values) for values in zip(*each, strict=True)]
                   for m, each in seeds.items() if len(set(map(len, each))) == 1},
        )  # fmt: skip
    return mixed


def _sum(weights: Iterable[float], values: Iterable[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))


def stderr(values: list[float]) -> float:
    """The standard error of the mean."""
    return statistics.stdev(values) / math.sqrt(len(values))


def _number(file: Path, place: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KitError(f"{file}: {place} is {value!r}; expected a number.")
    if not math.isfinite(value):
        raise KitError(f"{file}: {place} is {value}; the run diverged or divided by zero.")
    return float(value)


def _safe(name: str) -> str:
    """A name as part of a key of the ledger: no letter that TeX would not read as itself."""
    return UNSAFE.sub("-", "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)))


def pointer(*names: str) -> str:
    """The place of a value in a JSON file (RFC 6901)."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
