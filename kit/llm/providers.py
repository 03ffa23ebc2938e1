"""Who answers: a name before the slash, and how to reach it.

`PROVIDERS` is the only table. A provider's `answer` is a function from a `Request` to a `Completion`; it is named
as text and imported when it is first used, so that nothing is loaded that a run does not need.
"""

import difflib
import importlib
import ipaddress
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel

from kit.schemas import KitError
from kit.workspace import project_root


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
    pictures: Sequence[Path] = ()  # shown with the first message, to a model that sees
    say: Callable[[str], None] = lambda remark: None  # where a wait is remarked on
    beside: str = ""  # a file that is read with the messages
    turns: int = 1  # how often a model may be asked for this one answer: a hand mends its own slips


class Completion(BaseModel):
    """One answer and what it took."""

    text: str
    tokens_in: int = 0  # all that was read, cached or not
    tokens_out: int = 0  # all that was written, thoughts too
    tokens_cached: int = 0  # read from the provider's cache
    tokens_reasoning: int = 0
    pictures: int = 0  # how many the model was shown
    turns: int = 1  # how often a model was asked for it
    faults: list[str] = []  # what went wrong before the answer came
    end: Literal["done", "cut", "refused"] = "done"
    cost: float | None = None  # US dollars; None: no price is known


class Provider(NamedTuple):
    """How a provider is reached."""

    answer: str  # module:function
    key: str = ""  # environment variable that holds the key
    base_url: str = ""  # <NAME>_BASE_URL in the environment wins
    prices: str = ""  # its name in genai-prices; empty: no price is known but from prices.toml
    client: str = ""  # class of the SDK, where it is not the usual one
    about: str = ""
    name: str = ""

    @property
    def secret(self) -> str:
        """The key itself."""
        return os.environ.get(self.key, "") if self.key else ""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, and so needs no key."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:  # a name
            return False


OPENAI, ANTHROPIC = "kit.llm.remote:openai", "kit.llm.remote:anthropic"
PROVIDERS = {
    "offline": Provider("kit.offline:answer", about="the scripted scientist: no key, no network"),
    "openai": Provider(OPENAI, "OPENAI_API_KEY", prices="openai", about="OpenAI, or a server at OPENAI_BASE_URL"),
    "anthropic": Provider(ANTHROPIC, "ANTHROPIC_API_KEY", prices="anthropic", about="Anthropic"),
    "bedrock": Provider(ANTHROPIC, prices="aws", client="AnthropicBedrock", about="Claude on Amazon Bedrock"),
    "vertex": Provider(ANTHROPIC, prices="google", client="AnthropicVertex", about="Claude on Google Vertex"),
    "deepseek": Provider(OPENAI, "DEEPSEEK_API_KEY", "https://api.deepseek.com", "deepseek"),
    "openrouter": Provider(OPENAI, "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", "openrouter"),
    "gemini": Provider(OPENAI, "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/openai/", "google"),
    "ollama": Provider(OPENAI, "", "http://127.0.0.1:11434/v1", about="models on this machine"),
    "vllm": Provider(OPENAI, "", "http://127.0.0.1:8000/v1", about="a vLLM server"),
}  # fmt: skip


def find_provider(model: str) -> tuple[Provider, str]:
    """The provider of `provider/model` or of `https://server/v1#model`, and the model's own name."""
    _read_env_file()
    name, _, rest = model.partition("/")
    if model.startswith(("http://", "https://")):
        name, (address, _, rest) = "server", model.partition("#")
        provider = Provider(OPENAI, "SERVER_API_KEY" if os.environ.get("SERVER_API_KEY") else "", address)
    else:
        provider = PROVIDERS.get(name)
    if provider is None or (name != "offline" and not rest):
        close = difflib.get_close_matches(name, PROVIDERS, 1)
        raise KitError(
            f"The model {model!r} is unknown. Write provider/model, e.g. openai/gpt-4o, a server and its model as "
            f"http://127.0.0.1:8000/v1#model, or offline. Providers: {', '.join(PROVIDERS)}."
            + (f" Did you mean {close[0]}?" if close else "")
        )
    base_url = os.environ.get(f"{name.upper()}_BASE_URL") or provider.base_url
    provider = provider._replace(name=name, base_url=base_url)
    if provider.key and not provider.secret and not provider.is_local:
        raise KitError(
            f"The model {model!r} needs a key: put {provider.key}=... into the environment or into .env, "
            f"or use model=offline, which needs none."
        )
    return provider, rest


def _read_env_file() -> None:
    """Take keys from .env where the environment has none: a kernel was not started by the command line."""
    from dotenv import load_dotenv

    load_dotenv(project_root() / ".env")


def load_answer(provider: Provider) -> Callable[[Request, Provider], Completion]:
    """The function behind a provider."""
    module, _, function = provider.answer.partition(":")
    return getattr(importlib.import_module(module), function)
