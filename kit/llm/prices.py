"""What tokens cost: from prices.toml, else from genai-prices; a model without a price has none, never zero."""

import fnmatch
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kit.schemas import KitError

OWN = Path(__file__).parent / "prices.toml"


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid")
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


class Tokens(NamedTuple):
    """What a call took, in tokens; `read` counts all input, `cached` the part of it that was at hand."""

    read: int
    written: int
    cached: int = 0
    stored: int = 0  # part of the input that the provider put into its cache, at a price of its own


def cost(provider: str, model: str, family: str, tokens: Tokens) -> float | None:
    """US dollars for a call, or None where no price is known; `family` is the provider's name in genai-prices."""
    name = f"{provider}/{model}" if model else provider
    for pattern, price in _entries().items():
        if fnmatch.fnmatchcase(name, pattern):
            fresh, cheap = tokens.read - tokens.cached, price.input if price.cached is None else price.cached
            return (fresh * price.input + tokens.cached * cheap + tokens.written * price.output) / 1e6
    return _published(model, family, tokens) if family else None


def _published(model: str, family: str, tokens: Tokens) -> float | None:
    from genai_prices import Usage, calc_price  # a quarter of a second that a run without a key need not spend

    usage = Usage(input_tokens=tokens.read, output_tokens=tokens.written, cache_read_tokens=tokens.cached,
                  cache_write_tokens=tokens.stored)  # fmt: skip
    try:
        return float(calc_price(usage, model_ref=model, provider_id=family).total_price)
    except LookupError:
        return None


def _entries() -> dict[str, Price]:
    yours = os.environ.get("KIT_PRICES", "")
    first = _read(Path(yours)) if yours else {}
    return first | {name: price for name, price in _read(OWN).items() if name not in first}


@cache
def _read(file: Path) -> dict[str, Price]:
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Price]).validate_python(entries)
    except (OSError, ValueError, ValidationError) as error:
        raise KitError(f"The prices in {file} cannot be read; see {OWN} for their form. {error}") from error
