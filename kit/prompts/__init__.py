"""The words a model reads: one Markdown file a verb, one system.md a stage, Jinja2 in between."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError, meta

from kit.schemas import KitError

FOLDER = Path(__file__).parent


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=False, autoescape=False,
    )  # fmt: skip


def prompt_names() -> list[str]:
    """Every prompt that can be asked, as `stage/verb`."""
    files = FOLDER.glob("*/*.md")
    return sorted(f"{f.parent.name}/{f.stem}" for f in files if f.parent.name[0] != "_" and f.stem != "system")


def render(name: str, values: dict[str, Any]) -> str:
    """The prompt with its values filled in; a missing one stops before anything is sent."""
    if not (FOLDER / f"{name}.md").is_file():
        raise KitError(f"There is no prompt {name!r} in kit/prompts. Prompts: {', '.join(prompt_names())}.")
    try:
        return _environment().get_template(f"{name}.md").render(values).strip()
    except UndefinedError as error:
        raise KitError(f"The prompt {name!r} needs a value that was not given: {error.message}.") from error


def value_names(name: str) -> set[str]:
    """The values a prompt needs, those of the fragments that it includes too."""
    environment = _environment()
    source = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    tree = environment.parse(source)
    included = [t.removesuffix(".md") for t in meta.find_referenced_templates(tree) if t]
    return meta.find_undeclared_variables(tree).union(*(value_names(i) for i in included))
