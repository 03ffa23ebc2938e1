"""Read final_info.json, in The AI Scientist's form and its variants."""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kit.schemas import KitError

SUFFIXES = {"means": "_mean", "stderrs": "_stderr"}  # some public templates write val_loss_mean for val_loss
FORM = '{dataset: {"means": {metric: number}, "stderrs": {...}, "seeds": {metric: [numbers]}}}'


class Measured(BaseModel):
    """What one run measured on one dataset."""

    means: dict[str, float]
    stderrs: dict[str, float] = {}
    seeds: dict[str, list[float]] = {}  # one value per seed, in the order of the seeds


def read_final_info(folder: Path) -> dict[str, Measured]:
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
    return {name: _measured(file, name, entry) for name, entry in data.items()}


def _measured(file: Path, dataset: str, entry: Any) -> Measured:
    if not isinstance(entry, dict) or not isinstance(entry.get("means"), dict) or not entry["means"]:
        raise KitError(f"{file}: {dataset!r} has no means. Expected {FORM}.")
    numbers = {part: _numbers(file, dataset, part, entry.get(part) or {}) for part in SUFFIXES}
    seeds = {}
    for metric, values in (entry.get("seeds") or entry.get("final_info_dict") or {}).items():
        if not isinstance(values, list):
            raise KitError(f"{file}: {dataset}/seeds/{metric} is not a list of numbers.")
        seeds[metric] = [_number(file, f"{dataset}/seeds/{metric}", value) for value in values]
    return Measured(**numbers, seeds={m: v for m, v in seeds.items() if m in numbers["means"]})


def _numbers(file: Path, dataset: str, part: str, entry: Any) -> dict[str, float]:
    if not isinstance(entry, dict):
        raise KitError(f"{file}: {dataset}/{part} is no object. Expected {FORM}.")
    return {metric.removesuffix(SUFFIXES[part]): _number(file, f"{dataset}/{part}/{metric}", value)
            for metric, value in entry.items()}  # fmt: skip


def _number(file: Path, place: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KitError(f"{file}: {place} is {value!r}; expected a number.")
    if not math.isfinite(value):
        raise KitError(f"{file}: {place} is {value}; the run diverged or divided by zero.")
    return float(value)
