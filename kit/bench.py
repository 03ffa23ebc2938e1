"""The bench: where an idea's experiment is edited, run, noted and drawn."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from kit import editor, results, sandbox, show, workspace
from kit.schemas import Arm, Edit, FormatError, Idea, KitError, NewMetric, Note, Plan, RunResult
from kit.store import Intent, Key, Steps, digest, save, save_json
from kit.template import SKIPPED, Metric, Template
from kit.workspace import Run

LEFT_BEHIND = ("run_*", "worked", *SKIPPED)  # parts of a template that a run does not need


class Bench:
    """One idea's folder: the working copy, its runs, its notes and its figures."""

    def __init__(self, run: Run, template: Template, idea: Idea, preset: str = "", level: str = "auto"):
        self.run, self.template, self.idea, self.preset = run, template, idea, preset
        self.level = sandbox.choose(level)
        if preset and template.presets and preset not in template.presets:
            raise KitError(f"{template.name} has no preset {preset!r}. Presets: {', '.join(template.presets)}.")
        self.folder = run.folder(idea.Name)
        self.runs: dict[str, RunResult] = {}
        self.notes: dict[str, str] = {}
        self.settled = False
        shutil.copytree(template.path, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_BEHIND))

    # --- runs -----------------------------------------------------------------------------------

    def baseline(self, timeout: float) -> "Bench":
        """Have run_0: the template's own, or one run shared by all ideas on this machine."""
        target = self.folder / "run_0"

        def copy(intent: Intent) -> RunResult:
            source, result = self._shared_baseline(timeout)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
            return result

        key = Key("experiments", "baseline", self.idea.Name)
        content = [self.template.digest(), self.preset]
        step = self.run.steps.once(key, content, copy, still_good=lambda _: target.is_dir())
        self.runs["run_0"] = RunResult.model_validate(step.result)
        return self

    def _shared_baseline(self, timeout: float) -> tuple[Path, RunResult]:
        shipped = self.template.path / "run_0"
        if shipped.is_dir():
            return shipped, RunResult(run="run_0", title="Baseline (shipped)", ok=True, code=self.template.code)
        machine = [platform.node(), platform.machine(), os.cpu_count()]
        name = f"{self.template.name}-{digest(self.template.digest(), self.preset, machine)}"
        home = workspace.outputs() / "_baselines" / name

        def work(intent: Intent) -> RunResult:
            result = self._execute(home, "run_0", self.template.code, timeout, intent)
            if not result.ok:  # not stored: the cure may lie outside of the template
                raise KitError(
                    f"The baseline of {self.template.name!r} does not run, so there is nothing to compare with. "
                    f"Mend {self.template.path}; whole log: {home / 'logs' / 'run_0.txt'}\n{result.trouble}"
                )
            return result.model_copy(update={"title": "Baseline"})

        key = Key("experiments", "run", self.template.name)
        step = Steps(home / "steps").once(key, name, work, still_good=lambda _: (home / "run_0").is_dir())
        return home / "run_0", RunResult.model_validate(step.result)

    def trials(self, plan: Plan, max_iters: int) -> Iterator["Trial"]:
        """Each arm of the plan, again and again until it runs or its attempts are spent."""
        save_json(self.folder / "plan.json", plan)
        for number, arm in enumerate(plan.arms, start=1):
            trial = Trial(self, arm, number, remaining=[a.name for a in plan.arms[number:]])
            while not trial.ok and trial.attempt < max_iters:
                yield trial
            if not trial.ok:
                self._write_note(trial.run, arm, f"Given up after {max_iters} attempts. {trial.trouble}")
            if self.settled:
                break
        if not any(result.ok for name, result in self.runs.items() if name != "run_0"):
            raise KitError(
                f"No run of {self.idea.Name!r} succeeded, so there is nothing to write about. "
                f"What was tried is in {self.folder / 'notes.md'} and {self.folder / 'logs'}."
            )

    def code_of(self, name: str) -> str:
        """The code that a run started with: run_0, or an arm by its name."""
        for result in self.runs.values():
            if name in (result.run, result.title):
                return result.code
        return self.template.code

    def execute(self, trial: "Trial", timeout: float) -> RunResult:
        """Run a trial's code once; the same code in the same place is not run again."""
        name, target = trial.run, self.folder / trial.run

        def work(intent: Intent) -> RunResult:
            result = self._execute(self.folder, name, trial.code, timeout, intent, f"{name}.{trial.attempt}")
            changed = results.protected_changes(self.template, self.template.code, trial.code)
            return result.model_copy(update={"title": trial.arm.name, "protected": changed})

        def still_good(stored: dict) -> bool:  # a longer limit is a new chance
            return target.is_dir() if stored["ok"] else not (stored["timed_out"] and stored["seconds"] < timeout)

        key = Key("experiments", "run", self.idea.Name, trial.number, trial.attempt)
        content = [trial.code, self.template.digest(), self.preset]
        return RunResult.model_validate(self.run.steps.once(key, content, work, still_good=still_good).result)

    def _execute(self, home: Path, name: str, code: str, timeout: float, intent: Intent, log: str = "") -> RunResult:
        """Run experiment.py in a folder of its own, so that it can spoil no other run's results."""
        room = home / "bench" / name
        shutil.rmtree(room, ignore_errors=True)
        shutil.copytree(self.template.path, room, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
        save(room / "experiment.py", code)
        done = self._sandboxed([sys.executable, "experiment.py", f"--out_dir={name}"], room, timeout,
                               home / "logs" / f"{log or name}.txt", intent)  # fmt: skip
        result = RunResult(run=name, ok=done.ok, returncode=done.returncode, seconds=round(done.seconds, 3),
                           timed_out=done.timed_out, level=done.level, code=code)  # fmt: skip
        result.trouble = _trouble(done, room / name, timeout)
        result.ok = not result.trouble
        if result.ok:
            save(room / name / "experiment.py", code)
            shutil.rmtree(home / name, ignore_errors=True)
            (room / name).rename(home / name)
            shutil.rmtree(room)
        return result

    def _sandboxed(self, argv: list[str], room: Path, timeout: float, log: Path, intent: Intent) -> sandbox.Finished:
        data = [self.template.path / folder for folder in self.template.data]
        log.parent.mkdir(parents=True, exist_ok=True)
        return sandbox.run(
            argv, folder=room, timeout=timeout, level=self.level, log=log, pass_fds=[intent.lock],
            env={"KIT_PRESET": self.preset} if self.preset else {}, readable=data, on_start=intent.child,
        )  # fmt: skip

    # --- what came out --------------------------------------------------------------------------

    def labels(self) -> dict[str, str]:
        """Run names with the titles that tables and figures show."""
        plan = self._plan()
        titles = {arm.name: arm.title for arm in plan.arms} if plan else {}
        return {name: titles.get(r.title, r.title) for name, r in sorted(self.runs.items()) if r.ok}

    def _plan(self) -> Plan | None:
        file = self.folder / "plan.json"
        return Plan.model_validate_json(file.read_text()) if file.exists() else None

    def ledger(self) -> results.Ledger:
        """Every number so far, with the comparisons; written to results.json."""
        flagged = {name: result.protected for name, result in self.runs.items() if result.protected}
        plan = self._plan()
        numbers = {arm.name: f"run_{number}" for number, arm in enumerate(plan.arms, 1)} if plan else {}
        ledger = results.build_ledger(
            self.folder, self.labels(), self.template, flagged=flagged, preset=self.preset,
            references={numbers[arm.name]: numbers.get(arm.compare_with, "run_0") for arm in plan.arms} if plan else {},
            declared={metric.name: declared(metric) for metric in plan.metrics} if plan else {},
        )  # fmt: skip
        save_json(self.folder / "results.json", ledger)
        return ledger

    def write_note(self, trial: "Trial", note: Note) -> None:
        """Add a run's entry to notes.md."""
        self._write_note(trial.run, trial.arm, note.text)
        self.settled = note.settled

    def _write_note(self, run: str, arm: Arm, text: str) -> None:
        self.notes[run] = (
            f"## {run}: {arm.title} ({arm.role})\n\n{arm.change}\n\nPredicted: {arm.prediction}\n\n{text}\n"
        )
        title = f"# {self.idea.Title}\n\n{self.idea.Hypothesis}\n\n"
        save(self.folder / "notes.md", title + self.lab_book)

    @property
    def lab_book(self) -> str:
        """The notes of all runs so far."""
        return "\n".join(self.notes[name] for name in sorted(self.notes))

    @property
    def plot_code(self) -> str:
        """The text of plot.py."""
        return (self.folder / "plot.py").read_text(encoding="utf-8")

    def plot(self, timeout: float) -> list[str]:
        """Draw the figures of all runs; the names of the PNG files in figures/."""

        def work(intent: Intent) -> list[str]:
            room = self.folder / "bench" / "plot"
            shutil.rmtree(room, ignore_errors=True)
            shutil.copytree(self.folder, room, ignore=shutil.ignore_patterns("bench", "paper", "figures", "logs"))
            save_json(room / "labels.json", self.labels())
            log = self.folder / "logs" / "plot.txt"
            done = self._sandboxed([sys.executable, "plot.py"], room, timeout, log, intent)
            pictures = sorted(room.glob("*.png"))
            if not done.ok or not pictures:
                why = done.tail if not done.ok else "It ended well but wrote no PNG file."
                raise KitError(f"plot.py of {self.idea.Name!r} did not draw; whole log: {log}\n{why}")
            for file in pictures:
                save(self.folder / "figures" / file.name, file.read_bytes())
            shutil.rmtree(room)
            return [file.name for file in pictures]

        content = [self.plot_code, self.labels(), [(name, r.code) for name, r in self.runs.items()]]
        drawn = lambda names: all((self.folder / "figures" / name).is_file() for name in names)  # noqa: E731
        key = Key("experiments", "plot", self.idea.Name)
        return self.run.steps.once(key, content, work, still_good=drawn).result

    def _repr_html_(self) -> str:
        labels = self.labels()
        rows = [[name, labels.get(name, r.title), show.tinted(*(("ran", "good") if r.ok else ("failed", "bad"))),
                 round(r.seconds, 1), r.level or "shipped",
                 show.tinted(f"changed: {', '.join(r.protected)}", "bad") if r.protected else "untouched"]
                for name, r in sorted(self.runs.items())]  # fmt: skip
        return show.block(show.table(["Run", "Arm", "", "Seconds", "Sandbox", "Evaluation"], rows),
                          record_of(self.folder))  # fmt: skip


class Trial:
    """One arm on the bench, and the attempts to make it run."""

    def __init__(self, bench: Bench, arm: Arm, number: int, remaining: list[str]):
        self.bench, self.arm, self.number, self.remaining = bench, arm, number, remaining
        self.attempt, self.trouble, self.ok = 0, "", False
        self.code = bench.code_of(arm.start_from)
        self.diff = ""

    @property
    def run(self) -> str:
        """The name of the run's folder."""
        return f"run_{self.number}"

    @property
    def index(self) -> int:
        """The place of the next attempt among all calls for edits."""
        return self.number * 100 + self.attempt

    def carry_out(self, edits: "editor.Edits", timeout: float) -> "Trial":
        """Apply the edits and run; what goes wrong is kept in `trouble` for the next attempt."""
        before = self.code
        try:
            self.code = self._apply(edits.edits)
        except FormatError as error:
            self.trouble = str(error)
        else:
            self._record_patch(before)
            result = self.bench.execute(self, timeout)
            self.ok, self.trouble = result.ok, result.trouble
            self.bench.runs[self.run] = result
        self.attempt += 1
        return self

    def _apply(self, edits: list[Edit]) -> str:
        return editor.apply(edits, {"experiment.py": self.code}, allowed=["experiment.py"])["experiment.py"]

    def _record_patch(self, before: str) -> None:
        self.diff = editor.diff(before, self.code, "experiment.py")
        save(self.bench.folder / "history" / f"{self.run}.{self.attempt}.patch", self.diff)
        save(self.bench.folder / "experiment.py", self.code)


def declared(metric: NewMetric) -> Metric:
    """A metric of the plan as one of the template; it was planned to decide, so it is shown with those that do."""
    direction = None if metric.direction == "none" else metric.direction
    return Metric(label=metric.label, direction=direction, headline=direction is not None)


def record_of(folder: Path) -> show.Html:
    """What was changed and what was noted, folded away."""
    notes, patches = folder / "notes.md", sorted((folder / "history").glob("*.patch"))
    changes = "".join(show.details(file.stem, show.listing(file.read_text(encoding="utf-8"))) for file in patches)
    book = show.listing(notes.read_text(encoding="utf-8")) if notes.is_file() else ""
    folded = {"The lab book": book, "What was changed in the code, attempt by attempt": changes}
    return show.block(*(show.details(summary, content) for summary, content in folded.items() if content))


def _trouble(done: sandbox.Finished, out_dir: Path, timeout: float) -> str:
    """What a model has to know to mend a run; empty when there is nothing to mend."""
    if done.timed_out:
        return f"The program did not end within {timeout:g} seconds and was stopped. Last lines:\n{done.tail}"
    if not done.ok:
        return f"The program ended with code {done.returncode}. Last lines:\n{done.tail}"
    try:
        results.read_final_info(out_dir)
    except KitError as error:
        return f"The program ended well, but its result cannot be used: {error}\nLast lines:\n{done.tail}"
    return ""
