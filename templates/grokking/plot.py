"""Draw every run_* folder beside this file that has results: accuracy.png, losses.png and metrics.png.

The figures fit a text width of 5.5 inches. Runs are named by `labels`, and by labels.json where there is one;
metrics.json adds metrics to those drawn: {name: label}.
"""

import json
import re
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

labels = {"run_0": "Baseline"}  # a run that is not named here is called by its folder
metrics = {"steps_to_generalize": "Steps to 99% validation accuracy", "val_acc": "Final validation accuracy"}
titles = {"x_plus_y": "x + y", "x_minus_y": "x \N{MINUS SIGN} y", "x_div_y": "x \N{DIVISION SIGN} y"}
WIDTH = 5.5  # inches
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito


def read_runs() -> dict[str, dict]:
    """Results of every run that has some, in the order of their numbers."""
    complete = [p.parent for p in Path().glob("run_*/final_info.json") if p.with_name("all_results.npz").is_file()]
    folders = sorted(complete, key=lambda p: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", p.name)])
    if not folders:
        raise SystemExit("There is nothing to draw: no folder run_* beside plot.py holds results.")
    runs = {}
    for i, folder in enumerate(folders):
        with np.load(folder / "all_results.npz") as arrays:
            runs[folder.name] = dict(arrays)
        runs[folder.name] |= {
            "info": json.loads((folder / "final_info.json").read_text(encoding="utf-8")),
            "label": labels.get(folder.name, folder.name),
            "color": COLORS[i % len(COLORS)],
        }
    return runs


def draw_accuracy(runs: dict[str, dict], datasets: list[str]) -> None:
    """Accuracy on training (dotted) and validation examples (solid) along training, each the mean of the seeds."""
    fig, axes = draw_curves(runs, datasets, "acc")
    axes[0].set(ylabel="Accuracy", ylim=(-0.03, 1.03))
    save(fig, "accuracy.png")


def draw_losses(runs: dict[str, dict], datasets: list[str]) -> None:
    """Cross-entropy on training (dotted) and validation examples (solid) along training, each the mean of the seeds."""
    fig, axes = draw_curves(runs, datasets, "loss")
    axes[0].set(ylabel="Cross-entropy (nats)", yscale="log")
    save(fig, "losses.png")


def draw_curves(runs: dict[str, dict], datasets: list[str], kind: str) -> tuple[plt.Figure, np.ndarray]:
    """A panel for each dataset, and a legend below."""
    columns = min(3, 1 + len(runs))
    size = (WIDTH, 1.8 + 0.16 * -(-(len(runs) + 2) // columns))
    fig, axes = plt.subplots(1, len(datasets), figsize=size, sharex=True, sharey=True, layout="constrained")
    for i, (ax, name) in enumerate(zip(axes, datasets, strict=True)):
        for run in runs.values():
            for part, style, alpha in (("train", ":", 0.6), ("val", "-", 1.0)):
                curve = run[f"{part}_{kind}"][i :: len(datasets)].mean(0)  # models: by seed, then by dataset
                ax.plot(run["step"][0], curve, style, color=run["color"], lw=1.0, alpha=alpha)
        ax.set(title=titles.get(name, name.capitalize()))
    axes[len(axes) // 2].set_xlabel("Step", x=0, ha="center")
    styles = [Line2D([], [], color="#555555", ls=s, label=n) for s, n in ((":", "Training"), ("-", "Validation"))]
    colors = [Line2D([], [], color=run["color"], lw=2, label=shorten(run["label"])) for run in runs.values()]
    fig.legend(handles=styles + (colors if len(runs) > 1 else []), loc="outside lower center", ncols=columns,
               frameon=False, fontsize=7, handlelength=1.8, columnspacing=1.4)  # fmt: skip
    return fig, axes


def tells_apart(runs: dict[str, dict], metric: str) -> bool:
    """Whether any run differs in a metric from another: one that is the same in all of them needs no panel."""
    seen = [[d.get("seeds", d["means"]).get(metric) for d in run["info"].values()] for run in runs.values()]
    seen = [each for each in seen if any(value is not None for value in each)]  # of the runs that report it
    return len(seen) < 2 or any(each != seen[0] for each in seen)


def draw_metrics(runs: dict[str, dict], datasets: list[str]) -> None:
    """Each metric by run and dataset: seeds are dots, open where one did not generalize; their mean is a bar."""
    names = [textwrap.fill(shorten(run["label"]), 22) for run in runs.values()]
    between = 0.1 if len(metrics) < 3 else 0.04  # inches, so that all fit a page
    room = between + 0.115 * max(1 + name.count("\n") for name in names)  # inches for each run
    size = (WIDTH, len(metrics) * (0.6 + room * len(runs)))
    fig, axes = plt.subplots(len(metrics), len(datasets), figsize=size, squeeze=False, sharex="row", sharey=True)
    fig.set_layout_engine("constrained", wspace=0.06)
    for row, (metric, title) in zip(axes, metrics.items(), strict=True):
        for i, (ax, name) in enumerate(zip(row, datasets, strict=True)):
            for place, run in enumerate(runs.values()):
                reached = (run["val_acc"][i :: len(datasets)] >= 0.99).any(1)
                result, color = run["info"][name], run["color"]
                if metric not in result["means"]:  # one that only some runs report
                    continue
                mean = result["means"][metric]
                if place == 0:
                    ax.axvline(mean, color="#bbbbbb", lw=0.7, zorder=0)
                for seed, whole in zip(result["seeds"][metric], reached, strict=True):
                    ax.plot(seed, place, "o", ms=3.2, mew=0.7, alpha=0.6, mec=color, mfc=color if whole else "white")
                ax.plot([mean, mean], [place - 0.3, place + 0.3], color=color, lw=1.4)
            ax.margins(x=0.12)
            ax.tick_params(axis="y", length=0)
            ax.xaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2, steps=[1, 2, 5, 10]))
        row[0].set(yticks=range(len(runs)), yticklabels=names, ylim=(len(runs) - 0.4, -0.6))
        row[len(row) // 2].set_xlabel(title, x=0, ha="center")
    for ax, name in zip(axes[0], datasets, strict=True):
        ax.set_title(titles.get(name, name.capitalize()))
    fig.align_xlabels()
    save(fig, "metrics.png")


def shorten(label: str) -> str:
    """A label, cut short where it is very long."""
    return textwrap.shorten(label, 44, placeholder=" ...")


def save(fig: plt.Figure, name: str) -> None:
    fig.savefig(name, dpi=200)
    plt.close(fig)


if __name__ == "__main__":
    plt.rcParams.update({
        "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 8,
        "legend.fontsize": 8, "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6, "axes.formatter.useoffset": False,
    })  # fmt: skip
    if Path("labels.json").is_file():
        labels |= json.loads(Path("labels.json").read_text(encoding="utf-8"))
    if Path("metrics.json").is_file():
        metrics |= json.loads(Path("metrics.json").read_text(encoding="utf-8"))
    found = read_runs()
    metrics = {name: title for name, title in metrics.items() if tells_apart(found, name)} or metrics
    names = [str(name) for name in next(iter(found.values()))["datasets"]]
    draw_accuracy(found, names)
    draw_losses(found, names)
    draw_metrics(found, names)
