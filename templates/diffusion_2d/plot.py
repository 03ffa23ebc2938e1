"""Draw every run_* folder beside this file that has results: loss_curves.png, samples.png and metrics.png.

The figures fit a text width of 5.5 inches. Runs are named by `labels`, and by labels.json where there is one;
metrics.json adds metrics to those drawn: {name: label}.
"""

import json
import math
import re
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

labels = {"run_0": "Baseline"}  # a run that is not named here is called by its folder
metrics = {"kl_divergence": "KL divergence (nats)", "eval_loss": "Evaluation loss"}
WIDTH = 5.5  # inches
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
STYLES = ["-", "--", "-.", ":"]


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
            "style": STYLES[i // len(COLORS) % len(STYLES)],
        }
    return runs


def per_dataset(values: np.ndarray, i: int, datasets: list[str]) -> np.ndarray:
    """What belongs to dataset i, one entry a seed; models are sorted by seed, then by dataset."""
    return values[i :: len(datasets)]


def draw_loss_curves(runs: dict[str, dict], datasets: list[str]) -> None:
    """Training loss of each run, averaged over seeds and a hundredth of the steps; the wide line is the first run."""
    fig, axes = plt.subplots(1, len(datasets), figsize=(WIDTH, 2.0), sharey=True, layout="constrained")
    highest = 0.0
    for i, (ax, name) in enumerate(zip(axes, datasets, strict=True)):
        for place, run in enumerate(runs.values()):
            curve = per_dataset(run["losses"], i, datasets).mean(0)
            width = max(1, len(curve) // 100)
            smooth = curve[: len(curve) // width * width].reshape(-1, width).mean(1)
            steps = (np.arange(len(smooth)) + 0.5) * width
            look = {"lw": 2.4, "alpha": 0.4} if place == 0 < len(runs) - 1 else {"lw": 0.8}  # seen below the others
            ax.plot(steps, smooth, run["style"], color=run["color"], label=run["label"], **look)
            highest = max(highest, smooth[2:].max(initial=0))  # the first steps would flatten the rest
        ax.set(title=name.capitalize(), xlim=(0, len(curve)), xticks=[0, len(curve) // 2, len(curve)])
        ticks = ax.get_xticklabels()
        ticks[0].set_ha("left")
        ticks[-1].set_ha("right")
    axes[0].set(ylabel="Training loss", ylim=(None, 1.05 * highest))
    axes[len(axes) // 2].set_xlabel("Step", x=0, ha="center")
    add_legend(fig, axes[0], len(runs))
    save(fig, "loss_curves.png")


def add_legend(fig: plt.Figure, ax: plt.Axes, count: int) -> None:
    """One legend under the figure; none where there is nothing to tell apart."""
    if count > 1:
        handles, names = ax.get_legend_handles_labels()
        names = [textwrap.shorten(name, 44, placeholder=" ...") for name in names]
        columns = max(1, min(count, 4, 96 // (max(map(len, names)) + 6)))
        fig.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=7,
                   handlelength=1.6, columnspacing=1.4)  # fmt: skip


def wrap(label: str, width: int) -> str:
    """A label in lines of some characters, cut short where it is very long."""
    return textwrap.fill(textwrap.shorten(label, 44, placeholder=" ..."), width)


def draw_samples(runs: dict[str, dict], datasets: list[str]) -> None:
    """The data in the first column, then what the first seed of each run generates, with a count of points outside."""
    first = next(iter(runs.values()))
    columns = [("Data", "#555555", first["held_out"])]
    columns += [(run["label"], run["color"], run["samples"][: len(datasets)]) for run in runs.values()]
    side = min(1.05, (WIDTH - 0.3) / len(columns))  # inches
    turned = side < 0.6  # the names of the runs
    size = (WIDTH, (1.5 if turned else 0.6) + len(datasets) * (side + 0.16))
    fig, axes = plt.subplots(len(datasets), len(columns), figsize=size, squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    for column, (label, color, samples) in zip(axes.T, columns, strict=True):
        for ax, points, data in zip(column, samples, first["held_out"], strict=True):
            half = 1.12 * np.abs(data).max()
            ax.plot(*points.T, ".", ms=0.9, mew=0, color=color)
            ax.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[], aspect="equal")
            ax.spines[:].set_color("#bbbbbb")
            if outside := int((np.abs(points) > half).any(1).sum()):
                ax.set_xlabel(f"{outside} outside", fontsize=6, labelpad=2)  # below the frame: it covers no point
        column[0].set_title(wrap(label, 22 if turned else int(15 * side)), fontsize=7, rotation=90 if turned else 0)
    for ax, name in zip(axes[:, 0], datasets, strict=True):
        ax.set_ylabel(name.capitalize())
    save(fig, "samples.png")


def tells_apart(runs: dict[str, dict], metric: str) -> bool:
    """Whether any run differs in a metric from another: one that is the same in all of them needs no panel."""
    seen = [[d.get("seeds", d["means"]).get(metric) for d in run["info"].values()] for run in runs.values()]
    seen = [each for each in seen if any(value is not None for value in each)]  # of the runs that report it
    return len(seen) < 2 or any(each != seen[0] for each in seen)


def draw_metrics(runs: dict[str, dict], datasets: list[str]) -> None:
    """Each metric by run and dataset: seeds are dots, their mean is a bar, the grey line is the first run's mean."""
    names = [wrap(run["label"], 22) for run in runs.values()]
    between = 0.1 if len(metrics) < 3 else 0.04  # inches, so that all fit a page
    room = between + 0.115 * max(1 + name.count("\n") for name in names)  # inches for each run
    size = (WIDTH, len(metrics) * (0.6 + room * len(runs)))
    fig, axes = plt.subplots(len(metrics), len(datasets), figsize=size, squeeze=False, sharey=True)
    fig.set_layout_engine("constrained", wspace=0.06)
    for row, (metric, title) in zip(axes, metrics.items(), strict=True):
        for ax, name in zip(row, datasets, strict=True):
            for place, run in enumerate(runs.values()):
                result = run["info"][name]
                if metric not in result["means"]:  # one that only some runs report
                    continue
                mean = result["means"][metric]
                if place == 0:
                    ax.axvline(mean, color="#bbbbbb", lw=0.7, zorder=0)
                seeds = result.get("seeds", {}).get(metric, [mean])
                ax.plot(seeds, [place] * len(seeds), "o", ms=3.2, mew=0, alpha=0.55, color=run["color"])
                ax.plot([mean, mean], [place - 0.3, place + 0.3], color=run["color"], lw=1.4)
            ax.margins(x=0.12)
            ax.set_xticks([])
            ax.tick_params(axis="y", length=0)
        row[0].set(yticks=range(len(runs)), yticklabels=names, ylim=(len(runs) - 0.4, -0.6))
        row[len(row) // 2].set_xlabel(title, x=0, ha="center")
    for ax, name in zip(axes[0], datasets, strict=True):
        ax.set_title(name.capitalize())
    fig.draw_without_rendering()  # now the panels have their widths
    for ax in axes.flat:
        place_ticks(ax)
    fig.align_xlabels()
    save(fig, "metrics.png")


def place_ticks(ax: plt.Axes) -> None:
    """Two round ticks, or one where their labels have no room: no label touches another or leaves its panel."""
    low, high = ax.get_xlim()
    size, width = 7, ax.get_window_extent().width * 72 / ax.figure.dpi  # points
    for most in (3, 4, 5, 6, 8, 12):  # round ticks first
        ticks = [t for t in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high) if low < t < high]
        step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
        decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
        form = f".{decimals}f" if decimals <= 6 else ".2e"
        room = max(len(f"{t:{form}}") for t in (low, high)) * 0.62 * size + 3  # of a label
        inside = [t for t in ticks if room / 2 - 3 <= width * (t - low) / (high - low) <= width - room / 2 + 3]
        if len(inside) > 1 and width * (inside[-1] - inside[0]) / (high - low) >= room:
            shown = [inside[0], inside[-1]]
            break
    else:  # no room for two
        shown = inside[len(inside) // 2 :][:1]
    ax.set_xticks(shown, [f"{t:{form}}" for t in shown], fontsize=size)


def save(fig: plt.Figure, name: str) -> None:
    fig.savefig(name, dpi=200)
    plt.close(fig)


if __name__ == "__main__":
    plt.rcParams.update({
        "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
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
    draw_loss_curves(found, names)
    draw_samples(found, names)
    draw_metrics(found, names)
