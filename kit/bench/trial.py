"""One arm on the bench, and the attempts to make it run."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kit import editor
from kit.bench.programs import Size
from kit.schemas import Arm, Edit, FormatError
from kit.store import save

if TYPE_CHECKING:
    from kit.bench.bench import Bench

PROGRAM = "experiment.py"
EDITS = 3  # edits in a row that cannot be made, and the run is given up


class Trial:
    """One arm, its code as it stands, and what went wrong last."""

    def __init__(self, bench: "Bench", arm: Arm, number: int, size: Size, most: int, kind: str = "run"):
        self.bench, self.arm, self.number, self.size, self.most, self.kind = bench, arm, number, size, most, kind
        self.attempt, self.misfits, self.trouble, self.ok, self.closed = 0, 0, "", False, ""
        self.beside = 0  # runs that go on at the same time
        self.remaining: list[str] = []  # arms that are still to come
        self._code = ""

    @property
    def run(self) -> str:
        """The name of the run's folder."""
        return f"{self.kind}_{self.number}"

    @property
    def code(self) -> str:
        """The program as the last attempt left it; before the first, as the arm starts from it."""
        return self._code or self.bench.code_of(self.arm.start_from)

    @property
    def waits(self) -> bool:
        """Whether the arm that it starts from has not run: its program is then what the edits make of that one's."""
        ran = {result.title for result in self.bench.runs.values() if result.ok}
        return self.arm.start_from not in {"run_0", *ran}

    @property
    def over(self) -> bool:
        """Whether nothing more is to be tried: it ran, it was given up, or it is not to be run at all."""
        return bool(self.ok or self.closed or self.given_up)

    @property
    def given_up(self) -> str:
        """Why it was given up, in words."""
        if self.misfits >= EDITS:
            return f"Given up: {EDITS} edits in a row could not be made. {self.trouble}"
        return f"Given up after {self.most} attempts. {self.trouble}" if self.attempt >= self.most else ""

    @property
    def file(self) -> str:
        """The name that its program has in edits."""
        return f"{self.run}/{PROGRAM}"

    @property
    def index(self) -> int:
        """The place of its next edit among all edits."""
        return 100 * self.number + self.attempt + (5000 if self.kind == "pilot" else 0)

    def carry_out(self, edits: editor.Edits, timeout: float) -> "Trial":
        """Make the edits that are for it, and run; what goes wrong is kept in `trouble` for the next attempt."""
        before = self.code
        try:
            self._code = self._edited(edits.edits)
        except FormatError as error:
            self.trouble, self.misfits = str(error), self.misfits + 1
        else:
            self.misfits = 0
            self._record_patch(before)
            result = self.bench.execute(self, timeout)
            self.ok, self.trouble = result.ok, result.trouble
        self.attempt += 1
        return self

    def _edited(self, edits: list[Edit]) -> str:
        own = [edit.model_copy(update={"path": PROGRAM}) for edit in edits if is_for(edit, self)]
        return editor.apply(own, {PROGRAM: self.code}, allowed=[PROGRAM])[PROGRAM]

    def _record_patch(self, before: str) -> None:
        patch: Path = self.bench.folder / "history" / f"{self.run}.{self.attempt}.patch"
        save(patch, editor.diff(before, self.code, PROGRAM))
        save(self.bench.folder / PROGRAM, self.code)


def is_for(edit: Edit, trial: Trial) -> bool:
    """Whether an edit is for this trial: by the name of its run, or by none."""
    return PurePosixPath(edit.path) in (PurePosixPath(trial.file), PurePosixPath(PROGRAM))


def carry_out_together(trials: Sequence[Trial], edits: editor.Edits, timeout: float) -> None:
    """Carry out several trials at the same time; an exception in one ends the programs of all."""
    if len(trials) == 1:
        trials[0].carry_out(edits, timeout)
        return
    with ThreadPoolExecutor(len(trials)) as pool:  # bubblewrap watches the thread: each waits for its program
        futures = [pool.submit(trial.carry_out, edits, timeout) for trial in trials]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
        except BaseException:
            trials[0].bench.programs.stop()
            raise


def task(trials: Sequence[Trial]) -> dict[str, Any]:
    """What `experiments/edit` is asked with for trials whose programs are to be written next to each other."""

    def check(edits: editor.Edits) -> None:
        names = [trial.file for trial in trials]
        known = {PurePosixPath(name) for name in [*names, *([PROGRAM] if len(trials) == 1 else [])]}
        if strange := [edit.path for edit in edits.edits if PurePosixPath(edit.path) not in known]:
            raise FormatError(f"{strange[0]} may not be edited. These may: {', '.join(names)}.")
        if missing := [t.file for t in trials if not any(is_for(edit, t) for edit in edits.edits)]:
            raise FormatError(
                f"No block is for {', '.join(missing)}. Each run has a program of its own: "
                "write the name of its file on a line before each block."
            )

    plan = trials[0].bench.plan
    codes = [trial.code for trial in trials if not trial.waits]
    new = [metric for metric in (plan.metrics if plan else []) if any(metric.name not in code for code in codes)]
    return {"trials": list(trials), "metrics": new, "index": trials[0].index, "check": check}
