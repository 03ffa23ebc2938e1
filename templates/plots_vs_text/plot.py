"""Draw every run_* folder beside this file that has results: questions.png, accuracy.png and noise.png.

The figures fit a text width of 5.5 inches. Runs are named by `labels`, and by labels.json where there is one.
"""

import json
import re
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

labels = {"run_0": "Baseline"}  # a run that is not named here is called by its folder
readers = {"plot": "Plot", "text": "Text"}
WIDTH = 5.5  # inches
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
STYLES = ["-", "--", "-.", ":"]
CHOICES = {"function": 5, "correlation": 3, "clusters": 5, "derivative": 4}
INK = {"plot": "#0072B2", "text": "#D55E00"}


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


def wrap(label: str, width: int) -> str:
    """A label in lines of some characters, cut short where it is very long."""
    return textwrap.fill(textwrap.shorten(label, 44, placeholder=" ..."), width)


def on_white(picture: np.ndarray) -> np.ndarray:
    """A picture with a plane for each series as one in colours, (rows, columns, 3)."""
    page = np.ones((*picture.shape[1:], 3))
    for plane, color in zip(picture / 255, COLORS * len(picture), strict=False):
        page = page * (1 - plane[..., None] * (1 - np.array(to_rgb(color))))
    return page


def draw_questions(runs: dict[str, dict], datasets: list[str]) -> None:
    """A question of each task and its answer, as picture and as the beginning of its text; a row for each change."""
    shown: dict[str, dict] = {}
    for run in runs.values():
        looks = b"".join(run[f"{name}_{reader}"].tobytes() for name in datasets for reader in readers)
        shown.setdefault(str(hash(looks)), run)
    rows = list(shown.values())[:3]
    fig, axes = plt.subplots(len(rows), len(datasets), figsize=(WIDTH, 0.3 + 1.85 * len(rows)), squeeze=False)
    fig.set_layout_engine("constrained", w_pad=0.03, h_pad=0.06)
    for row, run in zip(axes, rows, strict=True):
        for ax, name in zip(row, datasets, strict=True):
            ax.imshow(on_white(run[f"{name}_plot"][1]))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color="#bbbbbb")
            text = str(run[f"{name}_text"][1])
            lines = textwrap.wrap(text.replace(";", "; "), 21, max_lines=3, placeholder=" ...")
            ax.set_xlabel("\n".join(lines), fontsize=6, family="monospace", labelpad=4, x=0, ha="left")
        if len(rows) > 1:
            row[0].set_ylabel(wrap(run["label"], 20), fontsize=7)
    for ax, name in zip(axes[0], datasets, strict=True):
        ax.set_title(f"{name.capitalize()}: {rows[0][f'{name}_answer'][1]}")
    save(fig, "questions.png")


def draw_accuracy(runs: dict[str, dict], datasets: list[str]) -> None:
    """Accuracy from plot and text by run and task: seeds are dots, their mean is a bar; the dotted line is chance."""
    names = [wrap(run["label"], 22) for run in runs.values()]
    room = 0.16 + 0.115 * max(1 + name.count("\n") for name in names)  # inches for each run
    fig, axes = plt.subplots(1, len(datasets), figsize=(WIDTH, 0.95 + room * len(runs)), sharey=True)
    fig.set_layout_engine("constrained", wspace=0.06)
    for ax, name in zip(axes, datasets, strict=True):
        for place, run in enumerate(runs.values()):
            result = run["info"][name]
            for side, reader in zip((-0.17, 0.17), readers, strict=True):
                mean = result["means"][f"{reader}_accuracy"]
                seeds = result.get("seeds", {}).get(f"{reader}_accuracy", [mean])
                y = place + side
                ax.plot(seeds, [y] * len(seeds), "o", ms=3.2, mew=0, alpha=0.55, color=INK[reader])
                ax.plot([mean, mean], [y - 0.16, y + 0.16], color=INK[reader], lw=1.4)
        ax.axvline(1 / CHOICES.get(name, 2), color="#999999", lw=0.8, ls=":", zorder=0)
        ax.set(title=name.capitalize(), xlim=(0, 1.05), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
        ax.tick_params(axis="y", length=0)
    axes[0].set(yticks=range(len(runs)), yticklabels=names, ylim=(len(runs) - 0.4, -0.6))
    axes[len(axes) // 2].set_xlabel("Accuracy", x=0, ha="center")
    marks = [Line2D([], [], color=INK[reader], marker="o", ms=3.2, lw=1.4) for reader in readers]
    fig.legend(marks, list(readers.values()), loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    save(fig, "accuracy.png")


def draw_noise(runs: dict[str, dict], datasets: list[str]) -> None:
    """Accuracy at each level of noise, averaged over seeds, from plot and text; the dotted line is chance."""
    fig, axes = plt.subplots(len(readers), len(datasets), figsize=(WIDTH, 2.9), sharex=True, sharey=True)
    fig.set_layout_engine("constrained", wspace=0.04)
    for row, (reader, title) in zip(axes, readers.items(), strict=True):
        for ax, name in zip(row, datasets, strict=True):
            for place, run in enumerate(runs.values()):
                look = {"lw": 2.6, "alpha": 0.4} if place == 0 < len(runs) - 1 else {"lw": 0.9, "marker": ".", "ms": 4}
                accuracy = run[f"{name}_{reader}_accuracy"].mean(0)
                ax.plot(run["noise"], accuracy, run["style"], color=run["color"], label=run["label"], **look)
            ax.axhline(1 / CHOICES.get(name, 2), color="#999999", lw=0.8, ls=":", zorder=0)
            ax.set(ylim=(0, 1.05), yticks=[0, 0.5, 1], xticks=[0, 0.1, 0.2])
            ax.set_xticklabels(["0", "0.1", "0.2"])
        row[0].set_ylabel(f"{title} accuracy")
    for ax, name in zip(axes[0], datasets, strict=True):
        ax.set_title(name.capitalize())
    axes[-1][len(datasets) // 2].set_xlabel("Noise (standard deviation over the range of a series)", x=0, ha="center")
    if len(runs) > 1:
        handles, names = axes[0][0].get_legend_handles_labels()
        names = [textwrap.shorten(name, 44, placeholder=" ...") for name in names]
        columns = max(1, min(len(names), 4, 96 // (max(map(len, names)) + 6)))
        fig.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=7,
                   handlelength=1.6, columnspacing=1.4)  # fmt: skip
    save(fig, "noise.png")


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
    found = read_runs()
    names = [str(name) for name in next(iter(found.values()))["datasets"]]
    draw_questions(found, names)
    draw_accuracy(found, names)
    draw_noise(found, names)
