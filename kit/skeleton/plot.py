"""Draw all run_* folders beside this file: metrics.png from final_info.json, curves.png from curves.json.

Runs are named by labels.json where it is there: {"run_0": "Baseline", …}. The figures fit a text width of 5.5 inches.
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
WIDTH = 5.5  # inches
XLABEL = "step"  # what the points of a curve are


def read(name: str) -> dict[str, dict]:
    """A file of every run that has it, in the order of their numbers."""
    files = sorted(Path().glob(f"run_*/{name}"), key=lambda f: [int(n) for n in re.findall(r"\d+", f.parent.name)])
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def panels(runs: dict[str, dict], part: str, most: int) -> list[tuple[str, str]]:
    """Pairs of dataset and metric, in the order in which the runs name them; no figure holds more than `most`."""
    pairs = [(d, m) for run in runs.values() for d, values in run.items() for m in (values[part] if part else values)]
    return list(dict.fromkeys(pairs))[:most]


def sheet(number: int, height: float) -> tuple[Any, Any]:
    """A figure with panels in rows of three at most; panels that are not needed are taken away."""
    columns = 2 if number == 4 else min(number, 3)
    rows = -(-number // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * height), squeeze=False, layout="constrained")
    for ax in axes.flat[number:]:
        ax.remove()
    return fig, axes.flat


def draw_metrics(runs: dict[str, dict], labels: dict[str, str]) -> None:
    """Each metric on each dataset: a run's seeds as small dots, their mean as a line with its standard error."""
    found = panels(runs, "means", 9)
    fig, axes = sheet(len(found), 0.75 + 0.2 * len(runs))
    for ax, (dataset, metric) in zip(axes, found, strict=False):
        for row, run in enumerate(runs.values()):
            values, color = run.get(dataset, {}), COLORS[row % len(COLORS)]
            if metric not in values.get("means", {}):
                continue
            seeds = values.get("seeds", {}).get(metric, [])
            ax.plot(seeds, [row] * len(seeds), "o", color=color, ms=3, alpha=0.5, mew=0)
            spread = values.get("stderrs", {}).get(metric, 0)
            ax.errorbar(values["means"][metric], row, xerr=spread, fmt="|", ms=10, color=color, elinewidth=1.5)
        ax.set(title=dataset, xlabel=metric.replace("_", " "), ylim=(len(runs) - 0.5, -0.5))
        ax.set_yticks(range(len(runs)), [labels.get(name, name) for name in runs])
        if not ax.get_subplotspec().is_first_col():
            ax.set_yticklabels([])
        ax.locator_params(axis="x", nbins=4)
    fig.savefig("metrics.png", dpi=200)


def draw_curves(runs: dict[str, dict], labels: dict[str, str]) -> None:
    """Numbers along training, as each run reported them: the mean over seeds, and their range as a band."""
    found = panels(runs, "", 6)
    fig, axes = sheet(len(found), 1.8)
    for ax, (dataset, metric) in zip(axes, found, strict=False):
        for row, (name, run) in enumerate(runs.items()):
            curves = [curve for curve in run.get(dataset, {}).get(metric, []) if curve]
            if not curves:
                continue
            shortest = min(map(len, curves))
            block, color = np.array([curve[:shortest] for curve in curves]), COLORS[row % len(COLORS)]
            ax.fill_between(range(1, shortest + 1), block.min(0), block.max(0), color=color, alpha=0.15, lw=0)
            ax.plot(range(1, shortest + 1), block.mean(0), color=color, lw=1, label=labels.get(name, name))
        ax.set(title=dataset, xlabel=XLABEL, ylabel=metric.replace("_", " "))
        heights = np.concatenate([line.get_ydata() for line in ax.lines])
        if heights.min() > 0 and heights.max() > 20 * heights.min():
            ax.set_yscale("log")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    fig.savefig("curves.png", dpi=200)


if __name__ == "__main__":
    plt.rcParams.update({"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False})
    labels = {"run_0": "Baseline"}
    if Path("labels.json").is_file():
        labels |= json.loads(Path("labels.json").read_text(encoding="utf-8"))
    runs, curves = read("final_info.json"), read("curves.json")
    if not runs:
        raise SystemExit("There is nothing to draw: no folder run_* beside plot.py holds final_info.json.")
    draw_metrics(runs, labels)
    if any(values for run in curves.values() for values in run.values()):
        draw_curves(curves, labels)
