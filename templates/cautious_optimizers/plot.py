"""Draw every run_* folder beside this file that has results: loss_curves.png, trajectories.png and metrics.png.

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
from matplotlib.ticker import MaxNLocator

labels = {"run_0": "Baseline"}  # a run that is not named here is called by its folder
titles = {"text_slow": "Text, half the rate", "text": "Text", "text_fast": "Text, twice the rate"}
metrics = {"final_loss": "Final loss", "uphill": "Share of uphill steps"}
WIDTH = 5.5  # inches
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
STYLES = ["-", "--", "-.", ":"]


def read_runs() -> list[dict]:
    """Results of every run that has some, in the order of their numbers."""
    complete = [p.parent for p in Path().glob("run_*/final_info.json") if p.with_name("all_results.npz").is_file()]
    folders = sorted(complete, key=lambda p: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", p.name)])
    if not folders:
        raise SystemExit("There is nothing to draw: no folder run_* beside plot.py holds results.")
    runs = []
    for i, folder in enumerate(folders):
        with np.load(folder / "all_results.npz") as arrays:
            run = dict(arrays)
        info = json.loads((folder / "final_info.json").read_text(encoding="utf-8"))
        label = textwrap.shorten(labels.get(folder.name, folder.name), 44, placeholder=" ...")
        look = {"color": COLORS[i % len(COLORS)], "ls": STYLES[i // len(COLORS) % len(STYLES)]}
        look |= {"lw": 2.4, "alpha": 0.4} if i == 0 < len(folders) - 1 else {"lw": 1.0}  # seen below the others
        runs.append(run | {"info": info, "label": label, "look": look})
    return runs


def title_of(name: str) -> str:
    return titles.get(name, name.capitalize())


def draw_loss_curves(runs: list[dict]) -> None:
    """Held-out loss above the least possible, averaged over seeds; and the share of components that agree."""
    names = [str(name) for name in runs[0]["texts"]]
    fig, axes = plt.subplots(2, len(names), figsize=(WIDTH, 3.5), sharex=True, sharey="row", layout="constrained",
                             height_ratios=(2, 1))  # fmt: skip
    for run in runs:
        for ax, curves in zip(axes[0], run["curves"], strict=True):
            ax.plot(run["steps"], (curves - run["least"]).mean(1), label=run["label"], **run["look"])
        share = run["agreement"].reshape(len(run["agreement"]), len(names), -1).mean(2)
        width = max(1, len(share) // 40)  # steps in each point
        smooth = share[: len(share) // width * width].reshape(-1, width, len(names)).mean(1)
        for ax, values in zip(axes[1], smooth.T, strict=True):
            ax.plot((np.arange(len(values)) + 0.5) * width, values, **run["look"])
    for ax, name in zip(axes[0], names, strict=True):
        ax.set(title=title_of(name), yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if np.prod(np.array(axes[0, 0].get_ylim()) - t) < 0]
    axes[0, 0].set_yticks(ticks)
    axes[0, 0].set_ylabel("Loss above the least possible")
    axes[1, 0].set_ylabel("Agreement", labelpad=8)
    axes[1, len(names) // 2].set_xlabel("Step")
    for ax in axes[1]:
        last = int(runs[0]["steps"][-1])
        ax.set(xlim=(0, last), xticks=[0, last // 2, last], ylim=(0.5, 1))
        for tick, side in zip(ax.get_xticklabels(), ("left", "center", "right"), strict=True):
            tick.set_ha(side)
    add_legend(fig, axes[0, 0], len(runs))
    save(fig, "loss_curves.png")


def add_legend(fig: plt.Figure, ax: plt.Axes, count: int) -> None:
    """One legend under the figure; none where there is nothing to tell apart."""
    if count > 1:
        handles, names = ax.get_legend_handles_labels()
        columns = max(1, min(count, 4, 96 // (max(map(len, names)) + 6)))
        fig.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=7,
                   handlelength=1.6, columnspacing=1.4)  # fmt: skip


def height_of(name: str, x: np.ndarray, y: np.ndarray, angle: float) -> np.ndarray:
    """The surfaces of experiment.py, for their contour lines."""
    if name == "quadratic":
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        return (along**2 + 25 * across**2) / 2
    return 0.1 * (1 - x) ** 2 + (y - x**2) ** 2


def draw_trajectories(runs: list[dict]) -> None:
    """The path of each run from one starting point, and below the mean height on the surface in each step."""
    names, rows, columns = [str(name) for name in runs[0]["surfaces"]], 2, len(runs)
    if len(runs) == 1:
        rows, columns = 1, 2  # side by side
    side = min(1.6, (WIDTH - 0.5) / columns)  # inches
    upper = rows * (side + 0.05) + (0.5 if len(runs) > 3 else 0.3)
    fig = plt.figure(figsize=(WIDTH, upper + 1.75), layout="constrained")
    above, below = fig.subfigures(2, 1, height_ratios=(upper, 1.75))
    panels = above.subplots(rows, columns, squeeze=False).reshape(len(names), len(runs))
    lower = below.subplots(1, len(names))
    for row, name in enumerate(names):
        paths = [run[f"{name}/path"][:, 0] for run in runs]
        low, high = np.min([p.min(0) for p in paths], axis=0), np.max([p.max(0) for p in paths], axis=0)
        middle, half = (low + high) / 2, 0.56 * (high - low).max()
        x, y = np.meshgrid(*[np.linspace(m - half, m + half, 120) for m in middle])
        height = height_of(name, x, y, float(runs[0][f"{name}/angles"][0]))
        for place, (run, path) in enumerate(zip(runs, paths, strict=True)):
            ax = panels[row, place]
            ax.contour(x, y, np.sqrt(height), 9, colors="#cccccc", linewidths=0.5)
            ax.plot(*path.T, "-", color=run["look"]["color"], lw=0.8)
            ax.plot(*path[0], "o", ms=3, color=run["look"]["color"])
            ax.plot(*((0, 0) if name == "quadratic" else (1, 1)), "+", ms=5, color="black", mew=0.8)
            ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal",
                   xticks=[], yticks=[])  # fmt: skip
            if row == 0:
                ax.set_title(textwrap.fill(run["label"], max(9, int(15 * side))), fontsize=7)
            if place == 0:
                ax.set_ylabel(title_of(name))
    for place, name in enumerate(names):
        ax = lower[place]
        for run in runs:
            heights = run[f"{name}/heights"].mean(1)
            ax.plot(heights, **run["look"])
        ax.set(title=title_of(name), yscale="log", xlabel="Step", xlim=(0, len(heights) - 1))
        if place == 0:
            ax.set_ylabel("Mean height")
    save(fig, "trajectories.png")


def tells_apart(runs: list[dict], metric: str) -> bool:
    """Whether any run differs in a metric from another: one that is the same in all of them needs no panel."""
    seen = [[d.get("seeds", d["means"]).get(metric) for d in run["info"].values()] for run in runs]
    seen = [each for each in seen if any(value is not None for value in each)]  # of the runs that report it
    return len(seen) < 2 or any(each != seen[0] for each in seen)


def draw_metrics(runs: list[dict]) -> None:
    """Each metric by run and dataset: seeds are dots, their mean is a bar, the grey line is the first run's mean."""
    names = list(runs[0]["info"])
    labels = [textwrap.fill(run["label"], 22) for run in runs]
    between = 0.1 if len(metrics) < 3 else 0.04  # inches, so that all fit a page
    room = between + 0.115 * max(1 + label.count("\n") for label in labels)  # inches for each run
    size = (WIDTH, len(metrics) * (0.6 + room * len(runs)) + 0.1)
    fig, axes = plt.subplots(len(metrics), len(names), figsize=size, squeeze=False, sharey=True)
    fig.set_layout_engine("constrained", wspace=0.06)
    for row, (metric, title) in zip(axes, metrics.items(), strict=True):
        for ax, name in zip(row, names, strict=True):
            for place, run in enumerate(runs):
                if metric not in run["info"][name]["means"]:  # one that only some runs report
                    continue
                mean, color = run["info"][name]["means"][metric], run["look"]["color"]
                if place == 0:
                    ax.axvline(mean, color="#bbbbbb", lw=0.7, zorder=0)
                seeds = run["info"][name].get("seeds", {}).get(metric, [mean])
                ax.plot(seeds, [place] * len(seeds), "o", ms=3.2, mew=0, alpha=0.55, color=color)
                ax.plot([mean, mean], [place - 0.3, place + 0.3], color=color, lw=1.4)
            ax.margins(x=0.15)
            place_ticks(ax)
            ax.tick_params(axis="y", length=0)
        row[0].set(yticks=range(len(runs)), yticklabels=labels, ylim=(len(runs) - 0.4, -0.6))
        row[len(row) // 2].set_xlabel(title)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(textwrap.fill(title_of(name), 12))
    fig.align_xlabels()
    save(fig, "metrics.png")


def place_ticks(ax: plt.Axes) -> None:
    """One or two round ticks whose labels have room in a narrow panel."""
    low, high = ax.dataLim.intervalx
    if low > high:  # nothing was drawn
        ax.set_xticks([])
        return
    if high - low < 1e-9:  # all the same
        ax.set_xlim(low - 0.5, high + 0.5)
        ax.set_xticks([low], [f"{low:.4g}"], fontsize=7)
        return
    low, high = ax.get_xlim()
    ticks = [t for t in MaxNLocator(2, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= t <= high]
    ticks = ticks if len(ticks) < 3 else [ticks[0], ticks[-1]]
    named = [f"{t:.0e}".replace("e-0", "e-") if 0 < abs(t) < 1e-3 else f"{t:.4g}" for t in ticks]
    ax.set_xticks(ticks, named, fontsize=7)


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
    draw_loss_curves(found)
    draw_trajectories(found)
    draw_metrics(found)
