"""One run's folder: where things are, and what is known of the run."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from kit import __version__, show
from kit.archive import Archive, Record
from kit.schemas import KitError
from kit.store import Steps, digest, load_json, locked, now, save_json


def project_root() -> Path:
    """The folder that holds notebooks/ and templates/, wherever the kernel was started."""
    if home := os.environ.get("KIT_HOME"):
        return Path(home).resolve()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "01_ideas.ipynb").is_file() and (folder / "templates").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


class Run:
    """One run's folder."""

    def __init__(self, path: Path):
        self.path = path
        self.calls = Steps(path / "calls")  # one file a model call
        self.steps = Steps(path / "steps")  # runs of programs, edits, compiles

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def about(self) -> dict:
        """What run.json says: parameters, versions, template hash, stages."""
        file = self.path / "run.json"
        return load_json(file) if file.exists() else {}

    def note(self, **facts: Any) -> None:
        """Add facts to run.json; dictionaries are merged."""
        with locked(self.path / "steps" / "locks" / "run.json.lock"):
            about = self.about
            for name, fact in facts.items():
                about[name] = about.get(name, {}) | fact if isinstance(fact, dict) else fact
            save_json(self.path / "run.json", about)

    def archive(self) -> Archive:
        """The ideas of this run, as they stand on disk."""
        file = self.path / "ideas.json"
        return Archive.model_validate(load_json(file)) if file.exists() else Archive()

    def save_archive(self, archive: Archive) -> Archive:
        """Write ideas.json whole; what a person chose there stays chosen."""
        archive.keep_choices(self.archive())
        save_json(self.path / "ideas.json", archive)
        return archive

    def pick(self, idea: str = "") -> Record:
        """The idea of that name, or the first one chosen."""
        records = self.archive().records
        for record in records:
            if record.idea.Name == idea or (not idea and record.chosen):
                return record
        names = ", ".join(r.idea.Name for r in records) or "none: run 01_ideas first"
        raise KitError(f"{self.path} has no {'idea ' + repr(idea) if idea else 'chosen idea'}. Ideas: {names}.")

    def folder(self, idea: str) -> Path:
        """The folder of one idea."""
        path = self.path / idea
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _repr_html_(self) -> str:
        about, records = self.about, self.archive().records
        started = about.get("started", "")[:16].replace("T", " ")
        chosen = sum(record.chosen for record in records)
        return show.block(show.title(f"Run {self.name}"), show.facts([
            ("Template", about.get("template")), ("Model", about.get("model")), ("Started (UTC)", started),
            ("Ideas", f"{len(records)}, {chosen} chosen" if records else "none yet"),
            ("Folder", show.Html(f"<code>{show.cell(self.path)}</code>")),
        ]))  # fmt: skip


def outputs() -> Path:
    """Where runs live."""
    return project_root() / "outputs"


def run_path(run_dir: str) -> Path:
    """A run's folder from what a person typed: a name in outputs/, or a path from the project's root."""
    path = Path(run_dir).expanduser()
    return (outputs() / path if len(path.parts) == 1 else project_root() / path).resolve()


def run_name(template: str, model: str, **parameters: Any) -> str:
    """The same parameters give the same folder; empty ones are no part of its name."""
    parameters = {name: value for name, value in parameters.items() if value not in ("", [])}
    plain = "-".join((Path(template).name, model.rpartition("/")[2])).replace(":", "-")
    return f"{plain}-{digest(template, model, parameters)[:4]}"


def start_run(
    run_dir: str, template: str, model: str, *, budget: str = "", idea_budget: str = "", **parameters: Any
) -> Run:
    """Open a run's folder, or make it; without `run_dir` its name comes from the parameters.

    A budget is no part of the name: a run goes on with another one.
    """
    run = Run(run_path(run_dir or run_name(template, model, **parameters)))
    former = run.about.get("template", template)
    if former != template:
        raise KitError(
            f"{run.path} holds a run of the template {former!r}, not {template!r}. "
            f"Give another run_dir, or start this one anew with --fresh (the old folder is kept aside)."
        )
    if not run.about:
        run.note(started=now(), versions=versions())
    run.note(template=template, model=model, parameters=parameters, budget=budget, idea_budget=idea_budget)
    return run


def open_run(run_dir: str = "") -> Run:
    """Open a run that is there; without `run_dir` the one written to last."""
    if run_dir:
        path = run_path(run_dir)
        if not (path / "run.json").is_file():
            raise KitError(f"There is no run in {path}. Run 01_ideas first, or `kit run`; `kit runs` lists them.")
        return Run(path)
    if not (runs := all_runs()):
        raise KitError(f"There is no run in {outputs()} yet. Run 01_ideas first, or `kit run`.")
    return runs[0]


def all_runs() -> list[Run]:
    """The runs in outputs/, the one written to last first; a name with _ in front is the kit's own."""
    files = sorted(outputs().glob("[!_]*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [Run(file.parent) for file in files]


def set_aside(path: Path) -> None:
    """Move an old run out of the way; nothing is deleted."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    if path.exists():
        path.rename(aside)


def versions() -> dict[str, str]:
    """What a result may depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "kit": __version__}
    for package in ("torch", "numpy", "scipy", "matplotlib", "pandas", "papermill", "openai", "anthropic"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
