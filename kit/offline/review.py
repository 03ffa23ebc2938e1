"""Stage 4 of the scripted scientist: a review by looking at what is in the paper, and what is not."""

import math
import random
import re
import statistics
from collections import Counter
from typing import Any, NamedTuple

from kit.schemas import Correction, Review, ReviewReflection

# --- what there is to see -----------------------------------------------------------------------

SECTIONS = {
    "abstract": r"abstract",
    "introduction": r"introduction",
    "related work": r"related work|prior work|literature",
    "background": r"background|preliminaries|related work",
    "method": r"methods?|methodology|approach|algorithm",
    "experimental setup": r"set-?up|experimental settings?|implementation details|experiments",
    "results": r"results|findings|evaluation|experiments",
    "conclusion": r"conclusions?|discussion",
}
NUMBERS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SEEDS = re.compile(rf"\b(\d+|{'|'.join(NUMBERS[1:])}) (?:(?:random|independent|different|training) )*seeds\b")
REFERENCES = re.compile(r"^[^\w\n]*(?:\d+\.? )?references[^\w\n]*$", re.IGNORECASE | re.MULTILINE)
VERDICTS: tuple[str, ...] = ("better", "worse", "equivalent", "inconclusive")
# A row of a table ends in its verdict, after the interval, perhaps an effect size and a sign; prose has a comma there.
IN_A_TABLE = re.compile(rf"\]\s*(?:[−+-]?\d[\d.,]*(?:\s*[×x]\s*10\S*)?\s*)?[^\w\s,;.]?\s*({'|'.join(VERDICTS)})\b")
UP_TO = r"(?:\w+ ){0,4}?"
IN_THE_TEXT = re.compile(
    rf"(\d+) {UP_TO}better\b[^.;]{{0,60}}?\b(\d+) {UP_TO}worse\b"
    rf"(?:[^.;]{{0,60}}?\b(\d+) {UP_TO}equivalent\b)?[^.;]{{0,60}}?\b(\d+) {UP_TO}inconclusive"
)
PAPER = r"(?:this|the|our) (?:paper|submission|manuscript|work)"
PLEA = re.compile(
    r"\b(?:ignore|disregard|forget) (?:\w+ ){0,2}(?:all|any|previous|prior|earlier|above|other|your) (?:\w+ )?"
    r"(?:instructions|prompts?|guidelines|criteria)\b|"
    r"\b(?:dear|note to|instructions? (?:to|for)|if you are|as) (?:\w+ ){0,3}(?:reviewers?|language model|llm|ai)\b|"
    rf"\b(?:give|assign|award|rate|recommend) [^.]{{0,40}}?{PAPER}[^.]{{0,60}}?\b(?:high|top|maximum|accept|10|award)|"
    rf"\b(?:please|must|should|strongly) (?:\w+ ){{0,2}}(?:accept|recommend)\b[^.]{{0,40}}?\b{PAPER}|"
    rf"\b(?:please|must) accept {PAPER}|\baccept {PAPER}|\b{PAPER} (?:must|should) be accepted\b|"
    r"\b(?:highest|top|perfect|maximum) (?:possible )?(?:score|rating)\b[^.]{0,40}\b(?:paper|review)|"
    r"\b(?:do not|never) (?:mention|list|name|highlight) (?:\w+ ){0,2}(?:weakness|negative|flaw)|"
    r"\bpositive review\b|\b10/10\b",
    re.IGNORECASE,
)
ENOUGH = 8  # references that place a paper among others


class Facts(NamedTuple):
    """What a script can see in a paper."""

    missing: list[str]
    words: int
    references: int
    figures: int
    tables: int
    seeds: int
    counts: dict[str, int]  # comparisons by verdict
    contradicted: bool  # the text counts other verdicts than the table
    has_limits: bool
    has_control: bool
    has_plan: bool
    has_interval: bool
    broken: int
    pleas: int

    @property
    def decided(self) -> float:
        """The share of comparisons that came out better or worse; 0 where no verdict is told."""
        total = sum(self.counts.values())
        return (total - self.counts.get("inconclusive", 0)) / total if total else 0.0

    @property
    def settled(self) -> float:
        """The same, where a null result over many seeds counts too: it says how small an effect must be."""
        well_tried = self.seeds >= 10 and self.has_interval and self.counts
        return max(self.decided, 0.4 if well_tried else 0.0) if self.seeds >= 3 else 0.0


def read_facts(text: str) -> Facts:
    """Look for what a careful reader would look for."""
    heading = max((m.span() for m in REFERENCES.finditer(text)), default=(len(text), len(text)))
    body, after = text[: heading[0]], text[heading[1] :]
    low = " ".join(body.lower().split())
    counts, contradicted = _count_verdicts(low)
    return Facts(
        missing=[name for name, words in SECTIONS.items() if not _has_heading(body, words)], words=len(low.split()),
        references=len(re.findall(r"\b(?:19|20)\d\d[a-z]?\.(?=\s|$)|^\s*\[\d+\] ", after, re.MULTILINE)),
        figures=len(set(re.findall(r"^\s*figure (\d+)[:.]", body.lower(), re.MULTILINE))),
        tables=len(set(re.findall(r"^\s*table (\d+)[:.]", body.lower(), re.MULTILINE))),
        seeds=max((_number(n) for n in SEEDS.findall(low)), default=0), counts=counts,
        contradicted=contradicted,
        has_limits=bool(re.search(r"\blimit(?:s|ations?)\b", low)),
        has_control=bool(re.search(r"\b(?:controls?|ablations?)\b", low)),
        has_plan=bool(re.search(r"\b(?:predictions?|predicted|preregistered)\b", low)),
        has_interval=bool(re.search(r"\bintervals?\b", low)), broken=text.count("??"),
        pleas=len(PLEA.findall(" ".join(text.split()))),
    )  # fmt: skip


def _has_heading(body: str, words: str) -> bool:
    """A heading stands in a line of its own, numbered or not, with a few words more at most."""
    line = rf"^[^\w\n]*(?=[\dA-Z])(?:[\dIVX.]+\s+)?(?:\w+ ){{0,3}}?(?i:{words})(?: \w+){{0,3}}[^\w\n.,;]*$"
    return bool(re.search(line, body, re.MULTILINE))


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else NUMBERS.index(word)


def _count_verdicts(low: str) -> tuple[dict[str, int], bool]:
    """The verdicts, as the rows of a table show them or as the text counts them; and whether the two disagree."""
    rows = Counter(IN_A_TABLE.findall(low))
    table = tuple(rows[verdict] for verdict in VERDICTS)
    told = max((tuple(int(n or 0) for n in found) for found in IN_THE_TEXT.findall(low)), key=sum, default=(0, 0, 0, 0))
    counted = table if sum(table) >= sum(told) else told  # the text may show a part of its table
    found: dict[str, int] = dict(zip(VERDICTS, counted, strict=True))
    return found if sum(counted) else {}, sum(table) == sum(told) and table != told


# --- what to think of it ------------------------------------------------------------------------

LENIENCE = {"negative": -0.6, "neutral": 0.0, "positive": 0.6}
TASTE = 0.55  # standard deviation of what one reviewer thinks of the same facts
NEAR = 0.75  # how far from the facts a score may stay when it is looked at again
EYES = {  # how much form, rigour and evidence weigh for whom; over all five they weigh the same
    "claims": (0.9, 1.0, 1.1),
    "fairness": (0.9, 1.2, 0.95),
    "literature": (1.0, 1.0, 1.0),
    "repetition": (1.2, 1.0, 0.95),
    "significance": (1.0, 0.8, 1.0),
}
LEAST, FORM, RIGOUR, EVIDENCE = 0.8, 1.4, 2.0, 3.0  # an overall score, and how much each can add to it


def weigh(f: Facts, hidden: bool) -> tuple[float, float, float, float]:
    """Form, rigour and evidence, and what a plea to the reviewer costs: less of anything never counts as more.

    Form alone does not carry a paper over the line: that takes comparisons that settle something.
    """
    form = FORM - 0.35 * len(f.missing) - min(0.6, 0.2 * f.broken) - 0.3 * f.contradicted
    form -= 0.2 * max(0, 2 - f.figures) + 0.2 * (f.tables < 1) + 0.3 * (f.words < 1500) + 0.3 * (f.words < 700)
    rigour = 0.5 * (f.seeds >= 3) + 0.3 * (f.seeds >= 5) + 0.3 * (f.seeds >= 10)
    rigour += 0.4 * f.has_interval + 0.3 * f.has_control + 0.2 * f.has_plan
    missed = len({"method", "experimental setup", "results"} & set(f.missing))  # what cannot be checked
    evidence = 0.3 * min(1.0, f.references / ENOUGH) + 0.1 * f.has_limits + 2.6 * f.settled
    cost = 1.5 * (hidden or f.pleas > 0)
    return form, rigour - 0.4 * missed, evidence - 0.4 * missed, cost


def judge(f: Facts, hidden: bool, persona: str, stance: str) -> tuple[float, list[float]]:
    """An overall score, and clarity, soundness and news from 1 to 4, before anybody's taste is added."""
    form, rigour, evidence, cost = weigh(f, hidden)
    lean = LENIENCE.get(persona, 0.0)
    weights = EYES.get(stance, (1.0, 1.0, 1.0))
    score = LEAST + sum(w * part for w, part in zip(weights, (form, rigour, evidence), strict=True)) - cost + lean
    shares = ((form, FORM), (rigour, RIGOUR), (evidence, EVIDENCE))
    return score, [1 + 3 * part / most + 0.4 * lean for part, most in shares]


def review(values: dict[str, Any], dice: random.Random) -> Review:
    """Judge by the facts, each reviewer a little differently; a plea to the reviewer, seen or hidden, only costs."""
    # Drawn before anything is read, so that one reviewer's taste is the same for every paper.
    taste = [dice.gauss(0, TASTE) for _ in range(8)]
    confidence, order = dice.choice([2, 3, 3, 4]), dice.random()
    facts, hidden, stance = read_facts(values["paper"].text), bool(values["paper"].hidden), values["stance"]
    score, (clear, sound, new) = judge(facts, hidden, values["persona"], stance)
    overall = _ten(score + taste[0])
    strengths, weaknesses = _points(facts, hidden)
    random.Random(order).shuffle(strengths)
    return Review(
        Summary=_summary(facts), Strengths=strengths[:4], Weaknesses=_some(weaknesses, order),
        Questions=_questions(facts), Limitations=_limitations(facts),
        Originality=_four(new + taste[1]), Quality=_four(sound + taste[2]), Clarity=_four(clear + taste[3]),
        Significance=_four(new - 0.3 + taste[4]), Soundness=_four(sound + taste[5]),
        Presentation=_four(clear + taste[6]), Contribution=_four(new + taste[7]),
        Overall=overall, Confidence=confidence,  # type: ignore[arg-type]
        Decision="Accept" if overall >= 6 else "Reject",
        Ethical_Concerns=hidden,  # pyright: ignore[reportCallIssue]  # its alias has a space
    )  # fmt: skip


def reflect(values: dict[str, Any], dice: random.Random) -> ReviewReflection:
    """Read again: add what the own eye passed over, and come nearer to what the facts carry."""
    facts, hidden, stance = read_facts(values["paper"].text), bool(values["paper"].hidden), values["stance"]
    before: Review = values["review"]
    score, _ = judge(facts, hidden, values["persona"], stance)
    overall = _ten(max(math.ceil(score - NEAR), min(math.floor(score + NEAR), before.Overall)))
    missed = [p for p, eye in _points(facts, hidden)[1] if eye == stance and p not in before.Weaknesses]
    decision = "Accept" if overall >= 6 else "Reject"
    after = {"Overall": overall, "Weaknesses": before.Weaknesses + missed, "Decision": decision}
    changes = [Correction(field=name, value=value) for name, value in after.items() if getattr(before, name) != value]
    thoughts = [f"I passed over {len(missed)} of the points that I look closest at."] * bool(missed)
    thoughts += [f"The facts carry {overall}, not {before.Overall}."] * (overall != before.Overall)
    if not changes:
        thoughts = ["Each point stands in the paper, and the scores follow."]
    return ReviewReflection(thoughts=" ".join(thoughts), changes=changes, done=not changes)


def _ten(value: float) -> Any:
    return max(1, min(10, round(value)))


def _four(value: float) -> Any:
    return max(1, min(4, round(value)))


def _some(points: list[tuple[str, str]], order: float) -> list[str]:
    """The gravest points, and some of the others: no reviewer names them all."""
    rest = points[3:]
    random.Random(order).shuffle(rest)
    return [point for point, _ in points[:3] + rest[:2]]


# --- what to say --------------------------------------------------------------------------------


def _summary(f: Facts) -> str:
    said = f"The paper compares variants of a program with a baseline over {f.seeds or 'an unstated number of'} seeds. "
    if f.counts:
        came_out = ", ".join(f"{f.counts[v]} {v}" for v in VERDICTS if f.counts[v] or v != "equivalent")
        said += f"Of {sum(f.counts.values())} comparisons came out: {came_out}. "
    said += f"It has {f.figures} figures, {f.tables} tables and {f.references} references in some {f.words} words. "
    return said + "This review was made by a script that looks for what is there; it does not judge the idea itself."


def _points(f: Facts, hidden: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Strengths; and weaknesses with the gravest first, each with the eye that looks closest at it."""
    few = f"{f.seeds} seeds" if f.seeds else "No stated number of seeds"
    counted = "{inconclusive} of {} comparisons are inconclusive.".format(sum(f.counts.values()), **f.counts) \
        if f.counts else "No comparison comes with a verdict."  # fmt: skip
    checks = [  # whether it holds, what is then good, what is else wrong, who looks
        (not hidden, "", "The PDF holds text that a reader cannot see.", "claims"),
        (not f.pleas, "", "The text addresses its reviewers, which is no part of a paper.", "claims"),
        (not f.contradicted, "", "The text counts other verdicts than its table shows.", "claims"),
        (not f.missing, "All sections that a paper needs are there.", f"Sections are missing: {_list(f.missing)}.",
         "repetition"),
        (f.decided > 0.5, "Most of what is compared is decided.", counted, "claims"),
        (f.seeds >= 3, f"Results are means over {f.seeds} seeds, with their spread.", f"{few} cannot carry a verdict.",
         "fairness"),
        (not f.broken, "", f"{f.broken} references in the text do not resolve.", "repetition"),
        (f.has_interval, "Differences come with intervals and a rule for the verdict.",
         "Differences come without intervals.", "fairness"),
        (f.has_control, "A control or ablation separates the cause.", "There is no control or ablation.", "fairness"),
        (f.has_plan, "Predictions were written down before the runs.", "It is not said what was expected.", "claims"),
        (f.references >= ENOUGH, f"The work is placed among {f.references} references.",
         f"Only {f.references} references are given.", "literature"),
        (f.figures >= 2, "Figures show the runs as well as the metrics.", "Too few figures to see what happened.",
         "repetition"),
        (f.tables >= 1, "Tables give the numbers in full.", "No table gives the numbers.", "repetition"),
        (f.seeds >= 10 or not f.seeds, "", f"With {f.seeds} seeds only large effects can be seen.", "significance"),
    ]  # fmt: skip
    strengths = [good for holds, good, *_ in checks if holds and good]
    return strengths, [(bad, eye) for holds, _, bad, eye in checks if not holds]


def _list(names: list[str]) -> str:
    return ", ".join(names)


def _questions(f: Facts) -> list[str]:
    asked = ["Would the verdicts hold on other data and for larger models?"]
    open_ones = f.counts.get("inconclusive")
    return asked + (["Which comparisons would be decided with three times as many seeds?"] if open_ones else [])


def _limitations(f: Facts) -> list[str]:
    return ["Small program, simple data, few seeds."] + ([] if f.has_limits else ["The paper names no limits itself."])


# --- the area chair -----------------------------------------------------------------------------


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
    middle.Ethical_Concerns = any(r.Ethical_Concerns for r in reviews)
    scores = sorted(r.Overall for r in reviews)
    agree = "agree" if scores[-1] - scores[0] <= 1 else f"differ, from {scores[0]} to {scores[-1]},"
    middle.Summary = f"{len(reviews)} reviewers {agree} on the overall score. {reviews[0].Summary}"
    middle.Decision = "Accept" if middle.Overall >= 6 else "Reject"
    return middle
