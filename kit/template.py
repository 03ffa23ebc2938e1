"""A template: the small running experiment that an idea changes."""

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from kit import show, workspace
from kit.schemas import Idea, KitError

SKIPPED = {"__pycache__", ".ipynb_checkpoints", ".venv"}  # neither copied nor hashed


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """Hash of a file, read once as long as it does not change: data may be large."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Metric(BaseModel):
    """What template.toml says about one number of final_info.json."""

    direction: str | None = Field(default=None, pattern="^(min|max)$")  # None: never compared
    unit: str = ""
    label: str = ""
    headline: bool = False  # shown in the paper's main table
    timing: bool = False  # comparable only when measured alone, on one machine


class Preset(BaseModel):
    """One size of the experiment."""

    seeds: int = 1
    about: str = ""


class Template(BaseModel):
    """A folder that follows The AI Scientist's contract, and what it says about itself."""

    name: str
    path: Path
    title: str = ""
    about: str = ""  # the experiment, for a reader of a paper about it
    system: str = ""
    task_description: str = ""
    seed_ideas: list[Idea] = []
    metrics: dict[str, Metric] = {}
    presets: dict[str, Preset] = {}
    protected: list[str] = []  # "experiment.py:evaluate": code that an edit may not change unnoticed
    requirements: list[str] = []
    data: list[str] = []
    worked: list[str] = []  # worked ideas for the scripted demo model, Markdown

    @property
    def code(self) -> str:
        """The text of experiment.py."""
        return (self.path / "experiment.py").read_text(encoding="utf-8")

    @property
    def has_own_python(self) -> bool:
        """Whether its programs run in an environment of its own, in .venv beside experiment.py."""
        return (self.path / ".venv" / "bin" / "python").is_file()

    @property
    def python(self) -> Path:
        """The Python that its programs run on: its own where it has one, else the kit's."""
        return self.path / ".venv" / "bin" / "python" if self.has_own_python else Path(sys.executable)

    def readable(self) -> list[Path]:
        """Folders that its programs have to read besides their own: data, and an own environment with its base."""
        found = [self.path / folder for folder in self.data]
        if self.has_own_python:
            home = re.search(r"^home *= *(.+)$", (self.path / ".venv" / "pyvenv.cfg").read_text(), re.MULTILINE)
            found += [self.path / ".venv", *([Path(home[1].strip()).parent] if home else [])]
        return found

    def metric(self, name: str) -> Metric:
        """What is known of a metric; one that is not declared has no direction and is never compared."""
        return self.metrics.get(name, Metric(label=name.replace("_", " ")))

    def files(self) -> list[Path]:
        """Every file of the template, in a fixed order."""
        found: list[Path] = []
        for folder, names, files in os.walk(self.path):
            names[:] = [name for name in names if name not in SKIPPED]  # an environment holds many files
            found += [Path(folder, file) for file in files]
        return sorted(found)

    def digest(self) -> str:
        """Hash of all files: a changed template is another template."""
        digest = hashlib.sha256()
        for file in self.files():
            about = file.stat()
            content = _digest(file, about.st_size, about.st_mtime_ns)
            digest.update(f"{file.relative_to(self.path)}\0{content}\0".encode())
        return digest.hexdigest()

    def _repr_html_(self) -> str:
        better = {"min": "lower is better", "max": "higher is better", None: "not compared"}
        measured = [f"{m.label or name} ({better[m.direction]})" for name, m in self.metrics.items()]
        sizes = [f"{name}: {preset.about or f'{preset.seeds} seeds'}" for name, preset in self.presets.items()]
        name = show.Html(f"<code>{show.cell(self.name)}</code>")
        return show.block(show.title(self.title or self.name, name), show.facts([
            ("Task", self.task_description), ("Measured", " · ".join(measured) or "what the code says"),
            ("Sizes", " · ".join(sizes)), ("Not to be edited", ", ".join(self.protected)),
            ("Ideas of others", f"{len(self.seed_ideas)}, given to the model as examples"),
        ]), show.details("experiment.py", show.listing(self.code)))  # fmt: skip


def template_names() -> list[str]:
    """The templates that are there."""
    return sorted(p.parent.name for p in (workspace.project_root() / "templates").glob("*/experiment.py"))


def load_template(name: str) -> Template:
    """Read templates/<name>, or a folder given by its path."""
    path = workspace.project_root() / (name if "/" in name else f"templates/{name}")
    if not (path / "experiment.py").is_file():
        known = ", ".join(template_names()) or "none"
        raise KitError(f"There is no template {name!r}: {path} holds no experiment.py. Known templates: {known}.")
    prompt = _read(path / "prompt.json", json.loads)
    about = _read(path / "template.toml", tomllib.loads)
    seeds: Any = _read(path / "seed_ideas.json", json.loads) or []
    worked = [file.read_text(encoding="utf-8") for file in sorted((path / "worked").glob("*.md"))]
    try:
        return Template(name=path.name, path=path.resolve(), seed_ideas=seeds, worked=worked,
                        system=prompt.get("system", ""), task_description=prompt.get("task_description", ""),
                        **about)  # fmt: skip
    except ValidationError as error:
        raise KitError(f"The template {name!r} cannot be read: {error}") from error


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    if not file.is_file():
        return {}
    try:
        return parse(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KitError(f"{file} cannot be read: {error}") from error
