"""Words held to verdicts: a sentence that says "improves" beside a comparison that was not decided."""

import re
from collections.abc import Iterator, Mapping

from kit.schemas import Problem

Pair = tuple[str, str, str]  # dataset/metric, run, the run that it is held against
COMPARED = re.compile(r"\\(?:cmp|verdict)\{([^{}]*)\}\{([^{}]*)\}\{([^{}]*)\}")
SENTENCE = re.compile(r"(?:[^.?!\n]|[.?!](?![\s}])|\n(?!\s*\n))+")  # a point inside of a number or a key ends nothing
MACRO = re.compile(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?(?:\{[^{}]*\})*")
AHEAD = r"improv(?:e[sd]?|ing|ements?)|outperform(?:s|ed|ing)?|better|superior|beats?|surpass(?:es|ed)?|gains?"
BEHIND = r"worse(?:ns|ned)?|degrad(?:es?|ed|ing|ation)|deteriorat(?:es?|ed|ion)|harms?|harmed|hurts?|inferior"
DECIDED = r"significant(?:ly)?|clear(?:ly)? (?:better|worse|higher|lower)"
# What takes a word back, or does not assert it: then a script cannot tell what the sentence claims.
UNSAID = re.compile(
    r"\b(?:not|no|none|neither|nor|never|cannot|without|nothing|hardly|rather than|fail\w*|lack\w*|whether|if|unless|"
    r"would|should|could|may|might|predict\w*|expect\w*|hypothes\w*|claim\w*|suppos\w*|ask\w*|inconclusive|undecided|"
    r"or worse|or better|(?:lower|higher|less|more|smaller|larger) is (?:better|worse))\b|n't\b|\?",
    re.IGNORECASE,
)


def claims(tex: str, verdicts: Mapping[Pair, str]) -> list[Problem]:
    """Sentences whose words say more, or other, than the verdicts of the comparisons that stand in them."""
    found = []
    for sentence in SENTENCE.finditer(tex):
        pairs = [pair for pair in COMPARED.findall(sentence[0]) if pair in verdicts]
        words = MACRO.sub(" ", sentence[0])
        if pairs and not UNSAID.search(words):
            first = COMPARED.search(sentence[0])
            line = tex.count("\n", 0, sentence.start() + (first.start() if first else 0)) + 1
            found += [Problem(kind="claim", message=message, line=line, fatal=False)
                      for message in _contradictions(words, pairs, verdicts)]  # fmt: skip
    return found


def _contradictions(words: str, pairs: list[Pair], verdicts: Mapping[Pair, str]) -> Iterator[str]:
    there = {verdicts[pair] for pair in pairs}
    if any(run == "run_0" for _, run, _ in pairs):  # told the other way round: who is ahead of whom is in the words
        there |= {{"better": "worse", "worse": "better"}.get(verdict, verdict) for verdict in there}
    ahead, behind, decided = (re.findall(rf"\b(?:{said})\b", words, re.IGNORECASE) for said in (AHEAD, BEHIND, DECIDED))
    known = ", ".join(f"{place} of {run} against {base} is {verdicts[place, run, base]}" for place, run, base in pairs)
    if ahead and "better" not in there and not (behind and "worse" in there):
        yield f"The sentence says {ahead[0]!r}, but {known}."
    elif behind and "worse" not in there and not (ahead and "better" in there):
        yield f"The sentence says {behind[0]!r}, but {known}."
    elif (same := re.search(r"\bequivalent(?:ly)?\b", words)) and not there & {"equivalent", "identical"}:
        yield f"The sentence says {same[0]!r}, but {known}."
    elif decided and not there & {"better", "worse"}:
        yield f"The sentence says {decided[0]!r}, but {known}."
