"""One arm on the bench, and the attempts to make it run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import editor
from kit.bench.programs import Size
from kit.schemas import Arm, Edit, FormatError
from kit.store import save

if TYPE_CHECKING:
    from kit.bench.bench import Bench

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
    def task(self) -> dict[str, Any]:
        """What the prompt for the next edit has to say; its index is the call's place among all edits."""
        index = 100 * self.number + self.attempt + (5000 if self.kind == "pilot" else 0)
        metrics = self.bench.plan.metrics if self.bench.plan else []
        return {"arm": self.arm, "number": self.number, "kind": self.kind, "code": self.code, "metrics": metrics,
                "trouble": self.trouble, "index": index}  # fmt: skip

    def carry_out(self, edits: editor.Edits, timeout: float) -> "Trial":
        """Make the edits and run; what goes wrong is kept in `trouble` for the next attempt."""
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
        return editor.apply(edits, {"experiment.py": self.code}, allowed=["experiment.py"])["experiment.py"]

    def _record_patch(self, before: str) -> None:
        patch: Path = self.bench.folder / "history" / f"{self.run}.{self.attempt}.patch"
        save(patch, editor.diff(before, self.code, "experiment.py"))
        save(self.bench.folder / "experiment.py", self.code)
