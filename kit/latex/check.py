"""What is wrong with a paper before LaTeX has seen it."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator

from kit.schemas import Problem

KEY = re.compile(r"\\val\*?\{([^{}]*)\}")
PAIR = re.compile(r"\\(?:cmp|verdict)\{([^{}]*)\}\{([^{}]*)\}\{([^{}]*)\}")
CITE = re.compile(r"\\[Cc]ite[a-z]*\*?(?:\[[^\]]*\])*\{([^{}]*)\}")
PICTURE = re.compile(r"\\includegraphics\*?(?:\[[^\]]*\])?\{([^{}]*)\}")
LABEL = re.compile(r"\\label\{([^{}]*)\}")
REFERENCE = re.compile(r"\\(?:ref|eqref|autoref|pageref|cref|Cref)\{([^{}]*)\}")
HEADING = re.compile(r"\\section\*?\{([^{}]*)\}")
COMMENT = re.compile(r"(?<!\\)%.*")
# Arguments in which a digit is no result: keys, names, lengths, options.
QUIET = re.compile(
    r"\\(?:val\*?|cmp|verdict|ref|eqref|label|cite[a-z]*|includegraphics|begin|end|kittable|vspace|hspace)"
    r"(?:\[[^\]]*\])?(?:\{[^{}]*\})+|\[[^\]\n]*\]"
)
# A digit counts unless it belongs to a word or a name (2-D, GPT-4, run_1) or stands for a year.
NUMBER = re.compile(r"(?<![\w.\\-])(?<!\\_)\d+(?:[.,]\d+)*(?!\w)(?!-[A-Za-z])(?!\\_)")
YEAR = re.compile(r"(?:19|20)\d\d")


def check(
    tex: str, *, keys: Collection[str], comparisons: Collection[tuple[str, str, str]], citations: Collection[str],
    figures: Collection[str], settings: Collection[str] = (), strict: Collection[str] = ("Abstract", "Results"),
) -> list[Problem]:  # fmt: skip
    """Everything that would break the build or the trust in it, with line numbers of the text given."""
    lines = [COMMENT.sub("", line) for line in tex.splitlines()]
    found = [
        *_unknown(lines, KEY, keys, "number", "There is no number {!r} in the ledger."),
        *_unknown_pairs(lines, comparisons),
        *_unknown(lines, CITE, citations, "citation", "The key {!r} is not among the references."),
        *_unknown(lines, PICTURE, figures, "figure", "There is no figure {!r}."),
        *_unknown(lines, REFERENCE, [*_all(lines, LABEL), *_table_labels(tex)], "reference", "No label is called {!r}."),
        *_doubles(lines, PICTURE, "figure", "The figure {!r} is shown more than once."),
        *_doubles(lines, LABEL, "label", "The label {!r} is given more than once."),
        *_doubles(lines, HEADING, "section", "There are several sections called {!r}."),
        *_literals(lines, settings, strict),
    ]
    return sorted(found, key=lambda problem: problem.line or 0)


def used_keys(tex: str) -> list[str]:
    """The keys of the ledger that a text prints, in order."""
    return list(dict.fromkeys(KEY.findall(tex)))


def _all(lines: list[str], pattern: re.Pattern) -> list[str]:
    return [part.strip() for line in lines for match in pattern.findall(line) for part in match.split(",")]


def _table_labels(tex: str) -> list[str]:
    return [f"tab:{name}" for name in re.findall(r"\\kittable\{([^{}]*)\}", tex)]


def _unknown(lines: list[str], pattern: re.Pattern, known: Collection[str], kind: str, words: str) -> Iterator[Problem]:
    for number, line in enumerate(lines, 1):
        for name in _all([line], pattern):
            if name not in known:
                close = ", ".join(difflib.get_close_matches(name, known, 3, cutoff=0.3))
                yield Problem(kind=kind, message=words.format(name) + (f" Close: {close}." if close else ""), line=number)


def _unknown_pairs(lines: list[str], known: Collection[tuple[str, str, str]]) -> Iterator[Problem]:
    for number, line in enumerate(lines, 1):
        for triple in PAIR.findall(line):
            if triple not in known:
                words = "The ledger does not compare {1} with {2} on {0}.".format(*triple)
                near = [c for c in known if c[0] == triple[0]][:3]
                close = "; ".join(" ".join(c) for c in near) or ", ".join(sorted({c[0] for c in known})[:6])
                yield Problem(kind="comparison", message=f"{words} There are: {close}.", line=number)


def _doubles(lines: list[str], pattern: re.Pattern, kind: str, words: str) -> Iterator[Problem]:
    seen: Counter = Counter()
    for number, line in enumerate(lines, 1):
        for name in _all([line], pattern):
            seen[name] += 1
            if seen[name] == 2:
                yield Problem(kind=kind, message=words.format(name), line=number)


def _literals(lines: list[str], settings: Collection[str], strict: Collection[str]) -> Iterator[Problem]:
    section = ""
    for number, line in enumerate(lines, 1):
        if "Abstract" in line and "bfseries" in line:
            section = "Abstract"
        elif heading := HEADING.search(line):
            section = heading.group(1)
        if section not in strict or HEADING.search(line):
            continue
        for literal in NUMBER.findall(QUIET.sub(" ", line)):
            if not YEAR.fullmatch(literal) and literal not in settings:
                words = rf"The number {literal} in {section} is typed, not taken from the ledger: use \val{{key}} or words."
                yield Problem(kind="literal number", message=words, line=number)
