"""Gradient descent on noisy linear regression, where features are independent or correlated.

`python experiment.py --out_dir=run_0` writes final_info.json (what is compared) and curves.json (for plot.py).
KIT_PRESET chooses the size, KIT_SEEDS the number of seeds.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

# --- settings: what an idea may change; put your own here ----------------------------------------
learning_rate = 0.02
momentum = 0.5  # share of the last step that is kept
weight_decay = 0.01  # pull towards zero, a step

# --- data and sizes (protected: the same for every run) ------------------------------------------
DATASETS = {"independent": 0.0, "correlated": 0.9}  # correlation between features
PRESETS = {"smoke": (3, 50), "demo": (5, 200), "full": (20, 1000)}  # seeds, steps
NUM_FEATURES = 20


def make_data(correlation: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, NUM_FEATURES) of unit variance, and a target (n,) that hangs on five of them, with noise."""
    shared, own = rng.normal(size=(n, 1)), rng.normal(size=(n, NUM_FEATURES))
    x = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    return x, x[:, :5] @ np.array([2.0, -1.5, 1.0, -1.0, 0.5]) + 0.5 * rng.normal(size=n)


# --- training: put your own model and loop here --------------------------------------------------
def train(x: np.ndarray, y: np.ndarray, num_steps: int, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """Weights (NUM_FEATURES,) after num_steps, and the loss on the training data after each step."""
    w, step, losses = 0.1 * rng.normal(size=NUM_FEATURES), np.zeros(NUM_FEATURES), []
    for _ in range(num_steps):
        gradient = x.T @ (x @ w - y) / len(y) + weight_decay * w
        step = momentum * step - learning_rate * gradient
        w = w + step
        losses.append(float(np.mean((x @ w - y) ** 2)))
    return w, losses


# --- evaluation (protected): put your own measure here, and its name and direction into template.toml --
def evaluate(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """What is compared between runs: the error on data that training has not seen."""
    return {"test_error": float(np.mean((x @ w - y) ** 2))}


def main(out_dir: Path) -> None:
    preset = os.environ.get("KIT_PRESET") or "demo"
    num_seeds, num_steps = PRESETS[preset]
    num_seeds = int(os.environ.get("KIT_SEEDS") or num_seeds)
    info, curves = {}, {}
    for dataset, correlation in DATASETS.items():
        scores, curves[dataset] = [], {"training loss": []}
        for seed in range(num_seeds):  # all chance comes from the seed: data, first weights
            rng = np.random.default_rng(seed)
            x, y = make_data(correlation, 60, rng)
            w, losses = train(x, y, num_steps, rng)
            scores.append(evaluate(w, *make_data(correlation, 1000, rng)))
            curves[dataset]["training loss"].append(losses)
            print(f"{dataset}, seed {seed}: {scores[-1]}", flush=True)
        seeds = {metric: [score[metric] for score in scores] for metric in scores[0]}
        info[dataset] = {
            "means": {metric: float(np.mean(v)) for metric, v in seeds.items()},
            "stderrs": {metric: float(np.std(v, ddof=1) / len(v) ** 0.5) for metric, v in seeds.items() if len(v) > 1},
            "seeds": seeds,  # one value a seed, so that comparisons are paired
        }
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "final_info.json").write_text(json.dumps(info, indent=1))
    (out_dir / "curves.json").write_text(json.dumps(curves))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"), help="folder for the results")
    main(parser.parse_args().out_dir)
