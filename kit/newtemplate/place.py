"""A name that is free, and a whole small template under it."""

import keyword
import shutil
from pathlib import Path

from kit import skeleton, workspace
from kit.schemas import KitError
from kit.store import save

EXAMPLE = "my_template"  # the name that stands in the skeleton's texts


def free_folder(name: str) -> Path:
    """Where a template of this name will lie; KitError where the name cannot be had.

    An environment may be there before the template: a program that needs one has to be tried in it.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name == "latex":
        raise KitError(f"{name!r} cannot be a template's name: take letters, digits and underscores, as in {EXAMPLE}.")
    folder = workspace.project_root() / "templates" / name
    if folder.exists() and {entry.name for entry in folder.iterdir()} - {".venv"}:
        raise KitError(f"templates/{name} is there already. Take another name, or move it out of the way.")
    return folder


def make(name: str) -> Path:
    """Make templates/<name> from the skeleton."""
    folder = free_folder(name)
    for file in sorted((skeleton.FOLDER / "start").iterdir()):
        if file.is_file():
            save(folder / file.name, file.read_text(encoding="utf-8").replace(EXAMPLE, name))
    save(folder / "plot.py", skeleton.text("plot.py"))
    return folder


def put(draft: Path, folder: Path) -> None:
    """Move a finished draft to its place, beside an environment that may wait there; all of it appears at once."""
    ready = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(ready, ignore_errors=True)
    shutil.copytree(draft, ready, symlinks=True)
    if (folder / ".venv").is_dir():
        (folder / ".venv").rename(ready / ".venv")
    if folder.is_dir():
        folder.rmdir()
    ready.rename(folder)


def what_next(name: str, model: str = "offline", adopted: bool = False) -> str:
    """What a person does with a new template."""
    here = f"templates/{name}"
    first = f"change the files of {here}; its README.md says which is for what"
    if adopted:
        first = f"check directions, sizes and what is protected in {here}/template.toml"
        if not (workspace.project_root() / here / "template.toml").is_file():
            first = f"write each metric's direction into {here}/template.toml, as in templates/diffusion_2d"
    return (f"Next: {first}\n"
            f"      kit check {name}\n"
            f"      kit run --template {name} --model {model} --num_ideas 1")  # fmt: skip
