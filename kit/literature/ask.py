"""Ask an engine over HTTP: cached on disk, paced for all processes together, tried again until a deadline."""

import email.utils
import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kit.schemas import KitError
from kit.store import digest, load_json, locked, save_json

PAUSE = {"semanticscholar": 1.1, "openalex": 0.2}  # seconds between two requests of all processes together
PASSING = {408, 425, 429}  # and all from 500 on: they may go well a moment later
SECRET = "api_key"  # a parameter that is no part of what was asked, and never stored


class LiteratureUnavailable(KitError):
    """No engine answered; what was asked stays unchecked."""


class Question(NamedTuple):
    """One GET."""

    engine: str
    url: str
    parameters: dict[str, Any]
    headers: dict[str, str]
    holds: str  # the list that an answer has

    def file(self, cache: Path) -> Path:
        """Where its answer is stored; keys are no part of the name."""
        asked = {name: value for name, value in self.parameters.items() if name != SECRET}
        return cache / f"{self.engine}-{digest(self.url, asked)}.json"


def ask(question: Question, cache: Path, deadline: float) -> list[dict[str, Any]]:
    """The entries of the answer; LiteratureUnavailable when there is none before the deadline (in seconds)."""
    import requests  # noqa: F401  # it takes a moment, which would come off the pause

    stored = question.file(cache)
    end, tries = time.monotonic() + deadline, 0
    while not stored.is_file():
        _wait_for_turn(cache / f"{question.engine}.turn", PAUSE[question.engine])
        if stored.is_file():  # somebody else asked the same while we waited
            break
        answer = _request(question, max(1.0, end - time.monotonic()))
        if isinstance(answer, dict):
            save_json(stored, answer)
            break
        tries += 1
        wait = answer.wait if answer.wait is not None else min(2.0 ** (tries - 1), 30.0)
        if answer.final or time.monotonic() + wait > end:
            raise LiteratureUnavailable(f"{answer.what}, after {tries} {'try' if tries == 1 else 'tries'}.")
        time.sleep(wait)
    return [entry for entry in load_json(stored).get(question.holds) or [] if isinstance(entry, dict)]


class Trouble(NamedTuple):
    """Why there was no answer."""

    what: str
    final: bool = False  # asking again would not help
    wait: float | None = None  # seconds, where the engine says how long


def _wait_for_turn(file: Path, pause: float) -> None:
    """The lock's file remembers when the last request of any process went out; it is empty before the first."""
    with locked(file) as descriptor:
        last = os.fstat(descriptor)
        if last.st_size:
            time.sleep(max(0.0, min(pause, last.st_mtime + pause - time.time())))
        os.pwrite(descriptor, b"asked\n", 0)
        now = time.time_ns()
        os.utime(descriptor, ns=(now, now))  # by itself the file would get the time of the last tick


def _request(question: Question, timeout: float) -> dict[str, Any] | Trouble:
    import requests

    try:
        answer = requests.get(
            question.url, params=question.parameters, headers=question.headers, timeout=min(timeout, 20)
        )
    except requests.RequestException as error:
        final = isinstance(error, ValueError)  # an address or a header that can never be right
        return Trouble(f"It could not be reached ({type(error).__name__})", final)
    if not answer.ok:
        passing = answer.status_code in PASSING or answer.status_code >= 500
        return Trouble(f"It answered {answer.status_code}", not passing, _seconds(answer.headers.get("Retry-After")))
    try:  # half a surrogate pair is valid in JSON, but can stand in no file
        data = json.loads(answer.content.decode("utf-8", "replace"))
        data = json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Trouble("It sent something that is no JSON")
    if not isinstance(data, dict) or not (isinstance(data.get(question.holds), list) or data.get("total") == 0):
        return Trouble(f"It sent something without {question.holds!r} in it")
    return data


def _seconds(retry_after: str | None) -> float | None:
    """The header Retry-After: seconds or a date."""
    if not retry_after:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", retry_after):
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
