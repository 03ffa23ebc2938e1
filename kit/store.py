"""Files written whole, and steps done once.

The step is the primitive that everything stands on: *key → lock → intent → stored result*. Model calls,
runs of programs, edits and compiles all go through `Steps.once`, so that to resume is to run again.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from kit import process
from kit.schemas import KitError

# --- files, whole or not at all -----------------------------------------------------------------


def save(path: Path, data: str | bytes) -> Path:
    """Write a file whole: a reader sees the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise KitError(
                f"The disk is full: {path} was not written and its former text stands. "
                f"Free some space, then run the same command again: nothing that was finished is done twice."
            ) from error
        raise
    return path


def save_json(path: Path, data: Any) -> Path:
    """Write JSON (or a pydantic model) whole."""
    return save(path, dumps(data) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON; a broken file is named."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KitError(f"{path} is not JSON ({error}). Mend or remove it, then run again.") from error


def dumps(data: Any) -> str:
    """JSON that is the same for the same data."""
    return json.dumps(data, indent=1, ensure_ascii=False, sort_keys=False, default=_plain)


def digest(*parts: Any) -> str:
    """Eight letters that stand for a content."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def digest_of(file: Path) -> str:
    """Letters that stand for what is in a file; none where there is no file."""
    return digest(file.read_bytes().hex()) if file.is_file() else ""


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


@contextlib.contextmanager
def locked(path: Path, when_held: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold a lock that ends with the process (and with the children that inherit its descriptor).

    `when_held` is called once when somebody else holds the lock, before waiting for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            when_held()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def now() -> str:
    """The time in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# --- the step -----------------------------------------------------------------------------------


class Key(NamedTuple):
    """A step's place in the run; with its content it is the step's name."""

    stage: str
    verb: str
    idea: str = ""
    index: int = 0
    attempt: int = 0

    def file_name(self, content: str) -> str:
        """A name that sorts by place and changes with the content."""
        verb = self.verb.replace("/", "_")
        return f"{self.stage}.{self.idea or '-'}.{verb}.{self.index:03d}.{self.attempt}.{content}.json"


class Intent:
    """Says on disk that a step is under way, by whom, and which child carries it out."""

    def __init__(self, path: Path, lock: int = -1):
        self.path = path
        self.lock = lock  # a child that inherits it keeps a second writer out
        self.facts: dict[str, Any] = {}

    def write(self, **facts: Any) -> None:
        """Record that this process is doing the step, and what else is known of it by now."""
        me = os.getpid()
        self.facts = {"pid": me, "identity": process.identity(me), "since": now(), **self.facts, **facts}
        save_json(self.path, self.facts)

    def child(self, pid: int) -> None:
        """Record the child, so that a later run can end it should this one be killed."""
        self.write(child=pid, child_identity=process.identity(pid))

    def remark(self, words: str) -> None:
        """Record why it takes its time, for whoever watches."""
        self.write(remark=words)

    def end_orphan(self) -> None:
        """Stop the child of a run that was killed; leave that of a run which is still there."""
        if not self.path.exists():
            return
        left = load_json(self.path)
        if "child" in left and process.identity(left["pid"]) != left["identity"]:
            process.stop(left["child"], left["child_identity"])


class Step(NamedTuple):
    """A finished step."""

    result: Any  # JSON
    seconds: float
    replayed: bool  # read from disk, not done now
    file: Path


class Steps:
    """A folder of finished steps."""

    def __init__(self, folder: Path):
        self.folder = folder

    def once(
        self,
        key: Key,
        content: Any,
        do: Callable[[Intent], Any],
        *,
        still_good: Callable[[Any], bool] = lambda result: True,
    ) -> Step:
        """Do a step, or read what it gave when it was done before.

        `content` is all that the result depends on; `do` returns JSON data or a pydantic model. When `do`
        raises, nothing is stored: the step was not done. `still_good` may send a stored result back.
        """
        name = key.file_name(digest(content))
        file, intent = self.folder / name, Intent(self.folder / "intents" / name)
        with locked(self.folder / "locks" / f"{name}.lock", when_held=intent.end_orphan) as intent.lock:
            if file.exists():
                stored = load_json(file)
                if still_good(stored["result"]):
                    return Step(stored["result"], stored["seconds"], True, file)
            return self._do(key, file, intent, do)

    def _do(self, key: Key, file: Path, intent: Intent, do: Callable[[Intent], Any]) -> Step:
        interrupted = intent.path.exists()  # an earlier attempt was killed
        intent.end_orphan()
        intent.write()
        started, clock = now(), time.monotonic()
        try:
            result = json.loads(dumps(do(intent)))
            seconds = round(time.monotonic() - clock, 4)
            save_json(file, {**key._asdict(), "started": started, "seconds": seconds,
                             "after_interruption": interrupted, "result": result})  # fmt: skip
        finally:
            intent.path.unlink(missing_ok=True)
        return Step(result, seconds, False, file)

    def finished(self) -> list[dict]:
        """Every finished step, oldest first."""
        steps = [load_json(file) | {"file": file.name} for file in self.folder.glob("*.json")]
        return sorted(steps, key=lambda step: (step["started"], step["file"]))
