"""How near two texts are by their words: the cosine of TF-IDF vectors."""

import math
import re
from collections import Counter
from collections.abc import Sequence

COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be both but by can do does each for from has have how if in is it its more most no not of "
        "on one only or other over same so than that the their them then there these they this to too two up what "
        "when where which while with without all",
    )
)
# As if so many more texts had been counted, none of which has the words: with two texts alone a shared word is no
# rarer than any other, and likeness would mean nothing.
BACKGROUND = 10


def words(text: str) -> list[str]:
    """The words that carry meaning, in small letters and without the s of a plural."""
    found = (word.rstrip("s") for word in re.findall(r"[^\W_]+", text.lower()))
    return [word for word in found if len(word) > 1 and word not in COMMON]


def likeness(text: str, others: Sequence[str]) -> list[float]:
    """The cosine of a text with each of the others, from 0 (no word shared) to 1."""
    counts = [Counter(words(one)) for one in (text, *others)]
    spread = Counter(word for count in counts for word in count)
    rarity = {word: math.log((1 + BACKGROUND + len(counts)) / (0.5 + n)) for word, n in spread.items()}
    ours, *theirs = ({w: (1 + math.log(n)) * rarity[w] for w, n in count.items()} for count in counts)
    return [_cosine(ours, other) for other in theirs]


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    shared = sum(weight * other[word] for word, weight in one.items() if word in other)
    norm = math.hypot(*one.values()) * math.hypot(*other.values())
    return shared / norm if norm else 0.0
