"""Loss curves of all runs."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

for dataset in ("flat", "steep"):
    fig, ax = plt.subplots(figsize=(4, 2.6), constrained_layout=True)
    for run in sorted(Path().glob("run_*")):
        ax.semilogy(np.load(run / f"{dataset}.npy").mean(0), label=run.name)
    ax.set(xlabel="step", ylabel="loss")
    ax.legend()
    fig.savefig(f"loss_{dataset}.png", dpi=120)
