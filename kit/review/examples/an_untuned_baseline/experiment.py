"""Gradient descent on quadratics with random step sizes, against a constant one.

With --fair also what the review asks for: constant steps of other sizes, and thirty seeds.
"""

import sys

import numpy as np

STEPS = 200
CONDITIONS = (10, 100, 1000)  # largest over smallest curvature
DIMENSIONS = 50


def problem(condition: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Curvatures from 1 to `condition`, spread evenly in their logarithm, and a starting point."""
    return np.geomspace(1, condition, DIMENSIONS), np.random.default_rng(seed).standard_normal(DIMENSIONS)


def descend(curvature: np.ndarray, start: np.ndarray, steps: np.ndarray) -> float:
    """log10 of the loss after the steps, in units of the loss at the start."""
    x = start.copy()
    for step in steps:
        x = x - step * curvature * x
    return float(np.log10((curvature * x**2).sum() / (curvature * start**2).sum()))


def constant(factor: float, condition: float, seed: int) -> float:
    curvature, start = problem(condition, seed)
    return descend(curvature, start, np.full(STEPS, factor / condition))


def random_steps(condition: float, seed: int) -> float:
    """Steps between 0.1/L and 3/L, evenly in their logarithm."""
    curvature, start = problem(condition, seed)
    drawn = np.random.default_rng(1000 + seed).uniform(np.log(0.1), np.log(3), STEPS)
    return descend(curvature, start, np.exp(drawn) / condition)


def row(name: str, function, seeds: int) -> None:
    cells = []
    for condition in CONDITIONS:
        values = np.array([function(condition, seed) for seed in range(seeds)])
        cells.append(f"{values.mean():7.2f} ± {values.std(ddof=1) / np.sqrt(seeds):.2f}")
    print(f"{name:24s}", " | ".join(cells))


def main() -> None:
    print("three seeds, as in the paper")
    row("constant, 0.1/L", lambda c, s: constant(0.1, c, s), 3)
    row("random", random_steps, 3)
    if "--fair" in sys.argv:
        print("thirty seeds, constant steps of several sizes")
        for factor in (0.1, 0.5, 1.0, 1.5, 1.9):
            row(f"constant, {factor}/L", lambda c, s, f=factor: constant(f, c, s), 30)
        row("random", random_steps, 30)


if __name__ == "__main__":
    main()
