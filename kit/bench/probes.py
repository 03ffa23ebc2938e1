"""Probes: small analyses that a model writes after the runs, to find out why they came out as they did."""

import json
import math
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import show
from kit.results.numbers import plain
from kit.schemas import KitError, Probe, Probed
from kit.store import Intent, Key, save

if TYPE_CHECKING:
    from kit.bench.bench import Bench

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,59}")
MOST = 60  # numbers of one probe
TAIL = 2500  # letters of what a failed one said last
TOLD = 8  # of them in a table
FORM = '{name: number, or a list with one number a seed}, names such as "gap_early" or "circle/gap"'


class Probes(Sequence[Probed]):
    """The probes of an idea so far, in their order."""

    def __init__(self, done: Iterable[Probed] = ()) -> None:
        self.done = list(done)

    def __getitem__(self, place: Any) -> Any:
        return self.done[place]

    def __len__(self) -> int:
        return len(self.done)

    @property
    def ran(self) -> bool:
        """Whether the last one ran well, so that nothing is left to mend."""
        return not self.done or self.done[-1].ok

    def _repr_html_(self) -> str:
        if not self.done:
            return show.block(show.paragraph("No probe was asked for.", "soft"))
        rows = [[p.name, p.question, show.tinted("ran", "good") if p.ok else show.tinted(p.trouble, "bad"),
                 _told(p)]
                for p in self.done]  # fmt: skip
        return show.table(["Probe", "Question", "", "Found"], rows)


def _told(probe: Probed) -> str:
    """The first of its numbers, and how many more there are."""
    told = [f"{name} {plain(sum(values) / len(values), None)}" for name, values in probe.numbers.items()]
    more = [f"{len(told) - TOLD} more in probe.json"] if len(told) > TOLD else []
    return ", ".join(told[:TOLD] + more)


def run_probe(bench: "Bench", number: int, probe: Probe, timeout: float) -> Probed:
    """Run analysis.py beside copies of the run folders; its numbers and figures are kept, or why there are none."""
    name = f"probe_{number}"
    home = bench.folder / "probes" / name

    def work(intent: Intent) -> Probed:
        room = bench.set_out(bench.folder / "bench" / name)
        save(room / "analysis.py", probe.code)
        log = bench.folder / "logs" / f"{name}.txt"
        done = bench.programs.run(["analysis.py"], room, timeout, log, intent, title=probe.question,
                                  env=bench.size.environment())  # fmt: skip
        made = Probed(name=name, question=probe.question, code=probe.code, ok=False, tail=done.tail,
                      seconds=round(done.seconds, 3), level=done.level)  # fmt: skip
        last = f"\nLast lines:\n{done.tail[-TAIL:]}"
        if not done.ok:
            said = f"did not end within {timeout:g} s" if done.timed_out else f"ended with code {done.returncode}"
            return made.model_copy(update={"trouble": f"analysis.py {said}.{last}"})
        try:
            numbers = read_numbers(room / "probe.json")
        except KitError as error:
            return made.model_copy(update={"trouble": f"{error}{last}"})
        figures = _take(room, home, bench.folder / "figures", name)
        shutil.rmtree(room)
        return made.model_copy(update={"ok": True, "numbers": numbers, "figures": figures})

    def still_good(stored: dict) -> bool:
        drawn = all((bench.folder / "figures" / file).is_file() for file in stored["figures"])
        return not stored["ok"] or (drawn and (home / "probe.json").is_file())

    content = [probe.code, [(run, result.code) for run, result in bench.runs.items()], bench.size]
    key = Key("experiments", "analysis", bench.idea.Name, number)
    return Probed.model_validate(bench.run.steps.once(key, content, work, still_good=still_good).result)


def read_numbers(file: Path) -> dict[str, list[float]]:
    """The numbers of a probe.json, each as the list of its values; KitError says what does not fit."""
    if not file.is_file():
        raise KitError(f"analysis.py ended well but wrote no probe.json: {FORM}.")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KitError(f"probe.json is not JSON ({error}). Expected {FORM}.") from error
    if not isinstance(data, dict) or not data or len(data) > MOST:
        size = f"{len(data)} entries" if isinstance(data, dict) else "no object"
        raise KitError(f"probe.json holds {size}; 1 to {MOST} are read. Expected {FORM}.")
    return {_name(name): _values(name, value) for name, value in data.items()}


def _name(name: str) -> str:
    if not NAME.fullmatch(name) or "//" in name or name.endswith("/"):
        raise KitError(f"probe.json: {name!r} is no name for a number. Expected {FORM}.")
    return name


def _values(name: str, value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if not values or len(numbers) < len(values):
        raise KitError(f"probe.json: {name} is {value!r}. Expected {FORM}.")
    return [float(v) for v in numbers]


def _take(room: Path, home: Path, figures: Path, name: str) -> list[str]:
    """Keep what a probe is made of and what it made; the names of its figures."""
    shutil.rmtree(home, ignore_errors=True)
    for file in (room / "analysis.py", room / "probe.json"):
        save(home / file.name, file.read_bytes())
    pictures = sorted(room.glob("*.png"))
    for file in pictures:
        save(figures / f"{name}_{file.name}", file.read_bytes())
    return [f"{name}_{file.name}" for file in pictures]
