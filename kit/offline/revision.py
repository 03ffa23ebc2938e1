"""Stage 3 of the scripted scientist, with a text at hand: what it would change, and how it changes what others name."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kit.offline.experiments import number_word
from kit.offline.story import sentence, tex
from kit.schemas import Critique, Point

MACRO = re.compile(r"(\\(?:val\*?|cmp|verdict|ref|label|cite[a-z]*|includegraphics)(?:\[[^\]]*\])?(?:\{[^{}]*\})+)")
DOUBLED = re.compile(r"\b((?!that\b|had\b)[a-z]{2,}) \1\b")
# A point as the build makes it, or a reader: the file, where in it, what kind of trouble.
TOLD = re.compile(r'(?:(?P<file>\w+\.tex)(?:, at "(?P<at>.*?)")?: )?(?:(?P<kind>[a-z ]+): )?(?P<what>.*)', re.DOTALL)
BUILD = {"error", "reference", "citation", "number", "literal number", "comparison", "figure", "table", "label",
         "claim", "section", "overfull", "file"}  # fmt: skip
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
FLOAT = r"""Figure~\ref{{fig:{1}}} shows the same runs.

\begin{{figure}}[tbp]
  \centering
  \includegraphics[width=\linewidth]{{{0}}}
  \caption{{All runs.}}
  \label{{fig:{1}}}
\end{{figure}}"""
OPEN = r"\textbf{Left open.} This text does not settle a point that a reader may raise: "

# --- looking at a text --------------------------------------------------------------------------


def refine(values: dict[str, Any], dice: random.Random) -> str:
    """A word that was written twice goes; a script sees no more than that."""
    found = [(name, text, DOUBLED.sub(r"\1", text)) for name, text in values["files"].items()]
    blocks = [block(name, text, once) for name, text, once in found if once != text]
    return "\n".join(["Some words stood twice.", "", *blocks]) if blocks else "Nothing needs to change."


def criticise(values: dict[str, Any], dice: random.Random) -> Critique:
    """What a script can see in the whole paper: what is missing, and what stands there twice."""
    files: dict[str, str] = values["files"]
    text, points = "\n".join(files.values()), []
    for figure in values["figures"]:
        if figure.file not in text:
            points.append(Point(section="results", point=f"figure: The figure '{figure.file}' is not shown."))
    if "conclusion.tex" in files and not re.search(r"\blimit", files["conclusion.tex"], re.IGNORECASE):
        points.append(Point(section="conclusion", point="The limits of the study are not named."))
    for said in _said_twice(files):
        points.append(
            Point(section=said, point="A sentence of this section stands in another one as well: say it once.")
        )
    return Critique(points=points, done=not points)


def _said_twice(files: Mapping[str, str]) -> list[str]:
    """The sections that say a long sentence which an earlier one, other than the abstract, has said."""
    homes: dict[str, str] = {}
    found = Counter()
    for file, text in files.items():
        for said in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
            if len(said.split()) > 12 and file != "abstract.tex" and homes.setdefault(said, file) != file:
                found[file.removesuffix(".tex")] += 1
    return list(found)


# --- changing it --------------------------------------------------------------------------------


def revise(values: dict[str, Any], dice: random.Random) -> str:
    """Edits that mend what the build found, and answer each other point where its topic belongs."""
    files, said = dict(values["files"]), []
    after = dict(files)
    for point in values["points"]:
        told = TOLD.fullmatch(point)
        if told and told["kind"] in BUILD:
            names = [told["file"]] if told["file"] in files else list(files)
            after |= {name: mend(after[name], told["kind"], told["what"]) for name in names}
            continue
        plain = " ".join(re.sub(r"[^ -~]+", " ", point).split())
        last = "conclusion.tex" if "conclusion.tex" in files else list(files)[-1]
        for name, words in [*_answers(plain, files), (last, OPEN + tex(sentence(plain)))]:
            if words not in after[name]:
                after[name] = _with(after[name], words)
                said.append(f"- {name} answers: {plain}")
                break
    blocks = [made for name in files if (made := block(name, files[name], after[name]))]
    return "\n".join([*said, "", *blocks]) if blocks else "There is nothing here that a script can mend."


def mend(text: str, kind: str, what: str) -> str:
    """The text without what the build complained about; a number that was typed is written in words."""
    if kind == "literal number":
        return _spell(text, what)
    for name in re.findall(r"'([^']+)'", what)[:1]:
        if kind == "figure" and "not shown" in what:
            return f"{text}\n\n{FLOAT.format(name, name.rpartition('.')[0])}"
        text = re.sub(rf"~?\\cite[pt]\{{{re.escape(name)}\}}", "", text)
        text = re.sub(rf"({re.escape(name)},\s*|,\s*{re.escape(name)}(?=\}}))", "", text)
        text = re.sub(rf"~?\\(?:ref|val\*?)\{{{re.escape(name)}\}}", "", text)
    return text


def _spell(text: str, what: str) -> str:
    """The text with one literal number in words, outside of keys; long ones digit by digit."""
    found = re.match(r"The number (\S+) in", what)
    if not found:
        return text
    number = found[1]
    small = number.isdigit() and len(number) < 3
    signs = {".": "point", ",": "comma", "-": "minus", "+": "plus", "e": "e", "E": "e"}
    words = number_word(int(number)) if small else " ".join(
        signs.get(sign) or ("zero" if sign == "0" else number_word(int(sign))) for sign in number)  # fmt: skip
    literal = re.compile(rf"(?<![\w.]){re.escape(number)}(?![\d_])")
    return "".join(part if MACRO.fullmatch(part) else literal.sub(words, part) for part in MACRO.split(text))


def _answers(point: str, files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The file to change for a point and what is to be said there, if its topic is known."""
    for topic, section, words in ANSWERS:
        if re.search(topic, point, re.IGNORECASE) and f"{section}.tex" in files:
            yield f"{section}.tex", words
            return


def _with(text: str, words: str) -> str:
    """The text with a sentence more: as a paragraph where it begins as one, else at the end of the last paragraph."""
    if words.startswith(r"\textbf"):
        return f"{text}\n\n{words}"
    lines = text.split("\n")
    prose = [n for n, line in enumerate(lines) if line.endswith(".") and not line.startswith("\\") and line[:1] != " "]
    at = prose[-1] if prose else len(lines) - 1
    return "\n".join([*lines[:at], f"{lines[at]} {words}" if prose else f"{lines[at]}\n\n{words}", *lines[at + 1 :]])


# --- as an edit ---------------------------------------------------------------------------------


def block(name: str, before: str, after: str) -> str:
    """The difference of two texts as one SEARCH/REPLACE block, whose SEARCH part occurs once; else nothing."""
    old, new = before.split("\n"), after.split("\n")
    if old == new:
        return ""
    shorter = min(len(old), len(new))
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), shorter)
    tail = next((n for n, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b), shorter)
    last = len(old) - min(tail, shorter - first)  # the lines first to last - 1 change
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
