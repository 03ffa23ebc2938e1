"""Models behind an API, through the SDKs of OpenAI and Anthropic."""

import os
import time
from collections.abc import Callable
from functools import cache
from json import JSONDecodeError
from types import ModuleType
from typing import Any, Literal

from kit.llm.providers import Completion, Provider, Request
from kit.llm.replies import has_grammar, strict_schema
from kit.schemas import KitError

DEADLINE = 900.0  # seconds that a call may spend on being retried
LONGEST_PAUSE = 60.0  # seconds between two tries
TIMEOUT = 1200.0  # seconds of silence; a reasoning model thinks before its first word
PASSING = {408, 409, 425, 429}  # and every 5xx: the same call may go through later
PLAIN: set[str] = set()  # models found to have no structured output, in this process


def openai(request: Request, provider: Provider) -> Completion:
    """Ask a server that speaks OpenAI's chat completions."""
    import openai as sdk

    client = _openai_client(provider.base_url, os.environ.get(provider.key, ""))
    messages: Any = [{"role": "system", "content": request.system}, *request.messages]

    def call(structured: bool) -> Any:
        form = {"response_format": _json_schema(request)} if structured else {}
        room: Any = {"max_completion_tokens": request.room} if request.room else {}
        return client.chat.completions.create(model=request.model, messages=messages, **form, **room)

    answer, faults = _ask(sdk, call, request, provider)
    choice = answer.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    usage = _usage(request, answer.model_dump(), provider, "chat")
    return Completion(text=choice.message.content or refusal or "", faults=faults, **usage,
                      end=_end(choice.finish_reason, refused=bool(refusal)))  # fmt: skip


def anthropic(request: Request, provider: Provider) -> Completion:
    """Ask Anthropic's messages API; streamed, as the SDK demands where a reply may be long."""
    import anthropic as sdk

    client = _anthropic_client(os.environ.get(provider.key, ""))
    # The mark says: what stands before it stays the same, keep it at hand and charge it less.
    system: Any = [{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]
    messages: Any = request.messages

    def call(structured: bool) -> Any:
        schema = strict_schema(request.reply) if structured else None
        form: Any = {"output_config": {"format": {"type": "json_schema", "schema": schema}}} if schema else {}
        with client.messages.stream(
            model=request.model, system=system, messages=messages, max_tokens=request.room or 8192, **form
        ) as stream:
            return stream.get_final_message()

    answer, faults = _ask(sdk, call, request, provider)
    text = "".join(block.text for block in answer.content if block.type == "text")
    usage = _usage(request, answer.model_dump(), provider, "default")
    return Completion(text=text, faults=faults, end=_end(answer.stop_reason), **usage)


@cache
def _openai_client(base_url: str, key: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=base_url or None, api_key=key or "none", max_retries=0, timeout=TIMEOUT)


@cache
def _anthropic_client(key: str) -> Any:
    from anthropic import Anthropic

    return Anthropic(api_key=key, max_retries=0, timeout=TIMEOUT)


def _json_schema(request: Request) -> dict:
    name = request.reply.__name__
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": strict_schema(request.reply)},
    }


def _ask(sdk: ModuleType, call: Callable[[bool], Any], request: Request, provider: Provider) -> tuple[Any, list[str]]:
    """Call until an answer comes or the deadline has passed; the answer, and what went wrong before it.

    Structured output is tried first; a model that refuses the form is asked in plain text from then on.
    """
    started, faults = time.monotonic(), []
    while True:
        structured = not has_grammar(request.reply) and request.model not in PLAIN
        try:
            return call(structured), faults
        except sdk.BadRequestError as error:
            if not structured:
                raise _final(error, request, provider) from None
            PLAIN.add(request.model)
        except (sdk.APIStatusError, sdk.APIConnectionError, JSONDecodeError, AssertionError) as error:
            status = getattr(error, "status_code", None)
            if status and status < 500 and status not in PASSING:
                raise _final(error, request, provider) from None
            faults.append(f"{status or type(error).__name__}")
            pause = _pause(error, len(faults))
            if time.monotonic() - started + pause > DEADLINE:
                raise _gave_up(faults, request, provider) from None
            request.say(f"{faults[-1]} from {request.model}, again in {pause:.0f} s")
            time.sleep(pause)


def _pause(error: Exception, tries: int) -> float:
    """Seconds to wait: what the server asks for, else doubling from half a second."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return min(float(headers.get("retry-after", "")), LONGEST_PAUSE)
    except ValueError:
        return min(0.5 * 2 ** (tries - 1), LONGEST_PAUSE)


def _final(error: Any, request: Request, provider: Provider) -> KitError:
    """What a person can do about an answer that would not change by asking again."""
    if error.status_code in (401, 403):
        return KitError(f"The key for {request.model!r} was refused: put a valid {provider.key}=... into .env.")
    if error.status_code == 404:
        return KitError(
            f"There is no model {request.model!r} at {provider.about or provider.base_url}: mind its spelling."
        )
    return KitError(f"{request.model!r} refused the request ({error.status_code}): {_without_keys(str(error))}")


def _gave_up(faults: list[str], request: Request, provider: Provider) -> KitError:
    return KitError(
        f"{request.model!r} gave no answer within {DEADLINE:.0f} s and {len(faults)} tries ({', '.join(faults[-5:])}). "
        f"Run the same command again later: it goes on with this call."
    )


def _without_keys(text: str) -> str:
    """A server's message without any key that is in the environment."""
    for name, value in os.environ.items():
        if name.endswith(("_KEY", "_TOKEN")) and len(value) > 5:
            text = text.replace(value, f"<{name}>")
    return text[:500]


def _end(reason: str | None, refused: bool = False) -> Literal["done", "cut", "refused"]:
    if refused or reason in ("refusal", "content_filter"):
        return "refused"
    return "cut" if reason in ("length", "max_tokens") else "done"


def _usage(request: Request, answer: dict, provider: Provider, flavor: str) -> dict[str, Any]:
    """Tokens from the provider's own words, and their price; None where no price is known."""
    from genai_prices import calc_price, extract_usage

    family = "anthropic" if flavor == "default" else "openai"
    try:
        usage = extract_usage(answer, provider_id=family, api_flavor=flavor).usage
    except (LookupError, ValueError):  # a server that reports no usage
        return {}
    details = (answer.get("usage") or {}).get("completion_tokens_details") or {}
    counted = {"tokens_in": usage.input_tokens or 0, "tokens_out": usage.output_tokens or 0,
               "tokens_cached": usage.cache_read_tokens or 0,
               "tokens_reasoning": details.get("reasoning_tokens") or 0}  # fmt: skip
    try:
        price = calc_price(usage, model_ref=request.model, provider_id=provider.prices or family)
        return counted | {"cost": float(price.total_price)}
    except LookupError:
        return counted
