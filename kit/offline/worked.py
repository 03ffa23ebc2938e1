"""Worked ideas: Markdown files of a template, with the idea, its arms, and the edits that make them."""

import re
import tomllib
from typing import Any, NamedTuple

from kit.schemas import Arm, Idea, KitError, Margin
from kit.template import Template

FRONT = re.compile(r"\A\+\+\+\n(.*?)\n\+\+\+\n", re.DOTALL)
ARM = re.compile(r"^## +(?P<name>[a-z0-9_]+): *(?P<title>.+)$", re.MULTILINE)
BLOCK = re.compile(r"^<<<<<<< SEARCH\n.*?^>>>>>>> REPLACE$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^(start_from|role|Prediction|Why): *(.+(?:\n(?![A-Za-z_]+: |\n|.*\.py\n).+)*)", re.MULTILINE)


class Worked(NamedTuple):
    """One worked idea."""

    idea: Idea
    keywords: list[str]
    arms: list[Arm]
    margins: list[Margin]
    edits: dict[str, str]  # by the name of the arm: SEARCH/REPLACE blocks as a model writes them


def worked_ideas(template: Template) -> dict[str, Worked]:
    """The worked ideas of a template, by name."""
    return {worked.idea.Name: worked for worked in map(_read, template.worked)}


def _read(text: str) -> Worked:
    front = FRONT.match(text)
    if not front:
        raise KitError("A worked idea begins with its fields, in TOML between two lines of +++.")
    try:
        return _read_fields(text, tomllib.loads(front[1]))
    except ValueError as error:
        raise KitError(f"A worked idea cannot be read: {error}. It begins with:\n{text[:120]}") from error


def _read_fields(text: str, fields: dict[str, Any]) -> Worked:
    keywords = fields.pop("keywords", [])
    margins = [Margin(metric=name, size=size) for name, size in fields.pop("margins", {}).items()]
    outside = BLOCK.sub(lambda block: "\0" * len(block[0]), text)  # an edit may look like a heading
    heads = list(ARM.finditer(outside))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    arms, edits = [], {}
    for head, end in zip(heads, ends, strict=True):
        block = text[head.end() : end]
        said = {name: " ".join(words.split()) for name, words in FIELD.findall(block.partition("<<<<<<<")[0])}
        arms.append(Arm(name=head["name"], title=head["title"].strip(), role=said.get("role", "variant"),  # type: ignore
                        start_from=said.get("start_from", "run_0"), change=said.get("Why", ""),
                        prediction=said.get("Prediction", "")))  # fmt: skip
        edits[head["name"]] = _blocks(block)
    if not arms:
        raise ValueError("it has no arm, that is no heading such as `## cosine: Cosine schedule`")
    return Worked(Idea(**fields), keywords, arms, margins, edits)


def _blocks(text: str) -> str:
    """From the file name before the first block to the end of the last one."""
    if not BLOCK.search(text):
        raise ValueError(f"an arm has no whole SEARCH/REPLACE block:{text[:80]}")
    before, mark, after = text.partition("<<<<<<< SEARCH")
    return before.rstrip().rpartition("\n")[2] + "\n" + mark + after.rstrip().removesuffix("```").rstrip() + "\n"
