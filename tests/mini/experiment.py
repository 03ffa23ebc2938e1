"""Gradient descent on a noisy quadratic: an experiment of a fraction of a second, for the tests."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

learning_rate = 0.05
momentum = 0.0
noise = 0.02
num_steps = 60


def descend(seed: int, curvature: float) -> list[float]:
    """Losses along the way."""
    rng = np.random.default_rng(seed)
    x, velocity, losses = 1 + 0.1 * rng.normal(size=8), np.zeros(8), []
    for _ in range(num_steps):
        gradient = curvature * x + noise * rng.normal(size=8)
        velocity = momentum * velocity - learning_rate * gradient
        x = x + velocity
        losses.append(evaluate(x, curvature))
    return losses


def evaluate(x: np.ndarray, curvature: float) -> float:
    return float(0.5 * curvature * (x**2).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", default="run_0")
    out_dir = Path(parser.parse_args().out_dir)
    out_dir.mkdir(exist_ok=True)
    num_seeds = int(os.environ.get("KIT_SEEDS") or {"smoke": 3, "demo": 5}[os.environ.get("KIT_PRESET", "demo")])
    info = {}
    for dataset, curvature in {"flat": 0.5, "steep": 2.0}.items():
        curves = np.array([descend(seed, curvature) for seed in range(num_seeds)])
        np.save(out_dir / f"{dataset}.npy", curves)
        for step in range(num_steps // 10, num_steps + 1, num_steps // 10):
            print(f"step {step}/{num_steps}  {dataset}_loss {curves[:, step - 1].mean():.6f}")
        final = curves[:, -10:].mean(1)
        info[dataset] = {
            "means": {"final_loss": final.mean()},
            "stderrs": {"final_loss": final.std(ddof=1) / num_seeds**0.5},
            "seeds": {"final_loss": final.tolist()},
        }
    (out_dir / "final_info.json").write_text(json.dumps(info))
