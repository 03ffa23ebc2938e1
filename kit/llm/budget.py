"""What a run may spend: before each call the worst case is held against what is left."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kit import process
from kit.llm import prices
from kit.llm.pictures import TOKENS as PICTURE_TOKENS
from kit.llm.providers import Provider, Request
from kit.schemas import KitError
from kit.store import Intent, load_json, locked
from kit.workspace import Run

ROOM = 8192  # tokens that a reply may take, where there is a budget
TOKENS_PER_BYTE = 0.5  # the most that tokenizers make of text in any language, less than half of it in English
PARTS = {
    "dollars": r"\$\s*\d[\d_.]*|\d[\d_.]*\s*dollars?",
    "tokens": r"\d[\d_]*\s*tokens?",
    "calls": r"\d[\d_]*\s*calls?",
}
FRAME = 4096  # tokens that a hand puts around the messages each time that it asks
PAUSE = 0.05  # seconds between two looks at what is set aside
FORM = '"5 dollars", "2_000_000 tokens", "300 calls", or several of them with commas between'


class BudgetError(KitError):
    """The next call could cost more than is left; it was not made."""


class Amount(NamedTuple):
    """Dollars, tokens in and out, calls; None where it is not known or not limited."""

    dollars: float | None = None
    tokens: float | None = None
    calls: float | None = None

    def __str__(self) -> str:
        said = [f"${self.dollars:.4g}" if self.dollars is not None else "",
                f"{self.tokens:.0f} tokens" if self.tokens is not None else "",
                f"{self.calls:.0f} calls" if self.calls is not None else ""]  # fmt: skip
        return ", ".join(filter(None, said))


def parse(text: str) -> Amount:
    """The amount that a person wrote; KitError says how to write one."""
    left, found = text, {}
    for name, pattern in PARTS.items():
        if match := re.search(pattern, left):
            found[name] = float(re.sub(r"[^\d.]", "", match[0]))
            left = left.replace(match[0], "", 1)
    if left.strip(" ,") or (text.strip() and not found):
        raise KitError(f"The budget {text!r} cannot be read. Write {FORM}.")
    return Amount(**found)


def refuse_unknown_price(limits: tuple[Amount, Amount], provider: Provider, model: str) -> None:
    """A budget in dollars needs a price to reckon with."""
    if all(limit.dollars is None for limit in limits):
        return
    if prices.cost(provider.name, model, provider.prices, prices.Tokens(1, 1)) is None:
        raise BudgetError(
            f"No price is known for {provider.name}/{model}, so a budget in dollars cannot be kept: give it in tokens "
            f'(budget="2_000_000 tokens"), or add the price to {prices.OWN}.'
        )


class Purse:
    """The budget of a run and of each of its ideas, shared by all processes that work on the run."""

    def __init__(self, run: Run):
        self.run = run
        self.whole, self.each = parse(run.about.get("budget", "")), parse(run.about.get("idea_budget", ""))
        self._known: dict[str, dict] = {}  # a finished call never changes: read once

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to keep to."""
        return any(limit is not None for limit in (*self.whole, *self.each))

    @contextmanager
    def hold(self, request: Request, provider: Provider, idea: str, intent: Intent) -> Iterator[Request]:
        """Set the worst case of a call aside while it is made; BudgetError when it could exceed what is left."""
        if not self.is_limited or provider.name == "offline":
            yield request
            return
        request = request._replace(room=request.room or ROOM)
        worst = _worst(request, provider)
        while not self._set_aside(worst, idea, intent):
            time.sleep(PAUSE)  # what others have set aside is mostly not used up
        yield request

    def _set_aside(self, worst: Amount, idea: str, intent: Intent) -> bool:
        """Put the worst case on record; False while calls under way hold too much, BudgetError where it cannot fit."""
        with locked(self.run.path / "calls" / "locks" / "budget.lock"):
            fits = self._fits(worst, self.whole, "the run", "", "budget", intent)
            if idea:
                fits &= self._fits(worst, self.each, f"the idea {idea}", idea, "idea_budget", intent)
            if fits:
                intent.write(worst=worst._asdict(), idea=idea)
            return fits

    def _fits(self, worst: Amount, limit: Amount, whose: str, idea: str, name: str, intent: Intent) -> bool:
        under_way = self._under_way(idea, intent)  # first: a call that ends meanwhile counts twice rather than never
        spent, fits = self._spent(idea), True
        for kind, most in limit._asdict().items():
            if most is None:
                continue
            at_least = getattr(spent, kind) + (getattr(worst, kind) or 0)
            if at_least > most:
                raise BudgetError(
                    f"The budget of {whose} is {limit}; {spent} are spent, and the next call could take {worst}. "
                    f"It was not made. Raise `{name}` and run again: it goes on from here."
                )
            fits &= at_least + sum(call["worst"][kind] or 0 for call in under_way) <= most
        return fits

    def _spent(self, idea: str) -> Amount:
        for file in (self.run.path / "calls").glob("*.json"):
            if file.name not in self._known:
                self._known[file.name] = load_json(file)
        results = [call["result"] for call in self._known.values() if idea in ("", call["idea"])]
        return Amount(
            sum(r["cost"] or 0 for r in results), sum(r["tokens_in"] + r["tokens_out"] for r in results),
            sum(r.get("turns", 1) for r in results if not r["model"].startswith("offline")),
        )  # fmt: skip

    def _under_way(self, idea: str, mine: Intent) -> list[dict]:
        """Calls that are being made now, by this process and by others that are still there."""
        found = []
        for file in (self.run.path / "calls" / "intents").glob("*.json"):
            try:
                left = load_json(file)
            except FileNotFoundError:  # it ended while we looked
                continue
            there = file != mine.path and "worst" in left and process.identity(left["pid"]) == left["identity"]
            if there and idea in ("", left["idea"]):
                found.append(left)
        return found


def _worst(request: Request, provider: Provider) -> Amount:
    """The most that a call can take: every byte counted high, the room for the reply used up, in every turn."""
    text = request.system + request.beside + "".join(message["content"] for message in request.messages)
    read = round(TOKENS_PER_BYTE * len(text.encode())) + PICTURE_TOKENS * len(request.pictures)
    if (turns := request.turns) > 1:  # each reads what was said in those before it, and their replies
        read = turns * (read + FRAME) + turns * (turns - 1) // 2 * request.room
    tokens = prices.Tokens(read, turns * request.room)
    dollars = prices.cost(provider.name, request.model, provider.prices, tokens)
    return Amount(dollars, tokens.read + tokens.written, turns)
