"""Models behind an API, through the SDK of their makers."""

import os
from functools import cache

from kit.llm.providers import Completion, Provider, Request

MAX_TOKENS = 8192  # room for a reply


@cache
def _openai_client(base_url: str, key: str):
    from openai import OpenAI

    return OpenAI(base_url=base_url or None, api_key=key or "none", max_retries=5)


@cache
def _anthropic_client(key: str):
    from anthropic import Anthropic

    return Anthropic(api_key=key, max_retries=5)


def openai(request: Request, provider: Provider) -> Completion:
    """Ask a server that speaks OpenAI's chat completions."""
    client = _openai_client(provider.base_url, os.environ.get(provider.key, ""))
    answer = client.chat.completions.create(
        model=request.model,
        messages=[{"role": "system", "content": request.system}, *request.messages],  # pyright: ignore
    )
    used = answer.usage
    return Completion(
        text=answer.choices[0].message.content or "",
        tokens_in=used.prompt_tokens if used else 0,
        tokens_out=used.completion_tokens if used else 0,
        cost=price(request.model, answer.model_dump(), provider="openai", flavor="chat"),
    )


def anthropic(request: Request, provider: Provider) -> Completion:
    """Ask Anthropic's messages API."""
    client = _anthropic_client(os.environ[provider.key])
    answer = client.messages.create(
        model=request.model, system=request.system, max_tokens=MAX_TOKENS, messages=request.messages  # pyright: ignore
    )  # fmt: skip
    return Completion(
        text="".join(block.text for block in answer.content if block.type == "text"),
        tokens_in=answer.usage.input_tokens,
        tokens_out=answer.usage.output_tokens,
        cost=price(request.model, answer.model_dump(), provider="anthropic"),
    )


def price(model: str, answer: dict, provider: str, flavor: str | None = None) -> float | None:
    """US dollars for one answer; None where no price is known."""
    from genai_prices import calc_price, extract_usage

    try:
        usage = extract_usage(answer, provider_id=provider, api_flavor=flavor or "default")
        return float(calc_price(usage.usage, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return None
