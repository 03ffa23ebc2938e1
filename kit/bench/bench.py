"""The bench: where an idea's experiment is edited, run, noted, looked into and drawn."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kit import editor, results, sandbox, show, workspace
from kit.bench.drawing import Drawing
from kit.bench.notes import LabBook
from kit.bench.probes import Probes, run_probe
from kit.bench.programs import Programs, Size, Unwatched, copy_template
from kit.bench.record import record_of
from kit.bench.trial import Trial, carry_out_together, is_for
from kit.schemas import FormatError, Idea, KitError, Note, Plan, Probe, RunResult
from kit.store import Intent, Key, Steps, digest, digest_of, save_json
from kit.template import Template
from kit.workspace import Run


class Bench:
    """One idea's folder: the working copy, its runs, its notes and its figures."""

    def __init__(self, run: Run, template: Template, idea: Idea, preset: str = "", level: str = "auto"):
        self.run, self.template, self.idea = run, template, idea
        self.programs = Programs(template, sandbox.choose(level))
        self.size = self._size(preset)
        self.folder = run.folder(idea.Name)
        self.runs: dict[str, RunResult] = {}
        self.pilots: dict[str, str] = {}  # what a small run was for → what it said
        self.lab_book = LabBook(self.folder / "notes.md", idea)
        self.probes = Probes()
        self.plan: Plan | None = None
        self.trials: list[Trial] = []
        self.total_timeout = 0.0  # seconds for all runs; 0: no limit
        self.settled = False
        copy_template(template, self.folder)

    def _size(self, preset: str) -> Size:
        """A preset of the template; KitError names those that there are."""
        if preset and self.template.presets and preset not in self.template.presets:
            known = ", ".join(self.template.presets)
            raise KitError(f"{self.template.name} has no preset {preset!r}. Presets: {known}.")
        return Size(preset)

    @property
    def level(self) -> sandbox.Level:
        """How tightly programs are locked in."""
        return self.programs.level

    def watch(self, view: Unwatched) -> Unwatched:
        """Let a live view know of every program that runs from now on."""
        self.programs.view = view
        return view

    # --- the baseline ---------------------------------------------------------------------------

    def baseline(self, timeout: float) -> "Bench":
        """Have run_0: the template's own, or one run shared by all ideas on this machine."""
        target = self.folder / "run_0"
        made = target / "final_info.json"

        def copy(intent: Intent) -> dict:
            source, result = self._shared_baseline(timeout, self.size)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
            return {"run": result, "final_info": digest_of(made)}

        key = Key("experiments", "baseline", self.idea.Name)
        step = self.run.steps.once(key, [self.template.digest(), self.size], copy,
                                   still_good=lambda stored: stored["final_info"] == digest_of(made))  # fmt: skip
        self.runs["run_0"] = RunResult.model_validate(step.result["run"])
        return self

    def _shared_baseline(self, timeout: float, size: Size) -> tuple[Path, RunResult]:
        shipped = self.template.path / "run_0"
        if shipped.is_dir() and not size.seeds:
            return shipped, RunResult(run="run_0", title="Baseline (shipped)", ok=True, code=self.template.code)
        machine = [platform.node(), platform.machine(), os.cpu_count()]
        name = f"{self.template.name}-{digest(self.template.digest(), size, machine)}"
        home = workspace.outputs() / "_baselines" / name

        def work(intent: Intent) -> RunResult:
            result = self.programs.experiment(
                home, "run_0", self.template.code, size, timeout, intent, title="Baseline"
            )
            if not result.ok:  # not stored: the cure may lie outside of the template
                raise KitError(
                    f"The baseline of {self.template.name!r} does not run, so there is nothing to compare with. "
                    f"Mend {self.template.path}; whole log: {home / 'logs' / 'run_0.txt'}\n{result.trouble}"
                )
            return result.model_copy(update={"title": "Baseline"})

        key = Key("experiments", "run", self.template.name)
        step = Steps(home / "steps").once(key, name, work, still_good=lambda _: (home / "run_0").is_dir())
        return home / "run_0", RunResult.model_validate(step.result)

    # --- the plan -------------------------------------------------------------------------------

    def allows(self, max_runs: int, max_seeds: int) -> Callable[[Plan], None]:
        """A check of a plan: as many runs and seeds as there may be."""

        def check(plan: Plan) -> None:
            if len(plan.arms) > max_runs:
                raise FormatError(f"The plan has {len(plan.arms)} runs; at most {max_runs} can be made.")
            if plan.seeds > max_seeds:
                raise FormatError(f"The plan asks for {plan.seeds} seeds; at most {max_seeds} can be run.")
            if plan.seeds and not self.template.presets:
                raise FormatError("This program has its own number of seeds: leave `seeds` at 0.")
            known = [*self.ledger().metrics, *(metric.name for metric in plan.metrics)]
            if unknown := [margin.metric for margin in plan.margins if margin.metric not in known]:
                raise FormatError(f"`margins` names {unknown[0]!r}; the metrics are {', '.join(known)}.")

        return check

    def pilot(self, plan: Plan, max_iters: int, timeout: float, preset: str = "smoke") -> Iterator[Trial]:
        """The runs of a size that a plan asks for before it can be fixed; none of their numbers enters the ledger.

        A template without such a preset makes them as it makes its runs.
        """
        size = self._size(preset) if preset != "smoke" or preset in self.template.presets else self.size
        for arm in plan.pilots:
            trial = Trial(self, arm, len(self.pilots) + 1, size, max_iters, kind="pilot")
            while not trial.over:
                yield trial
            said = self._compared_pilot(trial, timeout) if trial.ok else trial.given_up
            self.pilots[f"{trial.run}: {arm.change}"] = said

    def _compared_pilot(self, trial: Trial, timeout: float) -> str:
        """What a pilot and the baseline measured at its size, in lines; no verdict, for it proves nothing."""
        source, _ = self._shared_baseline(timeout, trial.size)
        lines = []
        for side, folder in (("baseline", source), (trial.run, self.folder / trial.run)):
            for dataset, measured in results.read_final_info(folder).items():
                means = ", ".join(f"{name} {value:.4g}" for name, value in measured.means.items())
                lines.append(f"{side}, {dataset}: {means}")
        return "\n".join(lines)

    def adopt(self, plan: Plan, timeout: float) -> Plan:
        """Fix the plan: from here on it stands in plan.json; with seeds of its own the baseline gets them, too."""
        self.plan = plan.model_copy(update={"pilots": []})
        save_json(self.folder / "plan.json", self.plan)
        if plan.seeds:
            self.size = self.size._replace(seeds=plan.seeds)
            self.baseline(timeout)
        return self.plan

    # --- runs -----------------------------------------------------------------------------------

    def waves(self, max_iters: int, total_timeout: float = 0) -> Iterator[list[Trial]]:
        """The planned arms whose programs can be written next, again and again until all ran or were given up.

        `total_timeout` is in seconds, for all runs of the idea (0: no limit).
        """
        arms = self.plan.arms if self.plan else []
        self.trials = [Trial(self, arm, number, self.size, max_iters) for number, arm in enumerate(arms, start=1)]
        self.total_timeout = total_timeout
        while wave := self._writable():
            yield wave
        if not any(result.ok for name, result in self.runs.items() if name != "run_0"):
            raise KitError(
                f"No run of {self.idea.Name!r} succeeded, so there is nothing to write about. "
                f"What was tried is in {self.folder / 'notes.md'} and {self.folder / 'logs'}."
            )

    def _writable(self) -> list[Trial]:
        """The trials that can run now, and those that start from one of them."""
        found = self._ready()
        for trial in self.trials:
            if not trial.over and trial not in found and trial.arm.start_from in [t.arm.name for t in found]:
                found.append(trial)
        return sorted(found, key=lambda trial: trial.number)

    def _ready(self) -> list[Trial]:
        """The trials that can run now; those that never will are closed, with the reason on record."""
        spent = sum(result.seconds for name, result in self.runs.items() if name != "run_0")
        lost: set[str] = set()
        for trial in self.trials:
            base = trial.arm.start_from
            if base in lost:
                trial.closed = f"Not run: it starts from `{base}`, which did not run."
            elif not trial.over and self.settled:
                trial.closed = "Not run: the runs before it had settled the question."
            elif not trial.over and 0 < self.total_timeout <= spent:
                trial.closed = f"Not run: the {self.total_timeout:g} seconds for all runs of this idea are spent."
            if (why := trial.closed or trial.given_up) and not trial.ok:
                lost.add(trial.arm.name)
                self.lab_book.write(trial.run, trial.arm, why)
        return [trial for trial in self.trials if not trial.over and not trial.waits]

    def carry_out(
        self, wave: Sequence[Trial], edits: editor.Edits, timeout: float, at_once: int = 1
    ) -> Iterator[Trial]:
        """Make each trial's edits and run it, `at_once` at the same time; those that ran well, as they come.

        What a note on one of them settles, or what no time is left for, is not run any more. A trial whose start
        failed is left for the next wave.
        """
        waiting = [trial for trial in wave if any(is_for(edit, trial) for edit in edits.edits)]
        while together := [trial for trial in waiting if trial in self._ready()][: max(1, at_once)]:
            waiting = [trial for trial in waiting if trial not in together]
            for trial in together:
                trial.beside = len(together) - 1
                trial.remaining = [t.arm.name for t in self.trials if not t.over and t.number > trial.number]
            carry_out_together(together, edits, timeout)
            yield from (trial for trial in together if trial.ok)

    def code_of(self, name: str) -> str:
        """The code that a run started with: run_0, or an arm by its name."""
        for result in self.runs.values():
            if name in (result.run, result.title):
                return result.code
        return self.template.code

    def execute(self, trial: Trial, timeout: float) -> RunResult:
        """Run a trial's code once; the same code in the same place is not run again."""
        name, target = trial.run, self.folder / trial.run

        def work(intent: Intent) -> RunResult:
            result = self.programs.experiment(
                self.folder, name, trial.code, trial.size, timeout, intent, title=trial.arm.title,
                log=f"{name}.{trial.attempt}", beside=trial.beside,
            )  # fmt: skip
            changed = results.protected_changes(self.template, self.template.code, trial.code)
            return result.model_copy(update={"title": trial.arm.name, "protected": changed})

        def still_good(stored: dict) -> bool:  # a longer limit is a new chance
            return target.is_dir() if stored["ok"] else not (stored["timed_out"] and stored["seconds"] < timeout)

        key = Key("experiments", trial.kind, self.idea.Name, trial.number, trial.attempt)
        content = [trial.code, self.template.digest(), trial.size]
        result = RunResult.model_validate(self.run.steps.once(key, content, work, still_good=still_good).result)
        if trial.kind == "run":
            self.runs[name] = result
        return result

    # --- what came out --------------------------------------------------------------------------

    def labels(self) -> dict[str, str]:
        """Run names with the titles that tables and figures show."""
        titles = {arm.name: arm.title for arm in self.plan.arms} if self.plan else {}
        return {name: titles.get(r.title, r.title) for name, r in sorted(self.runs.items(), key=_number) if r.ok}

    def ledger(self) -> results.Ledger:
        """Every number so far, with the comparisons; written to results.json."""
        flagged = {name: result.protected for name, result in self.runs.items() if result.protected}
        beside = [name for name, result in self.runs.items() if result.beside]
        ledger = results.build_ledger(
            self.folder, self.labels(), self.template, flagged=flagged, preset=self.size.preset, seeds=self.size.seeds,
            plan=self.plan, beside=beside, probes=self.probes.done,
        )  # fmt: skip
        save_json(self.folder / "results.json", ledger)
        save_json(self.folder / "probes.json", self.probes.done)
        return ledger

    def write_note(self, trial: Trial, note: Note) -> None:
        """Add a run's entry to the lab book."""
        self.lab_book.write(trial.run, trial.arm, note.text)
        self.settled = note.settled

    # --- looking into it ------------------------------------------------------------------------

    def set_out(self, room: Path) -> Path:
        """A room with the template's files, copies of all run folders, labels.json and metrics.json."""
        self.programs.lay_out(room)
        for name in self.labels():
            shutil.copytree(self.folder / name, room / name)
        save_json(room / "labels.json", self.labels())
        save_json(room / "metrics.json", self._added_metrics())
        return room

    def _added_metrics(self) -> dict[str, str]:
        """The metrics that the plan added and some run reports, with their labels."""
        infos = (results.read_final_info(self.folder / run) for run in self.labels())
        reported = {name for info in infos for measured in info.values() for name in measured.means}
        return {
            metric.name: metric.label for metric in (self.plan.metrics if self.plan else []) if metric.name in reported
        }

    def changes(self) -> dict[str, str]:
        """What each run that ended well changed in the program it started from, as a patch."""
        return editor.patches_of(self.folder, list(self.labels())[1:])

    @property
    def seconds(self) -> float:
        """What the baseline took."""
        return self.runs["run_0"].seconds

    def files(self) -> list[str]:
        """The files that every run left behind."""
        return sorted(file.name for file in (self.folder / "run_0").iterdir() if file.name != "experiment.py")

    def look_into(self, number: int, probe: Probe, timeout: float) -> None:
        """Run a probe; what it measured enters the ledger, or what went wrong is on record."""
        self.probes.done.append(run_probe(self, number, probe, timeout))

    def draw(self, timeout: float) -> Drawing:
        """Draw the figures of all runs with plot.py."""
        return Drawing(self, timeout)

    def _repr_html_(self) -> str:
        labels = self.labels()
        rows = [[name, labels.get(name, r.title), show.tinted(*(("ran", "good") if r.ok else ("failed", "bad"))),
                 round(r.seconds, 1), r.level or "shipped",
                 show.tinted(f"changed: {', '.join(r.protected)}", "bad") if r.protected else "untouched"]
                for name, r in sorted(self.runs.items(), key=_number)]  # fmt: skip
        return show.block(show.table(["Run", "Arm", "", "Seconds", "Sandbox", "Evaluation"], rows),
                          record_of(self.folder))  # fmt: skip


def _number(item: tuple[str, object]) -> int:
    """run_10 comes after run_9."""
    return int(item[0].rpartition("_")[2])
