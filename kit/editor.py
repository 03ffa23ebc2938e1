"""SEARCH/REPLACE edits: read them from a reply, apply them, and say to the model why one does not fit."""

import ast
import difflib
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import BaseModel

from kit.schemas import Edit, FormatError

# Models are let off with marker lines that are indented, longer than seven signs, or hold the file's name.
OPEN = re.compile(r"\s*(<{5,})\s*SEARCH\b[\s:]*(.*)")
MIDDLE = re.compile(r"\s*(={5,})\s*")
CLOSE = re.compile(r"\s*>{5,}\s*REPLACE\b.*")
USUAL = 7  # signs in a marker
# A line that is a file's name, whatever stands around it: **`experiment.py`**, ### experiment.py:, File: experiment.py
NAME_LINE = re.compile(
    r"""[\s*`#>\["'(-]*(?:\d+[.)]\s+)?[*`]*(?:(?:file ?(?:name)?|path)\b[\s*:`"']+)?"""
    r"""(?P<name>(?=\S*[./])(?=\S*[^\W\d_])[\w./+\\-]*\w)[\s*`:\])"',]*""",
    re.IGNORECASE,
)
NAME_IN_SENTENCE = re.compile(r"[\w./-]*\w\.(?:py|tex|bib|sty|md|txt|json|toml|ya?ml|csv|sh|cfg|ini)\b")
UNITS = (4, 8, 2)  # how many spaces a tab may stand for, the likeliest first


class EditError(FormatError):
    """An edit that cannot be applied; the message tells the model what to look at."""


# --- read a reply -------------------------------------------------------------------------------


class Edits(BaseModel):
    """A reply made of SEARCH/REPLACE blocks, with some words around them."""

    edits: list[Edit]
    explanation: str = ""

    @classmethod
    def parse(cls, text: str) -> "Edits":
        """Read the blocks of a reply; raises FormatError with what is wrong with them."""
        edits, told, words, name = [], [], [], ""
        lines = iter(text.replace("\r\n", "\n").split("\n"))
        for line in lines:
            if opened := OPEN.fullmatch(line):
                name = _file_name(words, opened[2], name)
                edits.append(_read_block(lines, name, len(opened[1])))
                told, words = told + words, []
            else:
                words.append(line)
        if not edits:
            raise FormatError("There is no edit in the reply: it needs a <<<<<<< SEARCH block.")
        told = [line for line in told + words if not _is_fence(line)]
        return cls(edits=edits, explanation="\n".join(told).strip())


def _file_name(words: list[str], beside: str, former: str) -> str:
    """The file a block is for: named beside SEARCH, in a fence, on the line before, or as in the block before it."""
    if found := NAME_LINE.fullmatch(beside[:200]):
        return found["name"]
    for at in range(len(words) - 1, -1, -1):
        line = words[at][:200]
        found = NAME_IN_SENTENCE.search(line)
        if _is_fence(line) and found:
            return found.group()
        if line.strip() and not _is_fence(line):
            if named := NAME_LINE.fullmatch(line):
                del words[at]
                return named["name"]
            # A sentence may also speak of a file that stays as it is: it counts where it leads to the block.
            if found and (not former or line.rstrip(" *").endswith(":")):
                return found.group()
            break
    if not former:
        raise FormatError("An edit has no file name: write it on the line before <<<<<<< SEARCH.")
    return former


def _is_fence(line: str) -> bool:
    return line.lstrip().startswith(("```", "~~~"))


def _read_block(lines: Iterator[str], name: str, signs: int) -> Edit:
    """The edit between an opening marker and its end."""
    block: list[str] = []
    for line in lines:
        if CLOSE.fullmatch(line):
            break
        if OPEN.fullmatch(line):
            raise FormatError(f"An edit of {name} is not closed: >>>>>>> REPLACE is missing before the next block.")
        block.append(line)
    else:
        raise FormatError(f"An edit of {name} is not closed: >>>>>>> REPLACE is missing.")
    middle = _find_middle(block, name, signs)
    search, replace = ("".join(f"{line}\n" for line in part) for part in (block[:middle], block[middle + 1 :]))
    if search == replace:
        raise FormatError(f"An edit of {name} replaces lines by the same lines:\n{search}")
    return Edit(path=name, search=search, replace=replace)


def _find_middle(block: list[str], name: str, signs: int) -> int:
    """Where the parts meet: at the line of equals signs that is as long as the opening marker, or as usual."""
    lengths = {at: len(found[1]) for at, line in enumerate(block) if (found := MIDDLE.fullmatch(line))}
    for wanted in (signs, USUAL, None):
        places = [at for at, length in lengths.items() if wanted in (length, None)]
        if len(places) == 1:
            return places[0]
        if places:
            raise FormatError(
                f"An edit of {name} holds {len(places)} lines of {'=' * signs}, and one of them must divide it. "
                f"Give its three marker lines more signs: {'<' * (signs + 3)} SEARCH, {'=' * (signs + 3)}, "
                f"{'>' * (signs + 3)} REPLACE."
            )
    raise FormatError(f"An edit of {name} is not closed: ======= is missing.")


# --- apply --------------------------------------------------------------------------------------


def apply(edits: list[Edit], files: Mapping[str, str], allowed: Collection[str] | None = None) -> dict[str, str]:
    """The files with all edits made, or an EditError and none of them made."""
    after = dict(files)
    for edit in edits:
        name = _checked_name(edit.path, files, allowed)
        before = after.get(name)
        after[name] = _replace(before, edit, name)
        if after[name] == before:
            raise EditError(f"An edit of {name} changes nothing:\n{edit.search}")
    changed = {name: text for name, text in after.items() if files.get(name) != text}
    if not changed:
        raise EditError("The edits change nothing.")
    for name, text in changed.items():
        _must_parse(name, text)
    return after


def _checked_name(path: str, files: Mapping[str, str], allowed: Collection[str] | None) -> str:
    place = PurePosixPath(path)
    inside = place.name and not place.is_absolute() and not {"..", "~"} & set(place.parts) and "\\" not in path
    if not inside or (allowed is not None and str(place) not in allowed):
        raise EditError(f"{path} may not be edited. These may: {', '.join(files if allowed is None else allowed)}.")
    return str(place)  # ./experiment.py is experiment.py


def _replace(text: str | None, edit: Edit, name: str) -> str:
    if not edit.search:
        if (text or "").strip():
            raise EditError(f"{name} exists: an empty SEARCH is for a new file. Copy the lines that shall change.")
        return edit.replace
    if text is None:
        raise EditError(f"There is no file {name}. For a new file leave the SEARCH part empty.")
    if "\r\n" in text and text.count("\n") == text.count("\r\n"):  # a file from Windows stays one
        return _replace(text.replace("\r\n", "\n"), edit, name).replace("\n", "\r\n")
    lines = _lines(text)
    for wanted, new in _readings(edit):
        if place := _find(lines, wanted, edit, name):
            kept = [*lines[: place.start], *_moved(new, place, lines), *lines[place.end :]]
            return "\n".join(kept) + ("\n" if kept and text.endswith("\n") else "")
    part = edit.search.strip("\n")
    if not name.endswith(".py") and part.strip() and text.count(part) == 1:  # a sentence of a paragraph in one line
        return text.replace(part, edit.replace.strip("\n"))
    raise EditError(_explain(lines, _lines(edit.search), edit, name))


def _lines(text: str) -> list[str]:
    """The lines of a text; a newline at its end begins no further line."""
    return text.removesuffix("\n").split("\n") if text else []


def _readings(edit: Edit) -> Iterator[tuple[list[str], list[str]]]:
    """The lines wanted and those that replace them: as written, then without blank lines around them."""
    parts = [part.replace("\r\n", "\n") for part in (edit.search, edit.replace)]
    yield _lines(parts[0]), _lines(parts[1])
    bare = [_lines(re.sub(r"^(?:[ \t]*\n)+|(?<=\n)(?:[ \t]*\n)+$", "", part)) for part in parts]
    if bare[0] and bare[0] != _lines(parts[0]):
        yield bare[0], bare[1]


class Place(NamedTuple):
    """Where lines stand, and how they are indented there."""

    start: int
    end: int
    shift: int = 0  # columns further right than they were written
    unit: int = 0  # columns of a tab; 0: they stand as they were written


def _find(lines: list[str], wanted: list[str], edit: Edit, name: str) -> Place | None:
    """The one place of the lines: as written, else but for spaces at their ends, else with one common indentation."""
    size = len(wanted)
    starts = [i for i in range(len(lines) - size + 1) if lines[i].strip() == wanted[0].strip()]
    found = {i: lines[i : i + size] for i in starts}
    bare = [line.rstrip() for line in wanted]
    ways = [
        [Place(i, i + size) for i, there in found.items() if there == wanted],
        [Place(i, i + size) for i, there in found.items() if [line.rstrip() for line in there] == bare],
        [Place(i, i + size, *shift) for i, there in found.items() if (shift := _common_shift(wanted, there))],
    ]
    places: list[Place] = []
    for place in next(filter(None, ways), []):  # counted as str.count does: places that overlap are one
        if not places or place.start >= places[-1].end:
            places.append(place)
    if len(places) > 1:
        shown = ", ".join(str(place.start + 1) for place in places)
        raise EditError(
            f"The SEARCH text stands {len(places)} times in {name} (from lines {shown}); "
            f"add lines until it is unique:\n{edit.search}"
        )
    return places[0] if places else None


# --- indentation --------------------------------------------------------------------------------


def _common_shift(wanted: list[str], found: list[str]) -> tuple[int, int] | None:
    """By how many columns all lines found stand further right, and the width of a tab for which this is so."""
    pairs = [(w, f) for w, f in zip(wanted, found, strict=True) if w.strip() or f.strip()]
    if not pairs or any(w.strip() != f.strip() for w, f in pairs):
        return None
    for unit in UNITS:
        shifts = {_width(f, unit) - _width(w, unit) for w, f in pairs}
        if len(shifts) == 1:
            return shifts.pop(), unit
    return None


def _width(line: str, unit: int) -> int:
    return len(line[: len(line) - len(line.lstrip())].expandtabs(unit))


def _moved(new: list[str], place: Place, lines: list[str]) -> list[str]:
    """The new lines, indented as those around them are: by tabs if these are."""
    if not place.unit:
        return new
    there = [line for line in lines[place.start : place.end] if line[:1].isspace() and line.strip()]
    tabs = any(line.startswith("\t") for line in there or lines)
    moved = []
    for line in new:
        width = max(0, _width(line, place.unit) + place.shift) if line.strip() else 0
        indent = "\t" * (width // place.unit) + " " * (width % place.unit) if tabs else " " * width
        moved.append(indent + line.lstrip())
    return moved


# --- say why not --------------------------------------------------------------------------------


def _explain(lines: list[str], wanted: list[str], edit: Edit, name: str) -> str:
    said = f"The SEARCH text is not in {name}:\n{edit.search}"
    if edit.replace.strip() and edit.replace.strip("\n") in "\n".join(lines):
        return said + "\nIts REPLACE text stands there already: leave this edit out."
    near = _closest(lines, wanted)
    if near is not None:
        shown = lines[max(near - 1, 0) : near + len(wanted) + 1]
        said += f"\nThe closest lines there, about line {near + 1}, are:\n" + "\n".join(shown)
    return said + "\nCopy the lines exactly as they stand in the file."


def _closest(lines: list[str], wanted: list[str]) -> int | None:
    """Where the lines begin that are most like those wanted, if any are."""
    asked = [(n, line.strip()) for n, line in enumerate(wanted) if line.strip()][:8]
    matcher, best = difflib.SequenceMatcher(autojunk=False), (0.5, None)
    likeness = dict.fromkeys(range(len(lines)), 0.0)
    for n, line in asked:
        matcher.set_seq2(line)
        for at in range(n, len(lines)):
            matcher.set_seq1(lines[at].strip())
            likeness[at - n] += matcher.quick_ratio() / len(asked)
    return max([best, *((value, at) for at, value in likeness.items())], key=lambda pair: pair[0])[1]


def _must_parse(name: str, text: str) -> None:
    if not name.endswith(".py"):
        return
    try:
        with warnings.catch_warnings():  # a "\d" is bad style, and no reason to refuse an edit
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        lines = text.splitlines()
        shown = lines[error.lineno - 1] if error.lineno and error.lineno <= len(lines) else ""
        raise EditError(f"After the edits {name} is no Python: {error.msg}, line {error.lineno}: {shown}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise EditError(f"After the edits {name} is no Python: {error}.") from error


def diff(before: str, after: str, name: str) -> str:
    """A unified diff, as `patch` and `git apply` take it."""
    old, new = ([f"{line}\n" for line in _lines(text)] for text in (before, after))
    for lines, text in ((old, before), (new, after)):
        if lines and not text.endswith("\n"):
            lines[-1] += "\\ No newline at end of file\n"
    return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


def patches_of(folder: Path, runs: Iterable[str]) -> dict[str, str]:
    """The patches that each run of an idea is made of, one after the other, from its history/."""
    files = {run: sorted((folder / "history").glob(f"{run}.*.patch")) for run in runs}
    return {run: "\n".join(file.read_text(encoding="utf-8") for file in found) for run, found in files.items()}
