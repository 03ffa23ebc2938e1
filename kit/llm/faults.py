"""What goes wrong between us and a model: tried again with patience, or said with its cure."""

import os
import re
import time
from collections.abc import Callable
from json import JSONDecodeError
from types import ModuleType
from typing import Any, TypeVar

from kit.llm.providers import Provider, Request
from kit.schemas import KitError

DEADLINE = 1800.0  # seconds that a call may spend on being tried again
SILENCE = 600.0  # seconds without a word; a reasoning model thinks before its first one
LONGEST_PAUSE = 60.0  # seconds between two tries
PASSING = {408, 409, 425, 429}  # and every 5xx: the same call may go through later
SPENT = re.compile(r"insufficient_quota|exceeded your current quota|credit balance|billing", re.IGNORECASE)

T = TypeVar("T")


class Unavailable(KitError):
    """The model gave no answer; the same command goes on with this call later."""


class Garbage(Exception):
    """An answer that is none: no JSON, or not of the form that the protocol says."""


def silence() -> float:
    """Seconds to wait for a word; KIT_TIMEOUT for servers that are slower than most."""
    return float(os.environ.get("KIT_TIMEOUT") or SILENCE)


def persist(sdk: ModuleType, call: Callable[[], T], request: Request, provider: Provider) -> tuple[T, list[str]]:
    """Call until an answer comes or the deadline has passed; the answer, and what went wrong before it.

    Raises the SDK's BadRequestError as it is, Unavailable after the deadline, KitError for what is final.
    """
    started, faults = time.monotonic(), []
    while True:
        try:
            return call(), faults
        except sdk.BadRequestError as error:
            if SPENT.search(str(error)):
                raise final(error, request, provider) from None
            raise
        except (sdk.APIStatusError, sdk.APIConnectionError, JSONDecodeError, Garbage) as error:
            status = getattr(error, "status_code", None)
            passing = status is None or status >= 500 or status in PASSING
            if not passing or (status == 429 and SPENT.search(str(error))):
                raise final(error, request, provider) from None
            faults.append(f"{status or type(error).__name__}")
            pause = _pause(error, len(faults))
            if time.monotonic() - started + pause > DEADLINE:
                raise _gave_up(faults, request) from None
            request.say(f"{faults[-1]} from {request.model}, again in {pause:.0f} s")
            time.sleep(pause)


def _pause(error: Exception, tries: int) -> float:
    """Seconds to wait: what the server asks for, else doubling from half a second."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return min(float(headers.get("retry-after", "")), LONGEST_PAUSE)
    except ValueError:
        return min(0.5 * 2 ** (tries - 1), LONGEST_PAUSE)


def final(error: Any, request: Request, provider: Provider) -> KitError:
    """What a person can do about an answer that would not change by asking again."""
    place = provider.base_url or provider.about or provider.name
    if SPENT.search(str(error)):
        return KitError(f"The account behind {provider.key} is out of money: top it up at {provider.about or place}.")
    if error.status_code in (401, 403):
        return KitError(f"The key for {request.model!r} was refused: put a valid {provider.key or 'one'} into .env.")
    if error.status_code == 404:
        return KitError(f"There is no model {request.model!r} at {place}: mind its spelling.")
    return KitError(f"{request.model!r} refused the request ({error.status_code}): {without_keys(str(error))}")


def _gave_up(faults: list[str], request: Request) -> Unavailable:
    return Unavailable(
        f"{request.model!r} gave no answer within {DEADLINE:.0f} s and {len(faults)} tries ({', '.join(faults[-5:])}). "
        f"Run the same command again later: it goes on with this call."
    )


def without_keys(text: str) -> str:
    """A server's message without any key that is in the environment."""
    for name, value in os.environ.items():
        if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name) and len(value) > 5:
            text = text.replace(value, f"<{name}>")
    return re.sub(r"\b(sk|key)-[\w-]{12,}", "<a key>", text)[:500]
