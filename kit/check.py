"""Does a template fit? Read it, run it twice under limits, draw it, and say in plain words what does not."""

import ast
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from kit import process, results, sandbox, workspace
from kit.bench import Programs, Size
from kit.doctor import Finding
from kit.schemas import KitError, RunResult
from kit.store import Intent, Key, Steps
from kit.template import Template, load_template

# A module whose package has another name; all others are asked for by their own.
PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml",
            "skimage": "scikit-image", "npeet": "git+https://github.com/gregversteeg/NPEET.git"}  # fmt: skip
OUR_OWN = ("numpy", "scipy", "torch", "matplotlib", "pandas")  # what a template may take for granted
CLOSE = 1e-6  # relative; what two runs of one seed may differ by
FIND = "import importlib.util as u, sys; print(' '.join(m for m in sys.argv[1:] if not u.find_spec(m)))"


def look_over(name: str, preset: str = "", timeout: float = 600, level: str = "auto") -> Iterator[Finding]:
    """What fits and what does not, one thing at a time; the smallest preset is run where none is named.

    A program that does not run ends the look: what comes after stands on its results.
    """
    template = load_template(name)
    yield from _read(template)
    packages = _packages(template)
    yield packages
    if not packages.ok:
        return
    trial = _Trial(template, preset or next(iter(template.presets), ""), timeout, level)
    first = trial.run("first")
    cure = "mend experiment.py; the README says what it must write"
    if first.timed_out:
        cure = f"allow more than {timeout:g} s with --timeout, or give it a small preset"
    yield _finding("runs", first.ok, f"{first.seconds:.1f} s, locked in by {first.level}", first.trouble, cure)
    if not first.ok:
        return
    yield from _measured(template, trial.home / "first" / "run_0")
    yield _repeated(trial.home, trial.run("again"))
    yield trial.plot()


def _finding(name: str, ok: bool, good: str, bad: str, cure: str, needed: bool = True) -> Finding:
    return Finding(name, ok, good if ok else bad, "" if ok else cure, needed)


# --- what can be read ---------------------------------------------------------------------------


def _read(template: Template) -> Iterator[Finding]:
    task, ideas = template.task_description, template.seed_ideas
    cure = 'write {"system": "who the model is", "task_description": "what it works on"}'
    yield _finding("task", bool(task), f"{len(task)} characters", "prompt.json says nothing of it", cure)
    cure = "write one or two as examples for the model"
    yield _finding("ideas", bool(ideas), f"{len(ideas)} in seed_ideas.json", "no seed_ideas.json", cure, needed=False)
    try:
        known = _defined(ast.parse(template.code))
    except SyntaxError as error:
        raise KitError(f"{template.path / 'experiment.py'} is no Python: {error}.") from error
    cure = 'parser.add_argument("--out_dir", default="run_0"), and write everything into it'
    yield _finding("out_dir", "--out_dir" in template.code, "is read", "experiment.py does not read it", cure)
    names = [part.partition(":")[2] for part in template.protected]
    if lost := [name for name in names if name not in known]:
        yield Finding("protected", False, f"not there: {', '.join(lost)}", "name functions, classes or constants")
    cure = 'protected = ["experiment.py:evaluate"] in template.toml guards what measures'
    yield _finding("protected", bool(names), f"{len(names)} parts", "nothing is", cure, needed=False)


def _defined(tree: ast.Module) -> set[str]:
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _packages(template: Template) -> Finding:
    """What its programs import, and what of it this template's Python does not have."""
    wanted = sorted({*_imports(template), *template.requirements})
    asked = process.run([str(template.python), "-c", FIND, *wanted], cwd=template.path, timeout=60)
    lost = asked.tail.split() if asked.ok else wanted
    where = " in an environment of its own" if template.has_own_python else ""
    if not lost:
        return Finding("packages", True, (", ".join(wanted) or "none but Python's own") + where)
    venv, root = template.path / ".venv", workspace.project_root()
    shown = venv.relative_to(root) if venv.is_relative_to(root) else venv
    names = dict.fromkeys([*OUR_OWN, *(PACKAGES.get(name, name) for name in lost)])
    line = f"{Path(sys.executable).name} -m venv {shown} && {shown}/bin/pip install {' '.join(names)}"
    cure = f"make an environment for this template; its programs will run in it:\n{'':21}{line}"
    return Finding("packages", False, f"not here: {', '.join(lost)}", cure)


def _imports(template: Template) -> set[str]:
    """Modules that the template's programs import, but for Python's own and the template's."""
    files = [file for file in template.files() if file.suffix == ".py"]
    found: set[str] = set()
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except SyntaxError:
            continue  # it is found out when it is run
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0] for name in names}
    local = {file.stem for file in files} | {file.parent.name for file in files}
    return found - local - set(sys.stdlib_module_names)


# --- what has to be run -------------------------------------------------------------------------


class _Trial:
    """A template on trial, in a folder of its own."""

    def __init__(self, template: Template, preset: str, timeout: float, level: str):
        self.template, self.size, self.timeout = template, Size(preset), timeout
        self.home = workspace.outputs() / "_check" / template.name
        shutil.rmtree(self.home, ignore_errors=True)
        self.programs = Programs(template, sandbox.choose(level))

    def run(self, name: str) -> RunResult:
        """Run experiment.py once."""

        def work(intent: Intent) -> RunResult:
            code = self.template.code
            return self.programs.experiment(self.home / name, "run_0", code, self.size, self.timeout, intent)

        step = Steps(self.home / name / "steps").once(Key("check", "run", self.template.name), name, work)
        return RunResult.model_validate(step.result)

    def plot(self) -> Finding:
        """Run plot.py beside two runs."""
        if not (self.template.path / "plot.py").is_file():
            return Finding("plot", False, "there is no plot.py", "write one that draws run_* folders into PNG files")
        room = self.programs.lay_out(self.home / "plot")
        for number, name in enumerate(("first", "again")):
            shutil.copytree(self.home / name / "run_0", room / f"run_{number}")
        (room / "labels.json").write_text(json.dumps({"run_0": "Baseline", "run_1": "The same again"}))

        def work(intent: Intent) -> dict:
            done = self.programs.run(["plot.py"], room, 600, self.home / "plot.txt", intent, title="plot.py")
            return {"ok": done.ok, "tail": done.tail}

        done = Steps(self.home / "steps").once(Key("check", "plot", self.template.name), "plot", work).result
        pictures = sorted(file.name for file in room.glob("*.png"))
        trouble = "it ran and wrote no PNG file" if done["ok"] else f"plot.py does not run: {done['tail']}"
        cure = "mend plot.py; plt.savefig('loss.png') puts a figure beside it"
        return _finding("plot", done["ok"] and bool(pictures), ", ".join(pictures), trouble, cure)


def _measured(template: Template, folder: Path) -> Iterator[Finding]:
    """What it reports, and whether anything can be compared."""
    sets = results.read_final_info(folder)
    metrics = list(dict.fromkeys(name for values in sets.values() for name in values.means))
    yield Finding("result", True, f"{', '.join(metrics)} on {', '.join(sets)}")
    mute = [name for name in metrics if not template.metric(name).direction]
    cure = f'[metrics.{"".join(mute[:1])}] direction = "min" in template.toml, or it is compared with nothing'
    bad = f"no direction for {', '.join(mute)}"
    yield _finding("metrics", not mute, "each has a direction", bad, cure, needed=False)
    seeds = max((len(values) for one in sets.values() for values in one.seeds.values()), default=0)
    spread = "standard errors only" if any(one.stderrs for one in sets.values()) else "nothing has a spread"
    cure = '"seeds": {metric: [one a seed]} beside "means": comparisons are then paired'
    yield _finding("seeds", seeds > 1, f"{seeds} values a metric", spread, cure, needed=False)


def _repeated(home: Path, again: RunResult) -> Finding:
    """Whether the same program said the same twice."""
    if not again.ok:
        return Finding("repeats", False, f"the second run failed: {again.trouble}", "mend experiment.py")
    first, second = (results.read_final_info(home / name / "run_0") for name in ("first", "again"))
    off = []
    for dataset, values in first.items():
        there = second[dataset].means if dataset in second else {}
        off += [f"{dataset}/{name}" for name, mean in values.means.items()
                if not _is_time(name) and not _same(mean, there.get(name))]  # fmt: skip
    cure = "seed all chance (random, numpy, torch), else a difference may be luck"
    return _finding("repeats", not off, "two runs say the same", f"two runs differ in {', '.join(off[:4])}", cure)


def _same(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= CLOSE * max(abs(one), abs(other))


def _is_time(name: str) -> bool:
    return any(word in name.lower() for word in ("time", "second", "per_s", "speed", "throughput"))
