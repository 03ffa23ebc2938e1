"""SEARCH/REPLACE edits: read them from a reply, apply them, and say to the model why one does not fit."""

import ast
import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from pydantic import BaseModel

from kit.schemas import Edit, FormatError

OPEN, MIDDLE, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
NAME = re.compile(r"[\w./-]+\.\w+")


class EditError(FormatError):
    """An edit that cannot be applied; the message tells the model what to look at."""


class Edits(BaseModel):
    """A reply made of SEARCH/REPLACE blocks, with some words around them."""

    edits: list[Edit]
    explanation: str = ""

    @classmethod
    def parse(cls, text: str) -> "Edits":
        """Read the blocks of a reply; raises FormatError with what is wrong with them."""
        edits, words, name = [], [], ""
        lines = iter(text.replace("\r\n", "\n").split("\n"))
        for line in lines:
            if line.strip() != OPEN:
                if not line.strip().startswith("```"):
                    words.append(line)
                continue
            name = _file_name(words) or name
            if not name:
                raise FormatError("An edit has no file name: write it on the line before <<<<<<< SEARCH.")
            search, replace = _until(lines, MIDDLE, name), _until(lines, CLOSE, name)
            if search == replace:
                raise FormatError(f"An edit of {name} replaces lines by the same lines.")
            edits.append(Edit(path=name, search=search, replace=replace))
        if not edits:
            raise FormatError(f"There is no edit in the reply: it needs a {OPEN} block.")
        return cls(edits=edits, explanation="\n".join(words).strip())


def _file_name(words: list[str]) -> str:
    """Take the file's name off the last line before a block."""
    while words and not words[-1].strip():
        words.pop()
    if words and len(words[-1]) < 120 and (found := NAME.search(words[-1])):
        words.pop()
        return found.group()
    return ""


def _until(lines, mark: str, name: str) -> str:
    part = []
    for line in lines:
        if line.strip() == mark:
            return "".join(f"{line}\n" for line in part)
        if line.strip() == OPEN:
            break
        part.append(line)
    raise FormatError(f"An edit of {name} is not closed: {mark} is missing.")


def apply(edits: list[Edit], files: Mapping[str, str], allowed: Collection[str] | None = None) -> dict[str, str]:
    """The files with all edits made, or an EditError and none of them made."""
    after = dict(files)
    for edit in edits:
        path = PurePosixPath(edit.path)
        if path.is_absolute() or ".." in path.parts or (allowed is not None and edit.path not in allowed):
            raise EditError(f"{edit.path} may not be edited. These may: {', '.join(allowed or files)}.")
        if not edit.search and edit.path not in after:
            after[edit.path] = edit.replace
        else:
            after[edit.path] = _replace(after.get(edit.path, ""), edit)
    if after == dict(files):
        raise EditError("The edits change nothing.")
    for name, text in after.items():
        _must_parse(name, text)
    return after


def _replace(text: str, edit: Edit) -> str:
    count = text.count(edit.search) if edit.search else 0
    if count == 1:
        return text.replace(edit.search, edit.replace)
    if count > 1:
        raise EditError(
            f"The SEARCH text stands {count} times in {edit.path}; add lines until it is unique:\n{edit.search}"
        )
    return _replace_loosely(text, edit)


def _replace_loosely(text: str, edit: Edit) -> str:
    """Match line by line without regard to spaces at the ends and to one common indentation."""
    lines, wanted = text.split("\n"), edit.search.rstrip("\n").split("\n")
    bare = [line.strip() for line in wanted]
    places = [
        i for i in range(len(lines) - len(wanted) + 1)
        if edit.search.strip() and [line.strip() for line in lines[i : i + len(wanted)]] == bare
        and len(_shifts(wanted, lines[i : i + len(wanted)])) <= 1
    ]  # fmt: skip
    if len(places) != 1:
        raise EditError(_explain(lines, wanted, edit, len(places)))
    (start,) = places
    shift = next(iter(_shifts(wanted, lines[start : start + len(wanted)])), 0)
    new = [_shifted(line, shift) for line in edit.replace.rstrip("\n").split("\n")] if edit.replace else []
    return "\n".join([*lines[:start], *new, *lines[start + len(wanted) :]])


def _shifts(wanted: list[str], found: list[str]) -> set[int]:
    """By how many spaces the lines found stand further right."""
    pairs = [(w, f) for w, f in zip(wanted, found, strict=True) if w.strip()]
    return {(len(f) - len(f.lstrip())) - (len(w) - len(w.lstrip())) for w, f in pairs}


def _shifted(line: str, by: int) -> str:
    if not line.strip():
        return ""
    return " " * by + line if by >= 0 else line[min(-by, len(line) - len(line.lstrip())) :]


def _explain(lines: list[str], wanted: list[str], edit: Edit, places: int) -> str:
    if places > 1:
        return f"The SEARCH text stands {places} times in {edit.path}; add lines until it is unique:\n{edit.search}"
    near = difflib.get_close_matches(wanted[0].strip(), [line.strip() for line in lines], 1, cutoff=0.4)
    said = f"The SEARCH text is not in {edit.path}:\n{edit.search}"
    if near:
        at = [line.strip() for line in lines].index(near[0])
        said += "\nThe closest lines there are:\n" + "\n".join(lines[max(at - 1, 0) : at + len(wanted) + 1])
    return said + "\nCopy the lines exactly as they stand in the file."


def _must_parse(name: str, text: str) -> None:
    if not name.endswith(".py"):
        return
    try:
        ast.parse(text)
    except SyntaxError as error:
        shown = text.split("\n")[(error.lineno or 1) - 1] if error.lineno else ""
        raise EditError(f"After the edits {name} is no Python: {error.msg}, line {error.lineno}: {shown}") from error
    except ValueError as error:
        raise EditError(f"After the edits {name} is no Python: {error}.") from error


def diff(before: str, after: str, name: str) -> str:
    """A unified diff."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
