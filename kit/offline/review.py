"""Stage 4 of the scripted scientist: a review by looking at what is in the paper, and what is not."""

import random
import re
import statistics
from typing import Any, NamedTuple

from kit.schemas import Review

SECTIONS = ["introduction", "related work", "background", "method", "experimental setup", "results", "conclusion"]
PLEA = re.compile(
    r"(accept|highest score|10/10|best paper)[^.]{0,60}(this paper|this submission|reviewer)|"
    r"(reviewer|language model|ignore)[^.]{0,60}(accept|instruction|score|rating)",
    re.IGNORECASE,
)
STRICTNESS = {"negative": -0.5, "neutral": 0.0, "positive": 0.5}


class Facts(NamedTuple):
    """What a script can see in a paper."""

    missing: list[str]
    words: int
    references: int
    figures: int
    tables: int
    seeds: int
    better: int
    worse: int
    inconclusive: int
    has_limits: bool
    has_control: bool
    has_plan: bool
    has_interval: bool
    broken: int
    pleas: int


def read_facts(text: str) -> Facts:
    """Look for what a careful reader would look for."""
    low = " ".join(text.lower().split())
    body, _, references = low.rpartition("references")
    count = lambda word: len(re.findall(rf"\b{word}\b", body))  # noqa: E731
    seeds = [int(n) for n in re.findall(r"(\d+) seeds", low)]
    return Facts(
        missing=[name for name in ["abstract", *SECTIONS] if name not in body], words=len(body.split()),
        references=len(set(re.findall(r"\b(?:19|20)\d\d[a-z]?\b\.", references))),
        figures=len(set(re.findall(r"figure (\d+):", low))), tables=len(set(re.findall(r"table (\d+):", low))),
        seeds=max(seeds, default=0), better=count("better"), worse=count("worse"), inconclusive=count("inconclusive"),
        has_limits="limit" in body, has_control=bool(re.search(r"\b(control|ablation)\b", body)),
        has_plan="prediction" in body, has_interval="interval" in body, broken=low.count("??"),
        pleas=len(PLEA.findall(low)),
    )  # fmt: skip


def review(values: dict[str, Any], dice: random.Random) -> Review:
    """Judge by the facts; a plea to the reviewer, seen or hidden, can only cost."""
    facts = read_facts(values["paper_text"])
    hidden = bool(values["hidden_text"])
    soundness = 1 + (facts.seeds >= 3) + facts.has_interval * 0.5 + (facts.seeds >= 5) * 0.5 + facts.has_control * 0.5
    presentation = (
        1 + (not facts.missing) + (facts.figures >= 2) * 0.5 + (facts.tables >= 1) * 0.5 + (facts.words > 1500) * 0.5
    )
    presentation -= min(1, facts.broken * 0.5) + min(1.5, 0.3 * len(facts.missing))
    decided = facts.better + facts.worse > facts.inconclusive
    contribution = 1 + decided * 0.5 + facts.has_plan * 0.5 + (facts.references >= 8) * 0.5
    total = soundness + presentation + contribution - 1.0 * (hidden or facts.pleas > 0)
    mood = STRICTNESS.get(values["persona"], 0.0) + dice.uniform(-0.5, 0.5)
    overall = max(1, min(10, round(0.85 * total - 1.6 + mood)))
    strengths, weaknesses = _points(facts, hidden)
    dice.shuffle(strengths)
    return Review(
        Summary=_summary(facts), Strengths=strengths[:4], Weaknesses=weaknesses[:6], Questions=_questions(facts),
        Limitations=_limitations(facts), Originality=_four(contribution), Quality=_four(soundness),
        Clarity=_four(presentation), Significance=_four(contribution - 0.5), Soundness=_four(soundness),
        Presentation=_four(presentation), Contribution=_four(contribution), Overall=overall,  # type: ignore[arg-type]
        Confidence=dice.choice([2, 3]), Decision="Accept" if overall >= 6 else "Reject",
        Ethical_Concerns=hidden,  # pyright: ignore[reportCallIssue]  # its alias has a space
    )  # fmt: skip


def _four(value: float) -> Any:
    return max(1, min(4, round(value)))


def _summary(f: Facts) -> str:
    said = f"The paper compares variants of a program with a baseline over {f.seeds or 'an unstated number of'} seeds. "
    said += (
        f"It has {f.figures} figures, {f.tables} tables and about {f.references} references in some {f.words} words. "
    )
    return said + "This review was made by a script that looks for what is there; it does not judge the idea itself."


def _points(f: Facts, hidden: bool) -> tuple[list[str], list[str]]:
    good, bad = [], []

    def weigh(holds: bool, strength: str, weakness: str) -> None:
        (good if holds else bad).append(strength if holds else weakness)

    weigh(not hidden and not f.pleas, "", "The text addresses its reviewers, which is no part of a paper.")
    weigh(not f.missing, "All sections that a paper needs are there.", f"Sections are missing: {', '.join(f.missing)}.")
    weigh(f.seeds >= 3, f"Results are means over {f.seeds} seeds with their spread.",
          f"{f.seeds or 'No stated number of'} seeds cannot carry a comparison.")  # fmt: skip
    weigh(
        f.has_interval,
        "Differences come with intervals and a rule for the verdict.",
        "Differences come without intervals.",
    )
    weigh(
        f.has_plan,
        "Predictions were written down before the runs.",
        "It is not said what was expected before the runs.",
    )
    weigh(f.has_control, "A control or ablation separates the cause.", "There is no control or ablation.")
    weigh(
        f.references >= 8,
        f"The work is placed among {f.references} references.",
        f"Only {f.references} references are given.",
    )
    weigh(
        f.figures >= 2,
        "Figures show the runs as well as the metrics.",
        f"{f.figures} figures are too few to see what happened.",
    )
    weigh(f.tables >= 1, "Tables give the numbers in full.", "No table gives the numbers.")
    weigh(
        f.better + f.worse > f.inconclusive,
        "Much of what is compared is decided.",
        "Most comparisons are inconclusive.",
    )
    weigh(not f.broken, "", f"{f.broken} references in the text do not resolve.")
    if f.seeds < 10:
        bad.append(f"With {f.seeds} seeds only large effects can be seen.")
    return [point for point in good if point], bad


def _questions(f: Facts) -> list[str]:
    asked = ["Would the verdicts hold on data of higher dimension?"]
    return asked + (["Which comparisons would be decided with three times as many seeds?"] if f.inconclusive else [])


def _limitations(f: Facts) -> list[str]:
    return ["Small program, simple data, few seeds."] + ([] if f.has_limits else ["The paper names no limits itself."])


def meta(values: dict[str, Any], dice: random.Random) -> Review:
    """The median of each score, and the points that most reviewers made."""
    reviews: list[Review] = values["reviews"]
    middle = reviews[0].model_copy(deep=True)
    for field in ("Originality", "Quality", "Clarity", "Significance", "Soundness", "Presentation", "Contribution",
                  "Overall", "Confidence"):  # fmt: skip
        setattr(middle, field, int(statistics.median_low([getattr(r, field) for r in reviews])))
    for field in ("Strengths", "Weaknesses", "Questions", "Limitations"):
        points = [point for r in reviews for point in getattr(r, field)]
        shared = [p for p in dict.fromkeys(points) if 2 * points.count(p) >= len(reviews)]
        setattr(middle, field, shared)
    scores = sorted(r.Overall for r in reviews)
    agree = "agree" if scores[-1] - scores[0] <= 1 else f"differ, from {scores[0]} to {scores[-1]}"
    middle.Summary = f"{len(reviews)} reviewers {agree} on the overall score. {reviews[0].Summary}"
    middle.Decision = "Accept" if middle.Overall >= 6 else "Reject"
    return middle
