"""What is wrong with a paper before LaTeX has seen it."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator

from kit.letters import uncommented
from kit.schemas import Problem

KEY = re.compile(r"\\val\*?\{([^{}]*)\}")
PAIR = re.compile(r"\\(?:cmp|verdict)\{([^{}]*)\}\{([^{}]*)\}\{([^{}]*)\}")
CITE = re.compile(r"\\[Cc]ite[a-z]*\*?(?:\[[^\]]*\])*\{([^{}]*)\}")
PICTURE = re.compile(r"\\includegraphics\*?(?:\[[^\]]*\])?\{([^{}]*)\}")
LABEL = re.compile(r"\\label\{([^{}]*)\}")
REFERENCE = re.compile(r"\\(?:ref|eqref|autoref|pageref|cref|Cref)\{([^{}]*)\}")
HEADING = re.compile(r"\\section\*?\{([^{}]*)\}")
TABLE = re.compile(r"\\kittable\{([^{}]*)\}")
FLOATS = ("fig:", "tab:")
ABSTRACT = re.compile(r"\\begin\{abstract\}|\\bfseries Abstract\}")
# Arguments in which a digit is no result: keys, names, lengths, options.
QUIET = re.compile(
    r"\\(?:val\*?|cmp|verdict|ref|eqref|label|cite[a-z]*|includegraphics|begin|end|kittable|vspace|hspace)"
    r"(?:\[[^\]]*\])?(?:\{[^{}]*\})+|\\[a-zA-Z]+\*?\[[^\]\n]*\]|(?<!\\)[_^](?:\{[^{}]*\}|\d)"
)
# A digit counts unless it belongs to a word, a name or a length (2-D, GPT-4, run_1, 3pt). Each number is
# taken whole or not at all; neither a sign or a point before it nor a unit after it (3x, 40s) hides it.
NUMBER = re.compile(
    r"(?<![\w\\])(?<![A-Za-z]-)(?<!\\_)(?<!\d[.,])(?>\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?|\.\d+)"
    r"(?!(?!(?:x|s|ms|k|K|M)\b)\w|-[A-Za-z]|\\_|\\(?:line|text|column)(?:width|height))"
)
THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\,|,)(?=\d{3}(?!\d))")  # 10{,}000 is one number
YEAR = re.compile(r"(?:19|20)\d\d")


def check(
    tex: str,
    *,
    keys: Collection[str],
    comparisons: Collection[tuple[str, str, str]],
    citations: Collection[str],
    figures: Collection[str],
    tables: Collection[str] = (),
    settings: Collection[str] = (),
    strict: Collection[str] = ("Abstract", "Results"),
) -> list[Problem]:
    """Everything that would break the build or the trust in it, with line numbers of the text given."""
    lines = uncommented(tex).splitlines()
    found = [
        *_unknown(lines, KEY, keys, "number", "There is no number {!r} in the ledger."),
        *_unknown_pairs(lines, comparisons),
        *_unknown(lines, CITE, citations, "citation", "The key {!r} is not among the references."),
        *_unknown(lines, PICTURE, figures, "figure", "There is no figure {!r}."),
        *_unknown(lines, TABLE, tables or _all(lines, TABLE), "table", "There is no table {!r}."),
        *_unknown(lines, REFERENCE, _labels(lines), "reference", "No label is called {!r}."),
        *_doubles(lines, PICTURE, "figure", "The figure {!r} is shown more than once."),
        *_doubles(lines, LABEL, "label", "The label {!r} is given more than once."),
        *_doubles(lines, TABLE, "table", "The table {!r} is shown more than once."),
        *_doubles(lines, HEADING, "section", "There are several sections called {!r}."),
        *_empty(lines),
        *_literals(lines, settings, strict),
    ]
    return sorted(found, key=lambda problem: problem.line or 0)


def unseen(tex: str, figures: Collection[str], tables: Collection[str]) -> list[Problem]:
    """Remarks on figures and tables that are at hand and not shown, or shown and not spoken of."""
    lines = uncommented(tex).splitlines()
    return [
        *_unused(figures, _all(lines, PICTURE), "figure", "The figure {!r} is at hand and not shown."),
        *_unused(tables, _all(lines, TABLE), "table", "The table {!r} is at hand and not shown."),
        *_unread(lines),
    ]


def used_keys(tex: str) -> list[str]:
    """The keys of the ledger that a text prints, in order."""
    return list(dict.fromkeys(KEY.findall(tex)))


def _all(lines: list[str], pattern: re.Pattern) -> list[str]:
    names = [name for line in lines for name in pattern.findall(line)]
    if pattern in (CITE, REFERENCE):  # several at once
        names = [part for name in names for part in name.split(",")]
    return [name.strip() for name in names]


def _labels(lines: list[str]) -> list[str]:
    return [*_all(lines, LABEL), *(f"tab:{name}" for name in _all(lines, TABLE))]


def _unknown(lines: list[str], pattern: re.Pattern, known: Collection[str], kind: str, words: str) -> Iterator[Problem]:
    for number, line in enumerate(lines, 1):
        for name in _all([line], pattern):
            if name not in known:
                close = ", ".join(difflib.get_close_matches(name, known, 3, cutoff=0.3))
                message = words.format(name) + (f" Close: {close}." if close else "")
                yield Problem(kind=kind, message=message, line=number)


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


def _unused(known: Collection[str], shown: Collection[str], kind: str, words: str) -> Iterator[Problem]:
    for name in known:
        if name not in shown:
            yield Problem(kind=kind, message=words.format(name), fatal=False)


def _unread(lines: list[str]) -> Iterator[Problem]:
    """Figures and tables that no sentence speaks of."""
    read = set(_all(lines, REFERENCE))
    for number, line in enumerate(lines, 1):
        for label in _labels([line]):
            if label.startswith(FLOATS) and label not in read:
                message = rf"Nothing in the text refers to \ref{{{label}}}: say what is to be seen there."
                yield Problem(kind="reference", message=message, line=number, fatal=False)


def _empty(lines: list[str]) -> Iterator[Problem]:
    """Sections in which nothing stands before the next heading or the references."""
    heading, start, full = "", 0, True
    for number, line in enumerate([*lines, r"\section{}"], 1):
        match = HEADING.search(line)
        if match or r"\bibliography" in line:
            if not full:
                yield Problem(kind="section", message=f"The section {heading!r} is empty.", line=start)
            heading, start, full = match[1] if match else "", number, match is None
        else:
            full = full or bool(LABEL.sub("", line).strip())


def _literals(lines: list[str], settings: Collection[str], strict: Collection[str]) -> Iterator[Problem]:
    section = ""
    for number, line in enumerate(lines, 1):
        if ABSTRACT.search(line):
            section = "Abstract"
        elif heading := HEADING.search(line):
            section = heading.group(1)
        if section not in strict or HEADING.search(line):
            continue
        for literal in NUMBER.findall(THOUSANDS.sub("", QUIET.sub(" ", line))):
            if not YEAR.fullmatch(literal) and literal not in settings:
                words = f"The number {literal} in {section} is typed, and no setting that stands in the code"
                message = rf"{words}: use \val{{key}} or words."
                yield Problem(kind="literal number", message=message, line=number)
