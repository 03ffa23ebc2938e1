"""Who answers: a name before the slash, and how to reach it.

`PROVIDERS` is the only table. A provider is a function from a `Request` to a `Completion`; it is named as
text and imported when it is first used, so that nothing is loaded that a run does not need.
"""

import difflib
import importlib
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from kit.schemas import KitError


class Request(NamedTuple):
    """One call: what a model reads, and for the scripted model the values behind it."""

    model: str  # without the provider
    prompt: str  # stage/verb
    system: str
    messages: list[dict[str, str]]  # role and content, oldest first
    values: dict[str, Any]  # the typed values that the prompt was rendered from
    reply: type[BaseModel]
    seed: int
    index: int
    room: int = 0  # tokens for the reply; 0: as the provider does by itself
    say: Callable[[str], None] = lambda remark: None  # where a wait is remarked on


class Completion(BaseModel):
    """One answer and what it took."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_reasoning: int = 0
    faults: list[str] = []  # what went wrong before the answer came
    end: Literal["done", "cut", "refused"] = "done"
    cost: float | None = None  # US dollars; None: no price is known


class Provider(NamedTuple):
    """How a provider is reached."""

    answer: str  # module:function
    key: str = ""  # environment variable that holds the key
    base_url: str = ""
    prices: str = ""  # the provider's name in genai-prices, where it differs from its protocol
    about: str = ""


PROVIDERS = {
    "offline": Provider("kit.offline:answer", about="the scripted scientist: no key, no network"),
    "openai": Provider("kit.llm.remote:openai", "OPENAI_API_KEY", about="OpenAI, or any server at OPENAI_BASE_URL"),
    "anthropic": Provider("kit.llm.remote:anthropic", "ANTHROPIC_API_KEY", about="Anthropic"),
    "deepseek": Provider("kit.llm.remote:openai", "DEEPSEEK_API_KEY", "https://api.deepseek.com"),
    "openrouter": Provider("kit.llm.remote:openai", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1"),
    "gemini": Provider("kit.llm.remote:openai", "GEMINI_API_KEY",
                       "https://generativelanguage.googleapis.com/v1beta/openai/"),
    "ollama": Provider("kit.llm.remote:openai", "", "http://127.0.0.1:11434/v1"),
}  # fmt: skip


def find_provider(model: str) -> tuple[Provider, str]:
    """The provider of `provider/model`, and the model's own name."""
    name, _, rest = model.partition("/")
    if name not in PROVIDERS or (name != "offline" and not rest):
        close = difflib.get_close_matches(name, PROVIDERS, 1)
        raise KitError(
            f"The model {model!r} is unknown. Write provider/model, e.g. openai/gpt-4o, or offline. "
            f"Providers: {', '.join(PROVIDERS)}." + (f" Did you mean {close[0]}?" if close else "")
        )
    provider = PROVIDERS[name]
    if provider.key and not os.environ.get(provider.key):
        raise KitError(
            f"The model {model!r} needs a key: put {provider.key}=... into the environment or into .env, "
            f"or use model=offline, which needs none."
        )
    return provider, rest


def load_answer(provider: Provider) -> Callable[[Request, Provider], Completion]:
    """The function behind a provider."""
    module, _, function = provider.answer.partition(":")
    return getattr(importlib.import_module(module), function)
