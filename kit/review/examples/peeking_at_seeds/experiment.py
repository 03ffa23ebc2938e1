"""How often a paired t test calls two equal programs different when it is repeated after each new seed."""

from typing import Any

import numpy as np
from scipy import stats

FIRST, LAST, PAIRS, SEED = 3, 20, 100_000, 0
SHAPES = ("normal", "exponential", "t with 3 degrees")
SHIFTS = (0.0, 0.5, 1.0)  # in standard deviations of a difference


def draw(dice: np.random.Generator, shape: str) -> np.ndarray:
    """Differences between two equal programs, one row a pair: each is the difference of two draws, of variance 1."""
    size = (2, PAIRS, LAST)
    if shape == "normal":
        runs = dice.standard_normal(size)
    elif shape == "exponential":
        runs = dice.exponential(size=size)
    else:
        runs = dice.standard_t(3, size=size) / np.sqrt(3)
    return (runs[0] - runs[1]) / np.sqrt(2)


def p_values(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of the paired t test after FIRST, FIRST + 1, ... LAST seeds; shape (pairs, looks)."""
    n = np.arange(FIRST, LAST + 1)
    mean = differences.cumsum(1)[:, FIRST - 1 :] / n
    variance = (np.square(differences).cumsum(1)[:, FIRST - 1 :] - n * mean**2) / (n - 1)
    return 2 * stats.t.sf(np.abs(mean / np.sqrt(variance / n)), n - 1)


def share(hits: Any) -> str:
    """Per cent, with the standard error of the simulation."""
    return f"{100 * hits.mean():.2f} ± {100 * hits.std() / np.sqrt(len(hits)):.2f}"


def stopping_time(p: np.ndarray, level: float) -> np.ndarray:
    """Seeds used when one stops at the first p below the level, or at LAST."""
    hit = p < level
    return np.where(hit.any(1), FIRST + hit.argmax(1), LAST)


def main() -> None:
    dice = np.random.default_rng(SEED)
    normal = p_values(draw(dice, "normal"))
    # The level at which looking every time gives 5 % in all, found on pairs of its own.
    level = np.quantile(p_values(draw(dice, "normal")).min(1), 0.05)
    print(f"level for every look: {level:.5f}")
    print("false alarms in % (5 % level): at 5 seeds, at 20, at either, at every look from 3")
    for shape in SHAPES:
        p = normal if shape == "normal" else p_values(draw(dice, shape))
        at5, at20 = p[:, 5 - FIRST] < 0.05, p[:, -1] < 0.05
        print(f"  {shape:18s}", share(at5), "|", share(at20), "|", share(at5 | at20), "|", share((p < 0.05).any(1)),
              "| corrected", share((p < level).any(1)))  # fmt: skip
    print("power in % and seeds used (normal): fixed 20, every look uncorrected, every look corrected")
    for shift in SHIFTS:
        p = p_values(draw(dice, "normal") + shift)
        early = [f"{share((p < a).any(1))} with {stopping_time(p, a).mean():.1f}" for a in (0.05, level)]
        print(f"  shift {shift}:", share(p[:, -1] < 0.05), "with 20 |", " | ".join(early))


if __name__ == "__main__":
    main()
