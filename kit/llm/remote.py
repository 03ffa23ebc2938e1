"""Models behind an API, through the SDKs of OpenAI and Anthropic."""

import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

from kit.llm import prices
from kit.llm.faults import Garbage, final, persist, silence
from kit.llm.pictures import encode
from kit.llm.providers import Completion, Provider, Request
from kit.llm.replies import has_grammar, strict_schema
from kit.schemas import KitError

CLOUDS = {"AnthropicBedrock": "boto3", "AnthropicVertex": "google"}  # and the package that knows their credentials
ROOM = 8192  # tokens for a reply where the protocol demands a number
ABOUT_PICTURES = re.compile(r"image|vision|visual|multimodal|content.{0,40}(array|list|string|type)", re.IGNORECASE)
# What models were found not to take, in this process: (provider, model, "pictures" or "schema").
REFUSED: set[tuple[str, str, str]] = set()


def openai(request: Request, provider: Provider) -> Completion:
    """Ask a server that speaks OpenAI's chat completions."""
    import openai as sdk

    client = _openai_client(provider.base_url, provider.secret)

    def call(schema: bool, pictures: bool) -> Any:
        form: Any = {"response_format": _json_schema(request)} if schema else {}
        room: Any = {"max_completion_tokens": request.room} if request.room else {}
        shown = [_openai_picture(encode(file)) for file in request.pictures] if pictures else []
        messages: Any = [{"role": "system", "content": request.system}, *_with_pictures(request, shown)]
        answer = client.chat.completions.create(model=request.model, messages=messages, **form, **room)
        if not getattr(answer, "choices", None) or answer.choices[0].message is None:
            raise Garbage
        return answer

    answer, about = _ask(sdk, call, request, provider)
    choice = answer.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    taken = _taken(request, provider, _openai_tokens(answer.usage)) if answer.usage else {}  # some say nothing
    thoughts = getattr(getattr(answer.usage, "completion_tokens_details", None), "reasoning_tokens", None)
    return Completion(text=choice.message.content or refusal or "", end=_end(choice.finish_reason, bool(refusal)),
                      tokens_reasoning=thoughts or 0, **about, **taken)  # fmt: skip


def anthropic(request: Request, provider: Provider) -> Completion:
    """Ask Anthropic's messages API; streamed, as the SDK demands where a reply may be long."""
    import anthropic as sdk

    client = _anthropic_client(provider.client, provider.base_url, provider.secret)
    # The mark says: what stands before it stays the same, keep it at hand and charge it less.
    system: Any = [{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]

    def call(schema: bool, pictures: bool) -> Any:
        shape = {"format": {"type": "json_schema", "schema": strict_schema(request.reply)}}
        form: Any = {"output_config": shape} if schema else {}
        shown = [_anthropic_picture(encode(file)) for file in request.pictures] if pictures else []
        messages: Any = _with_pictures(request, shown)
        with client.messages.stream(
            model=request.model, system=system, messages=messages, max_tokens=request.room or ROOM, **form
        ) as stream:
            try:
                return stream.get_final_message()
            except AssertionError:  # the SDK's way to say that the stream held no message
                raise Garbage from None

    answer, about = _ask(sdk, call, request, provider)
    text = "".join(block.text for block in answer.content if block.type == "text")
    taken = _taken(request, provider, _anthropic_tokens(answer.usage))
    return Completion(text=text, end=_end(answer.stop_reason), **about, **taken)


@cache
def _openai_client(base_url: str, key: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=base_url or None, api_key=key or "none", max_retries=0, timeout=silence())


@cache
def _anthropic_client(client: str, base_url: str, key: str) -> Any:
    import anthropic as sdk

    settings: dict[str, Any] = {"max_retries": 0, "timeout": silence()}
    if base_url:
        settings["base_url"] = base_url
    if not client:
        return sdk.Anthropic(api_key=key or "none", **settings)
    cloud = client.removeprefix("Anthropic").lower()
    if not find_spec(CLOUDS[client]):
        raise KitError(f"Claude on {cloud} needs more packages: pip install 'anthropic[{cloud}]'.")
    try:
        return getattr(sdk, client)(**settings)  # finds region and credentials as the cloud's own tools do
    except ValueError as error:
        raise KitError(f"Claude on {cloud} is not set up: {error}") from error


def _with_pictures(request: Request, shown: list[dict]) -> list[dict]:
    """The messages, with the pictures before the words of the first."""
    if not shown:
        return list(request.messages)
    first, *rest = request.messages
    return [{"role": "user", "content": [*shown, {"type": "text", "text": first["content"]}]}, *rest]


def _openai_picture(data: str) -> dict:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _anthropic_picture(data: str) -> dict:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def _json_schema(request: Request) -> dict:
    schema = {"name": request.reply.__name__, "strict": True, "schema": strict_schema(request.reply)}
    return {"type": "json_schema", "json_schema": schema}


def _ask(
    sdk: ModuleType, call: Callable[[bool, bool], Any], request: Request, provider: Provider
) -> tuple[Any, dict[str, Any]]:
    """Ask with a schema and with pictures; a model that refuses one of them is asked without from then on.

    Gives the answer, and how many pictures and faults there were.
    """
    me, faults = (provider.name, request.model), []
    while True:
        pictures = bool(request.pictures) and (*me, "pictures") not in REFUSED
        schema = not has_grammar(request.reply) and (*me, "schema") not in REFUSED
        try:
            answer, new = persist(sdk, lambda s=schema, p=pictures: call(s, p), request, provider)
            return answer, {"faults": faults + new, "pictures": len(request.pictures) if pictures else 0}
        except sdk.BadRequestError as error:
            if pictures and (not schema or ABOUT_PICTURES.search(str(error))):
                REFUSED.add((*me, "pictures"))
            elif schema:
                REFUSED.add((*me, "schema"))
            else:
                raise final(error, request, provider) from None
            faults.append("400")


def _end(reason: str | None, refused: bool = False) -> Literal["done", "cut", "refused"]:
    if refused or reason in ("refusal", "content_filter"):
        return "refused"
    return "cut" if reason in ("length", "max_tokens") else "done"


def _openai_tokens(usage: Any) -> prices.Tokens:
    """Tokens in the words of OpenAI's protocol; DeepSeek says its own for what was at hand."""
    cached = getattr(usage.prompt_tokens_details, "cached_tokens", None)
    cached = cached or getattr(usage, "prompt_cache_hit_tokens", None) or 0
    return prices.Tokens(usage.prompt_tokens, usage.completion_tokens, cached)


def _anthropic_tokens(usage: Any) -> prices.Tokens:
    """Tokens in the words of Anthropic's protocol, whose input leaves out what was cached and what was stored."""
    cached, stored = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return prices.Tokens(usage.input_tokens + cached + stored, usage.output_tokens, cached, stored)


def _taken(request: Request, provider: Provider, tokens: prices.Tokens) -> dict[str, Any]:
    """Tokens as the provider reported them, and their price; None where no price is known."""
    cost = prices.cost(provider.name, request.model, provider.prices, tokens)
    return {"tokens_in": tokens.read, "tokens_out": tokens.written, "tokens_cached": tokens.cached, "cost": cost}
