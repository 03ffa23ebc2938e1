"""The quiz of templates/plots_vs_text, answered by calculation from the numbers; a script sees no pictures."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from kit.schemas import QuizAnswer

APART = 12  # of 99: points that are nearer to each other belong to one cluster


def answer(values: dict[str, Any], dice: random.Random) -> QuizAnswer:
    """The choice that the numbers speak for."""
    if values["shown"] == "plot":
        return QuizAnswer(reason="I am a script and see no pictures.", choice="none")
    question = values["question"]
    words, reason = TASKS[question.task](*(np.array(numbers, dtype=float) for numbers in question.series.values()))
    letters = {choice: letter for letter, choice in question.choices.items()}
    return QuizAnswer(reason=reason, choice=letters[words])


def _function(y: np.ndarray) -> tuple[str, str]:
    """The kind whose least-squares fit is best, with a price for each free number (BIC)."""
    t = np.linspace(-1, 1, len(y))
    one = np.ones_like(t)
    fits = {"linear": _misfit(y, [one, t], 2), "quadratic": _misfit(y, [one, t, t**2], 3),
            "cubic": _misfit(y, [one, t, t**2, t**3], 4)}  # fmt: skip
    rates = [sign * rate for rate in np.linspace(1.5, 6, 19) for sign in (-1, 1)]
    fits["exponential"] = min(_misfit(y, [one, np.exp(rate * t)], 3) for rate in rates)
    waves = np.pi * np.linspace(0.9, 2.4, 31)
    fits["periodic"] = min(_misfit(y, [one, np.sin(wave * t), np.cos(wave * t)], 4) for wave in waves)
    best = min(fits, key=lambda kind: fits[kind])
    return best, f"Of five least-squares fits, the {best} one leaves the least, counting its free numbers."


def _misfit(y: np.ndarray, columns: list[np.ndarray], free: int) -> float:
    design = np.stack(columns, axis=1)
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return len(y) * np.log(np.mean(rest**2) + 0.1) + free * np.log(len(y))  # 0.1: numbers are whole


def _correlation(one: np.ndarray, other: np.ndarray) -> tuple[str, str]:
    r = float(np.corrcoef(one, other)[0, 1])
    words = "none" if abs(r) < 0.3 else "positive" if r > 0 else "negative"
    return words, f"The correlation of the two series is {r:.2f}."


def _clusters(x: np.ndarray, y: np.ndarray) -> tuple[str, str]:
    found = int(fcluster(linkage(np.stack([x, y], axis=1)), APART, "distance").max())
    return str(min(found, 5)), f"Joining points within {APART} units of each other leaves {found} groups."


def _derivative(curve: np.ndarray, *choices: np.ndarray) -> tuple[str, str]:
    slope = np.gradient(np.convolve(np.pad(curve, 1, "edge"), [0.25, 0.5, 0.25], "valid"))
    likeness = [float(np.corrcoef(slope, choice)[0, 1]) for choice in choices]
    place = int(np.argmax(likeness))
    words = f"curve {'ABCD'[place]}"
    return words, f"The differences of the curve correlate best with {words}, at {likeness[place]:.2f}."


TASKS: dict[str, Callable[..., tuple[str, str]]] = {
    "function": _function, "correlation": _correlation, "clusters": _clusters, "derivative": _derivative,
}  # fmt: skip
