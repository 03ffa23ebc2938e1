"""The lab book of an idea: what was planned, and what each run taught."""

from pathlib import Path

from kit.schemas import Arm, Idea
from kit.store import save


class LabBook:
    """An entry for each run, in the order of the runs; every word is on disk at once."""

    def __init__(self, file: Path, idea: Idea):
        self.file, self.head = file, f"# {idea.Title}\n\n{idea.Hypothesis}\n\n"
        self.entries: dict[str, tuple[Arm, str]] = {}

    def write(self, run: str, arm: Arm, text: str) -> None:
        """Add a run's entry, or put it in the place of the former."""
        self.entries[run] = arm, text
        self.entries = dict(sorted(self.entries.items(), key=lambda entry: int(entry[0].rpartition("_")[2])))
        save(self.file, f"{self.head}{self}")

    def __getitem__(self, run: str) -> str:
        arm, text = self.entries[run]
        return f"## {run}: {arm.title} ({arm.role})\n\n{arm.change}\n\nPredicted: {arm.prediction}\n\n{text}\n"

    def __str__(self) -> str:
        return "\n".join(self[run] for run in self.entries)

    @property
    def lessons(self) -> str:
        """The entries without what was planned."""
        return "\n".join(f"## {run}: {arm.title} ({arm.role})\n\n{text}\n" for run, (arm, text) in self.entries.items())
