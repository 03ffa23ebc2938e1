"""Draw every run_* folder beside this file that has results: loss_curves.png, final_losses.png and samples.png.

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
metrics = {"best_val_loss": "Best validation loss", "final_train_loss": "Final training loss"}
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


def draw_loss_curves(runs: dict[str, dict], datasets: list[str]) -> None:
    """Training loss of each run, averaged over a fiftieth of the steps, and validation loss; both means of seeds."""
    names, columns = [wrap(run["label"], 30) for run in runs.values()], 2 if len(runs) > 3 else len(runs)
    legend = sum(0.04 + 0.11 * (1 + name.count("\n")) for name in names) / columns + 0.1 if columns > 1 else 0  # inches
    size = (WIDTH, 1.9 * len(datasets) + legend)
    fig, axes = plt.subplots(len(datasets), 2, figsize=size, sharey="row", squeeze=False, layout="constrained")
    for row, name in zip(axes, datasets, strict=True):
        lowest, highest = np.inf, -np.inf
        for place, run in enumerate(runs.values()):
            curve, steps = run[f"{name}/losses"].mean(0), run[f"{name}/steps"]
            width = max(1, len(curve) // 50)
            smooth = curve[: len(curve) // width * width].reshape(-1, width).mean(1)
            valid = run[f"{name}/valid"].mean(1)
            look = {"lw": 2.4, "alpha": 0.4} if place == 0 < len(runs) - 1 else {"lw": 0.9}  # seen below the others
            look |= {"color": run["color"], "ls": run["style"], "label": run["label"]}
            row[0].plot((np.arange(len(smooth)) + 0.5) * width, smooth, **look)
            row[1].plot(steps, valid, marker="o", ms=2.5, mew=0, **look)
            shown = np.concatenate([smooth[len(smooth) // 10 :], valid])  # the first steps would flatten the rest
            lowest, highest = min(lowest, shown.min()), max(highest, shown.max())
        room = 0.05 * (highest - lowest)
        row[0].set(ylim=(lowest - room, highest + room), ylabel="Loss (nats per character)", title=f"{name}, training")
        row[1].set(xlim=row[0].get_xlim(), title=f"{name}, validation")
    for ax in axes.flat:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    for ax in axes[-1]:
        ax.set_xlabel("Step")
    if len(runs) > 1:
        fig.legend(axes[0, 0].get_lines(), names, loc="outside lower center", ncols=columns, frameon=False, fontsize=7)
    save(fig, "loss_curves.png")


def draw_final_losses(runs: dict[str, dict], datasets: list[str]) -> None:
    """Losses of each run in nats per character: seeds are dots, their mean is a bar, the grey line the first mean."""
    names = [wrap(run["label"], 22) for run in runs.values()]
    room = 0.08 + 0.13 * max(1 + name.count("\n") for name in names)  # inches for each run
    size = (WIDTH, len(datasets) * (0.6 + room * len(runs)))
    fig, axes = plt.subplots(len(datasets), len(metrics), figsize=size, squeeze=False, layout="constrained")
    fig.get_layout_engine().set(wspace=0.06)
    for row, name in zip(axes, datasets, strict=True):
        for ax, (metric, title) in zip(row, metrics.items(), strict=True):
            for place, run in enumerate(runs.values()):
                result = run["info"][name]
                if metric not in result["means"]:  # one that only some runs report
                    continue
                mean = result["means"][metric]
                if place == 0:
                    ax.axvline(mean, color="#bbbbbb", lw=0.7, zorder=0)
                seeds = result.get("seeds", {}).get(metric, [mean])
                ax.plot(seeds, [place] * len(seeds), "o", ms=3.6, mew=0, alpha=0.55, color=run["color"])
                ax.plot([mean, mean], [place - 0.3, place + 0.3], color=run["color"], lw=1.4)
            ax.margins(x=0.12)
            ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            label = wrap(f"{title} ({name})", 70 // len(metrics))
            ax.set(xlabel=label, ylim=(len(runs) - 0.4, -0.6), yticks=range(len(runs)), yticklabels=[])
            ax.tick_params(axis="y", length=0)
        row[0].set_yticklabels(names)
    save(fig, "final_losses.png")


def draw_samples(runs: dict[str, dict], datasets: list[str]) -> None:
    """The beginning of what the first seed of each run writes after the end of a line."""
    lines, breadth = 5 if len(runs) <= 4 else 3, 66
    cells = [(run, name, typeset(str(run[f"{name}/samples"][0]), lines, breadth)) for name in datasets
             for run in runs.values()]  # fmt: skip
    heights = [0.2 + 0.125 * (1 + text.count("\n")) for _, _, text in cells]  # inches
    fig, axes = plt.subplots(len(cells), 1, figsize=(WIDTH, sum(heights)), height_ratios=heights, squeeze=False)
    fig.subplots_adjust(left=0, right=1, bottom=0, top=1, hspace=0)
    for ax, (run, name, text), height in zip(axes[:, 0], cells, heights, strict=True):
        ax.set(xlim=(0, WIDTH), ylim=(height, 0))
        ax.axis("off")
        ax.axhline(0.06, color="#bbbbbb", lw=0.6)
        whose = wrap(run["label"], 18) + (f"\n({name})" if len(datasets) > 1 else "")
        ax.text(0.05, 0.16, whose, color=run["color"], va="top", fontsize=8, linespacing=1.2)
        ax.text(1.45, 0.16, text, va="top", fontsize=7, family="monospace", linespacing=1.25, parse_math=False)
    save(fig, "samples.png")


def typeset(text: str, lines: int, breadth: int) -> str:
    """The first lines of a text, long ones broken and empty ones left out; signs without a shape become a square."""
    printable = "".join(c if c.isprintable() or c == "\n" else "\N{WHITE SQUARE}" for c in text)
    return "\n".join([part for line in printable.split("\n") for part in textwrap.wrap(line, breadth)][:lines])


def wrap(label: str, width: int) -> str:
    """A label in lines of some characters, cut short where it is very long."""
    return textwrap.fill(textwrap.shorten(label, 44, placeholder=" ..."), width)


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
    names = [name for name in map(str, next(iter(found.values()))["datasets"])
             if all(name in run["info"] for run in found.values())]  # fmt: skip
    draw_loss_curves(found, names)
    draw_final_losses(found, names)
    draw_samples(found, names)
