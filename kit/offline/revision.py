"""Stage 3 of the scripted scientist, with a text at hand: what it would change, and how it changes what others name."""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.offline.story import sentence, tex

# What a point is about → the section that answers it, and what is said there.
ANSWERS = [
    (r"limit|generali[sz]|scope|toy|small (?:data|scale|model)|simple data|only (?:one|two)", "conclusion",
     r"\textbf{Scope.} We claim nothing beyond the program, the data and the settings that are described above."),
    (r"seeds?\b|power|statistic|interval|significan|confidence", "experimental_setup",
     "The number of seeds decides how small an effect can still be told from none; "
     "what is called inconclusive here may be such an effect."),
    (r"related|literature|prior work|citation|references", "related_work",
     "The search for related work went through the engines that are named in the record of this run; "
     "work that they do not hold is missing here."),
    (r"ablation|control|cause|mechanism|why\b|explain", "results",
     "What causes a difference is not shown by the difference itself: it is shown only as far as a control "
     "or an ablation, made under the same conditions, comes out otherwise."),
    (r"reproduc|detail|hyper-?param|setting|code\b", "experimental_setup",
     "Every setting that is not named here stands in the program, as it ran, beside the results."),
    (r"figure|caption|plot|axis|table", "results",
     "Figures and tables show the same runs; where they seem to differ, the table holds the exact values."),
]  # fmt: skip
OPEN = r"\textbf{Left open.} This text does not settle a point that a reader may raise: "


def revise(values: dict[str, Any], dice: random.Random) -> str:
    """Edits that answer each point where its topic belongs; what is answered already is said to be open."""
    files, said = dict(values["files"]), []
    after = dict(files)
    for point in map(_plain, values["points"]):
        last = "conclusion.tex" if "conclusion.tex" in files else list(files)[-1]
        for name, words in [*_answers(point, files), (last, OPEN + tex(sentence(point)))]:
            if words not in after[name]:
                after[name] = _with(after[name], words)
                said.append(f"- {name} answers: {point}")
                break
    return "\n".join([*said, "", *(block(name, files[name], after[name]) for name in files)])


def _answers(point: str, files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The file to change for a point and what is to be said there, if its topic is known."""
    for topic, section, words in ANSWERS:
        if re.search(topic, point, re.IGNORECASE) and f"{section}.tex" in files:
            yield f"{section}.tex", words
            return


def _plain(point: str) -> str:
    return " ".join(re.sub(r"[^ -~]+", " ", point).split())


def _with(text: str, words: str) -> str:
    """The text with a sentence more: as a paragraph where it begins as one, else at the end of the last paragraph."""
    if words.startswith(r"\textbf"):
        return f"{text}\n\n{words}"
    lines = text.split("\n")
    prose = [n for n, line in enumerate(lines) if line.endswith(".") and not line.startswith("\\") and line[:1] != " "]
    at = prose[-1] if prose else len(lines) - 1
    return "\n".join([*lines[:at], f"{lines[at]} {words}" if prose else f"{lines[at]}\n\n{words}", *lines[at + 1 :]])


def block(name: str, before: str, after: str) -> str:
    """The difference of two texts as one SEARCH/REPLACE block, whose SEARCH part occurs once; else nothing."""
    old, new = before.split("\n"), after.split("\n")
    if old == new:
        return ""
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = next((n for n, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b), len(old))
    last = max(first, len(old) - tail)  # the lines first to last - 1 change
    while not _once(old, first, last) and (first > 0 or last < len(old)):
        first, last = max(0, first - 1), min(len(old), last + 1)
    kept = len(old) - last
    return "\n".join([name, "<<<<<<< SEARCH", *old[first:last], "=======", *new[first : len(new) - kept],
                      ">>>>>>> REPLACE", ""])  # fmt: skip


def _once(lines: list[str], first: int, last: int) -> bool:
    """Whether these lines stand only here, and are not blank."""
    wanted = [line.strip() for line in lines[first:last]]
    places = [n for n in range(len(lines) - len(wanted) + 1)
              if [line.strip() for line in lines[n : n + len(wanted)]] == wanted]  # fmt: skip
    return any(wanted) and len(places) == 1
