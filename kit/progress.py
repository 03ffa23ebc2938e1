"""What is being done now: a bar over stages and ideas, read from the intents on disk."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from kit.llm import Tally
from kit.schemas import KitError
from kit.store import load_json, now
from kit.workspace import Run


class Progress:
    """A bar for a terminal, plain lines for a log file."""

    def __init__(self, run: Run):
        self.run, self.tally = run, Tally(run)
        self.over = threading.Event()

    def __enter__(self) -> "Progress":
        from tqdm import tqdm

        form = "{desc} {bar} {n_fmt}/{total_fmt} stages, {elapsed}{postfix}"
        self.bar = tqdm(total=4, bar_format=form, dynamic_ncols=True, disable=not sys.stderr.isatty())
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.watcher.join()
        self.bar.set_postfix_str("", refresh=True)
        self.bar.close()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.bar.write(line, file=sys.stderr)

    @contextlib.contextmanager
    def doing(self, stage: str, idea: str) -> Iterator[None]:
        """Count one stage, and note in run.json how long it took: in all, and less programs, calls and TeX."""
        self.bar.set_description_str(f"{stage:<11}", refresh=True)
        if self.bar.disable:
            self.say(f"{stage} {idea}".strip())
        started, clock = now(), time.monotonic()
        yield
        seconds = time.monotonic() - clock
        steps = [*self.run.calls.finished(), *self.run.steps.finished()]
        kit = seconds - covered(step for step in steps if step["started"] >= started)
        took = {"started": started, "seconds": round(seconds, 2), "kit": round(kit, 2)}
        self.run.note(stages={f"{stage} {idea}".strip(): took})
        self.bar.update(1)

    def _watch(self) -> None:
        while not (self.bar.disable or self.over.wait(0.5)):
            self.bar.set_postfix_str(f"{self.tally} {self._now()}".strip(), refresh=True)

    def _now(self) -> str:
        """What the newest intent says: `run 2 · my_idea`, and why it takes its time."""
        intents = [*self.run.path.glob("calls/intents/*.json"), *self.run.path.glob("steps/intents/*.json")]
        newest = max(intents, key=_modified, default=None)
        if newest is None:
            return ""
        _, idea, verb, index = newest.name.split(".")[:4]
        return f"{verb} {int(index) or ''} {'· ' + idea if idea != '-' else ''} {_remark(newest)}".strip()


def covered(steps: Iterable[dict]) -> float:
    """Seconds in which at least one of the steps was being done."""
    end = total = 0.0
    for start, seconds in sorted((datetime.fromisoformat(s["started"]).timestamp(), s["seconds"]) for s in steps):
        total += max(0.0, start + seconds - max(start, end))
        end = max(end, start + seconds)
    return total


def _modified(file: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # the step ended while we looked
        return file.stat().st_mtime
    return 0.0


def _remark(intent: Path) -> str:
    with contextlib.suppress(FileNotFoundError, KitError):
        return f"({words})" if (words := load_json(intent).get("remark")) else ""
    return ""
