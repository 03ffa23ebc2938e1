"""The four notebooks, chained with papermill: one executed copy each, in the run's own folder."""

import ast
import builtins
import difflib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import workspace
from kit.llm import forecast
from kit.progress import Progress
from kit.schemas import KitError
from kit.store import now
from kit.template import load_template
from kit.workspace import Run

# What the name of a run's folder is made of, as in 01_ideas: with the others changed, the run goes on where it is.
NAMING = ("template", "model", "run_dir", "seed", "num_ideas", "own_ideas", "build_on")
STAGES = {"ideas": "01_ideas", "experiments": "02_experiments", "paper": "03_paper", "review": "04_review"}


def _papermill() -> Any:
    # jsonschema, far below papermill, builds a grammar for IRIs when it is imported: one second that checks
    # nothing here. Without that module it leaves the check out.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill

    return papermill


def _kernel_config(room: str) -> Any:
    from traitlets.config import Config

    # Sockets in a room of the kernel's own: no port that others on the machine could read, no name that two share.
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{room}/kernel"}})


def notebook(stage: str) -> Path:
    """The notebook of a stage."""
    return workspace.project_root() / "notebooks" / f"{STAGES.get(stage, stage)}.ipynb"


def parameters(stage: str) -> dict[str, dict]:
    """What a stage's notebook may be given: name → inferred_type_name, default (source text), help."""
    return _papermill().inspect_notebook(str(notebook(stage)))


def all_parameters() -> dict[str, dict]:
    """The parameters of all four stages; the first stage that has one describes it."""
    merged: dict[str, dict] = {}
    for stage in STAGES:
        merged = parameters(stage) | merged
    return merged


def run_stage(stage: str, output: Path, **values: Any) -> Path:
    """Execute one notebook with these parameters; a misspelt one is refused by name.

    The executed copy is written cell by cell, so that it is there, with the error in it, when a cell fails.
    """
    known = parameters(stage)
    for name in values:
        if name not in known:
            raise KitError(f"{notebook(stage).name} has no parameter {name!r}. {_suggest(name, known)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill = _papermill()
    try:
        with tempfile.TemporaryDirectory(prefix="kit-", ignore_cleanup_errors=True) as room:
            papermill.execute_notebook(
                str(notebook(stage)), str(output), parameters=values, kernel_name="python3", progress_bar=False,
                cwd=str(workspace.project_root()), config=_kernel_config(room),
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        of_python = hasattr(builtins, error.ename)  # the kit's own errors say all by themselves
        reason = f"{error.ename}: {error.evalue}" if of_python else error.evalue
        raise KitError(f"Stage {stage!r} stopped: {reason}\nThe executed notebook, up to there: {output}") from error
    return output


def run_idea(run: Run, idea: str, progress: Progress, **values: Any) -> None:
    """Experiments, paper and review of one idea."""
    for stage in list(STAGES)[1:]:
        with progress.doing(stage, idea):
            mine = {n: v for n, v in values.items() if n in parameters(stage)}
            copy = run.path / "notebooks" / idea / f"{STAGES[stage]}.ipynb"
            run_stage(stage, copy, **mine | {"run_dir": str(run.path), "idea": idea})


def run_all(fresh: bool = False, **values: Any) -> Run:
    """All stages for all chosen ideas, in the folder that the parameters name.

    An idea that fails does not stop the others; it is named at the end in a KitError.
    """
    values = _complete(values)
    load_template(values["template"])  # an unknown template stops before a folder is made
    path = _folder(values)
    if fresh:
        workspace.set_aside(path)
    run, failed = Run(path), {}
    settings = {name: value for name, value in values.items() if name not in NAMING}
    with Progress(run) as progress:
        number = values["num_ideas"] + len(values["own_ideas"])
        progress.say(f"{path}, cost: {forecast(values['model'], values['template'], number)}")
        with progress.doing("ideas", ""):
            mine = {n: v for n, v in values.items() if n in parameters("ideas")}
            run_stage("ideas", path / "notebooks" / f"{STAGES['ideas']}.ipynb", **mine | {"run_dir": str(path)})
            run.note(settings=settings)
        chosen = [record.idea.Name for record in run.archive().chosen()]
        if not chosen:
            raise KitError(f"No idea was chosen; see {path / 'ideas.json'}, and the parameter `select`.")
        progress.bar.total = 1 + 3 * len(chosen)
        for idea in chosen:
            try:
                run_idea(run, idea, progress, **values)
            except KitError as error:
                failed[idea] = str(error)
    run.note(ended=now())
    if failed:
        trouble = "\n".join(f"- {idea}: {error}" for idea, error in failed.items())
        raise KitError(f"{len(failed)} of {len(chosen)} ideas did not reach the end:\n{trouble}")
    return run


def run_each(models: Sequence[str], **values: Any) -> tuple[list[Run], dict[str, str]]:
    """One run a model, with all else the same; and by model what went wrong, which does not stop the others.

    The same models and values find the same folders, so that this too goes on by being run again.
    """
    if "run_dir" in values and len(models) > 1:
        raise KitError("`run_dir` would put the runs of all models into one folder: leave it out.")
    runs, troubles = [], {}
    for model in models:
        try:
            run_all(model=model, **values)
        except KitError as error:
            troubles[model] = str(error)
        run = Run(_folder(_complete(values | {"model": model})))
        runs += [run] if run.about else []
    return runs, troubles


def _folder(values: dict[str, Any]) -> Path:
    """The folder that these values name."""
    naming = {name: values[name] for name in NAMING[3:]}
    return workspace.run_path(values["run_dir"] or workspace.run_name(values["template"], values["model"], **naming))


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with the defaults that the run's name needs; misspelt names are refused."""
    known = all_parameters()
    for name in values:
        if name not in known:
            raise KitError(f"There is no parameter {name!r}. {_suggest(name, known)}")
    needed = {name: ast.literal_eval(known[name]["default"]) for name in NAMING}
    return needed | values


def _suggest(name: str, known: dict[str, dict]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return (f"Did you mean {close[0]!r}? " if close else "") + f"Parameters: {', '.join(sorted(known))}."
