"""A script as a template, without a model: it stays as it is, and is run once a seed from outside."""

import ast
import random
import re
from pathlib import Path
from typing import Any, Literal

from kit import skeleton
from kit.offline.settings import find_settings
from kit.schemas import AdoptedMetric, AdoptedSize, Adoption, Idea, KitError
from kit.skeleton import each_seed
from kit.template import Template

PROTECT = re.compile(r"(?i)eval|test|valid|score|metric|accuracy|(load|make|get|read)_?\w*(data|batch)|dataset")
DECIDES = re.compile(r"(^|_)(test|val|valid|validation|eval|dev|held_?out|final)(_|$)")
TIME = re.compile(r"time|seconds|elapsed|latency|runtime")
CALL = """\
import each_seed  # reads --out_dir; what is below runs once a seed, and the numbers that it prints are kept

each_seed.run({modules})  # each_seed.report(name=number), further down, adds a number of your own
"""


def adopt(values: dict[str, Any], dice: random.Random) -> Adoption:
    """The script with one call before it; its metrics are the numbers that the trial found."""
    source, trial = values["source"], values["trial"]
    code = source.read(source.script)
    metrics = _metrics(source.script, trial)
    experiment = wrap(code, str(Path(source.script).parent))
    functions = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    protected = [name for name in functions if PROTECT.search(name)]
    (title, about), names = _about(source, code), ", ".join(metric.name for metric in metrics)
    plot = skeleton.text("plot.py").replace('XLABEL = "step"', 'XLABEL = "report"')
    return Adoption(
        experiment=experiment, plot=plot, title=title[:80], about=about,
        task_description=f"{about} The numbers that count are those it prints last: {names}. It runs once a seed.",
        metrics=metrics, sizes=_sizes(trial.seconds), protected=protected,
        seed_ideas=_ideas(experiment, protected, metrics, source.folder), assumed=_assumed(source, metrics, protected),
    )  # fmt: skip


def mend(values: dict[str, Any], dice: random.Random) -> str:
    """A wrapper has nothing to mend: what does not fit is in the script."""
    found = "; ".join(finding.found for finding in values["findings"])
    raise KitError(f"The scripted scientist cannot mend a program ({found}): mend the script, or use a real model.")


def wrap(code: str, modules: str = ".") -> str:
    """The script with the call before its first statement, after its docstring and its `from __future__`."""
    tree, after = ast.parse(code), 0
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node is tree.body[0]
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        after = node.end_lineno or 0
    lines = code.split("\n")
    while not after and lines[: after + 1] and lines[after].startswith("#!"):
        after += 1
    call = CALL.format(modules="" if modules == "." else repr(modules))
    return "\n".join([*lines[:after], *([""] if after else []), call, *lines[after:]])


def _metrics(script: str, trial: Any) -> list[AdoptedMetric]:
    """The numbers that measure something, by their names; where no name is known, all."""
    if not trial.ok:
        why = f"did not end within {trial.limit:g} s" if trial.timed_out else "did not run"
        cure = "Allow more with --timeout, or make it smaller" if trial.timed_out else "Mend it"
        cure = trial.hint or f"{cure}, or let a model adopt it with --model."
        raise KitError(f"{script} {why}. {cure}\nLast lines:\n{trial.tail}")
    known = [name for name in trial.numbers if each_seed.is_known(name)]
    names = [name for name in known or trial.numbers if re.fullmatch(r"[a-z]\w{0,59}", name, re.ASCII)]
    if not names:
        raise KitError(f"{script} ran, and no number with a name was found in what it printed or wrote. Let it print "
                       f"its results last, as `test_loss: 0.31`, or write them to a JSON or CSV file.")  # fmt: skip
    decide = [name for name in names if DECIDES.search(name)] or [n for n in names if not TIME.search(n)] or names
    names.sort(key=lambda name: name not in decide)
    return [AdoptedMetric(name=name, label=name.replace("_", " ").capitalize(), direction=direction(name),
                          unit="s" if TIME.search(name) else "", headline=name in decide[:3],
                          timing=bool(TIME.search(name))) for name in names]  # fmt: skip


def direction(name: str) -> Literal["min", "max", "none"]:
    """Whether lower or higher is better, as far as a name says."""
    return "min" if each_seed.LOWER.search(name) else "max" if each_seed.HIGHER.search(name) else "none"


def _about(source: Any, code: str) -> tuple[str, str]:
    """What the folder and the script say of themselves, as a headline and as a paragraph."""
    said = " ".join((ast.get_docstring(ast.parse(code)) or "").partition("\n\n")[0].split())
    headline, paragraph = source.readme()
    name = source.folder.name.replace("_", " ").replace("-", " ")
    about = said or paragraph or f"The program {source.script} of {name}"
    return headline or said.partition(". ")[0].rstrip(".") or f"{name} ({source.script})", f"{about.rstrip('.')}."


def _sizes(seconds: float) -> list[AdoptedSize]:
    each = f"of about {max(seconds, 0.1):.1f} s each."
    sizes = [
        {"name": name, "seeds": seeds, "about": f"{seeds} seeds {each}"} for name, seeds in each_seed.SEEDS.items()
    ]
    return [AdoptedSize.model_validate(size) for size in sizes]


def _ideas(code: str, protected: list[str], metrics: list[AdoptedMetric], folder: Path) -> list[Idea]:
    """For the first settings that the script has: what hangs on each."""
    template = Template(name="adopted", path=folder, protected=[f"experiment.py:{name}" for name in protected])
    decides = next((metric.name for metric in metrics if metric.headline), metrics[0].name)
    return [Idea(Name=f"range_of_{re.sub(r'[^a-z0-9_]', '_', setting.name.lower())[:40]}",
                 Title=f"Over Which Range Does {setting.name.replace('_', ' ').title()} Matter?",
                 Experiment=f"Run experiment.py with `{setting.name}` at a tenth, a third, three times and ten times "
                 f"its value of {setting.value!r}, and look where {decides} begins to change.",
                 Metric=decides, Interestingness=3, Feasibility=10, Novelty=2)
            for setting in find_settings(template, code)[:2]]  # fmt: skip


def _assumed(source: Any, metrics: list[AdoptedMetric], protected: list[str]) -> list[str]:
    said = [f"The last value of each number counts: {', '.join(metric.name for metric in metrics)}."]
    if guessed := [f"{m.name} ({m.direction})" for m in metrics if m.direction != "none"]:
        said.append(f"Directions are guesses from the names: {', '.join(guessed)}.")
    if mute := [metric.name for metric in metrics if metric.direction == "none"]:
        said.append(f"No direction is known for {', '.join(mute)}: these are compared with nothing.")
    said.append(f"Protected are {', '.join(protected)}, by their names." if protected
                else "Nothing is protected: name what measures in template.toml.")  # fmt: skip
    said.append("Seed 0 is the script as it is; seed n moves the seeds that it sets itself.")
    return said
