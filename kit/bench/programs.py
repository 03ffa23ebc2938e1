"""An idea's programs: each runs locked in, in a folder of its own, so that it can spoil nobody else's results."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kit import process, results, sandbox
from kit.schemas import KitError, RunResult
from kit.store import Intent, save
from kit.template import SKIPPED, Template

LEFT_BEHIND = ("run_*", "worked", "*.ipynb", *SKIPPED)  # parts of a template that a run does not need


class Size(NamedTuple):
    """How large an experiment is run: a preset of the template, and the plan's number of seeds (0: the preset's)."""

    preset: str = ""
    seeds: int = 0

    def environment(self) -> dict[str, str]:
        """How the program is told."""
        said = {"KIT_PRESET": self.preset, "KIT_SEEDS": str(self.seeds or "")}
        return {name: value for name, value in said.items() if value}


class Unwatched:
    """What a live view is told; nobody looks at this one."""

    def start(self, run: str, title: str, timeout: float) -> None:
        """A program begins."""

    def hear(self, run: str, line: str) -> None:
        """It says something."""

    def end(self, run: str, outcome: str) -> None:
        """It is over."""


class Programs:
    """Runs programs of one template at one level of the sandbox."""

    def __init__(self, template: Template, level: sandbox.Level):
        self.template = template
        self.level: sandbox.Level = level
        self.view = Unwatched()
        self.running: dict[str, tuple[int, str]] = {}
        self.stopped = False

    def lay_out(self, room: Path) -> Path:
        """An empty room with the template's files in it."""
        shutil.rmtree(room, ignore_errors=True)
        return copy_template(self.template, room)

    def experiment(
        self, home: Path, name: str, code: str, size: Size, timeout: float, intent: Intent,
        *, title: str = "", log: str = "", beside: int = 0,
    ) -> RunResult:  # fmt: skip
        """Run experiment.py into home/name; `beside` is the number of runs that go on at the same time."""
        room = self.lay_out(home / "bench" / name)
        save(room / "experiment.py", code)
        env = size.environment() | _share_of_cores(beside)
        done = self.run(["experiment.py", f"--out_dir={name}"], room, timeout,
                        home / "logs" / f"{log or name}.txt", intent, title=title or name, env=env)  # fmt: skip
        result = RunResult(run=name, ok=done.ok, returncode=done.returncode, seconds=round(done.seconds, 3),
                           timed_out=done.timed_out, level=done.level, code=code, beside=beside > 0)  # fmt: skip
        result.trouble = _trouble(done, room / name, timeout)
        result.ok = not result.trouble
        if result.ok:
            save(room / name / "experiment.py", code)
            shutil.rmtree(home / name, ignore_errors=True)
            (room / name).rename(home / name)
            shutil.rmtree(room)
        return result

    def run(
        self, program: list[str], room: Path, timeout: float, log: Path, intent: Intent,
        *, title: str, env: Mapping[str, str] | None = None,
    ) -> sandbox.Finished:  # fmt: skip
        """Run a Python program with the room as its only writable folder; its words go to the log and to the view."""
        log.parent.mkdir(parents=True, exist_ok=True)

        def started(pid: int) -> None:
            self.running[room.name] = (pid, process.identity(pid))
            intent.child(pid)
            if self.stopped:
                raise KeyboardInterrupt

        self.view.start(room.name, title, timeout)
        done = None
        try:
            done = sandbox.run(
                [str(self.template.python), *program], folder=room, timeout=timeout, level=self.level, log=log,
                pass_fds=[intent.lock], env=env, readable=self.template.readable(), on_start=started,
                on_line=lambda line: self.view.hear(room.name, line),
            )  # fmt: skip
            if self.stopped:  # its end says nothing about it, so it must not be stored
                raise KeyboardInterrupt
            return done
        finally:
            self.running.pop(room.name, None)
            self.view.end(room.name, _outcome(done))

    def stop(self) -> None:
        """End the programs that other threads wait for."""
        self.stopped = True
        for pid, identity in list(self.running.values()):
            process.stop(pid, identity)


def copy_template(template: Template, target: Path) -> Path:
    """The template's files in a folder, without what a run does not need; its data, which may be large, by a link."""
    data = {template.path / folder for folder in template.data}
    others = shutil.ignore_patterns(*LEFT_BEHIND)

    def ignored(folder: str, names: list[str]) -> set[str]:
        return others(folder, names) | {name for name in names if Path(folder, name) in data}

    shutil.copytree(template.path, target, dirs_exist_ok=True, ignore=ignored)
    for folder in template.data:
        link = target / folder
        if not link.exists():
            link.unlink(missing_ok=True)  # it led to where the template once was
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((template.path / folder).absolute(), target_is_directory=True)
    return target


def _share_of_cores(beside: int) -> dict[str, str]:
    """Programs that run together share the cores: each with a thread for every core, all of them would stall."""
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // (beside + 1)))} if beside else {}


def _outcome(done: sandbox.Finished | None) -> str:
    if done is None:
        return "interrupted"
    if done.timed_out:
        return f"stopped after {done.seconds:.0f} s"
    return f"{'ran' if done.ok else f'ended with code {done.returncode}'} in {done.seconds:.1f} s"


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
