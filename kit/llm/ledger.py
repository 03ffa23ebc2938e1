"""What the calls of a run took, read from calls/, and what a run will take, reckoned from former ones."""

import bisect
import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from typing import Any, NamedTuple

from kit import show
from kit.llm import prices
from kit.llm.providers import find_provider
from kit.schemas import KitError
from kit.store import load_json
from kit.workspace import Run, all_runs

COUNTED = ("tokens_in", "tokens_cached", "tokens_out")
COLUMNS = ["Stage", "Idea", "Prompt", "Calls", "Faults", "Tokens in", "cached", "out", "Seconds", "Cost"]
CHARACTERS_PER_TOKEN = 3.6  # of English with code, in the tokenizers of 2026; for reckoning ahead only


class CallTable(NamedTuple):
    """Calls, tokens, seconds and cost by stage, idea and prompt; it shows itself as a table or as text."""

    rows: list[list[Any]]
    total: str

    def _repr_html_(self) -> str:
        return show.table(COLUMNS, self.rows, caption=f"Total: {self.total}")

    def frame(self) -> Any:
        """The same as a pandas.DataFrame."""
        from pandas import DataFrame

        return DataFrame(self.rows, columns=COLUMNS)

    def __str__(self) -> str:
        return f"{self.frame().to_string(index=False)}\n\nTotal: {self.total}"


def call_table(run: Run) -> CallTable:
    """What each prompt took, in the order in which they were first asked."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for step in run.calls.finished():
        groups[step["stage"], step["idea"], step["verb"]].append(step)
    rows = []
    for place, steps in groups.items():
        results = [step["result"] for step in steps]
        seconds = round(sum(step["seconds"] for step in steps), 2)
        faults = sum(len(result["faults"]) for result in results)
        tokens = [sum(result[name] for result in results) for name in COUNTED]
        rows.append([*place, len(steps), faults, *tokens, seconds, money(result["cost"] for result in results)])
    sent, new = volume(run)
    return CallTable(rows, f"{total_cost(run)}; {sent:,} characters sent, {new:,} of them new")


def volume(run: Run) -> tuple[int, int]:
    """Characters that a run sent, and those of them that are new: no earlier prompt to the same model began so.

    The rest is what a provider's cache of prompts can serve.
    """
    sent = new = 0
    known: dict[str, list[str]] = defaultdict(list)  # sorted: the likest of the earlier prompts stand beside a new one
    for call in trace(run):
        text = call.turn["system"] + "".join(message["content"] for message in call.turn["messages"])
        earlier = known[call.step["result"]["model"]]
        place = bisect.bisect(earlier, text)
        beside = [_same(text, other) for other in earlier[max(0, place - 1) : place + 1]]
        earlier.insert(place, text)
        sent, new = sent + len(text), new + len(text) - max(beside, default=0)
    return sent, new


def _same(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def total_cost(run: Run) -> str:
    """The cost of a run in words."""
    results = [step["result"] for step in run.calls.finished()]
    offline = results and all(result["model"].startswith("offline") for result in results)
    unseen = sum(result["pictures_given"] - result["pictures"] for result in results if not offline)
    said = money(result["cost"] for result in results) + (" (offline)" if offline else "")
    return said + (f"; {unseen} pictures were left out, for a model that does not see" if unseen else "")


def money(costs: Iterable[float | None]) -> str:
    """Dollars; a part without a known price is named, never counted as nothing."""
    costs = list(costs)
    known = sum(cost for cost in costs if cost is not None)
    unknown = sum(cost is None for cost in costs)
    if unknown and unknown == len(costs):
        return "unknown"
    said = f"${known:.2f}" if known >= 0.1 or known == 0 else f"${known:.4f}"
    return said + (f" + {unknown} call{'s' * (unknown > 1)} of unknown price" if unknown else "")


# --- one call ------------------------------------------------------------------------------------


class Call(NamedTuple):
    """One call with all that was said in it."""

    number: int  # from 1, in the order of the run
    step: dict
    turn: dict  # system, messages, reply

    @property
    def title(self) -> str:
        """Which prompt, for which idea."""
        step = self.step
        again = f", attempt {step['attempt'] + 1}" if step["attempt"] else ""
        return f"{step['stage']}/{step['verb']}" + (f" · {step['idea']}" if step["idea"] else "") + again

    @property
    def took(self) -> str:
        """Tokens, time and cost in words."""
        result = self.step["result"]
        tokens = f"{result['tokens_in']} tokens in ({result['tokens_cached']} cached), {result['tokens_out']} out"
        if result["tokens_reasoning"]:
            tokens += f" ({result['tokens_reasoning']} of them thoughts)"
        faults = f", faults: {', '.join(result['faults'])}" if result["faults"] else ""
        pictures = f", {result['pictures']} pictures" if result["pictures"] else ""
        return f"{result['model']}, {tokens}{pictures}, {self.step['seconds']:.2f} s, {money([result['cost']])}{faults}"

    def __str__(self) -> str:
        parts = [f"# {self.number}. {self.title}", self.took, "## system", self.turn["system"]]
        for message in self.turn["messages"]:
            parts += [f"## {message['role']}", message["content"]]
        return "\n\n".join([*parts, "## reply", self.turn["reply"]])


def trace(run: Run) -> list[Call]:
    """Every call of a run, oldest first, with its prompt and its reply."""
    turns = {}
    for file in [*run.path.glob("chats/*.jsonl"), *run.path.glob("*/chats/*.jsonl")]:
        for line in file.read_text(encoding="utf-8").splitlines():
            turn = json.loads(line)
            turns[turn["call"]] = turn
    steps = [step for step in run.calls.finished() if step["file"] in turns]
    return [Call(number, step, turns[step["file"]]) for number, step in enumerate(steps, 1)]


# --- before a run ---------------------------------------------------------------------------------


def forecast(model: str, template: str, num_ideas: int) -> str:
    """What a run may cost, in words: from what earlier runs of the template said, at this model's price."""
    provider, name = find_provider(model)
    if provider.name == "offline":
        return "$0.00 (offline)"
    sizes = [size for run in all_runs() if run.about.get("template") == template and (size := _size(run))]
    if not sizes:
        return f"unknown: no run of {template!r} has ended yet; `make demo`, offline, would tell how much is said"
    characters_in, characters_out = (sum(part) / len(sizes) for part in zip(*sizes, strict=True))
    read, written = (round(n * num_ideas / CHARACTERS_PER_TOKEN) for n in (characters_in, characters_out))
    price = prices.cost(provider.name, name, provider.prices, prices.Tokens(read, written))
    dollars = f"about ${price:.2f}" if price is not None else "no known price"
    past = f"{len(sizes)} earlier run{'s' * (len(sizes) > 1)}"
    return f"{dollars} for {num_ideas} idea{'s' * (num_ideas > 1)} ({read + written:,} tokens, as in {past})"


def _size(run: Run) -> tuple[float, float] | None:
    """Characters in and out for one idea of a run that went to its end."""
    ideas = [record for record in run.archive().records if (run.path / record.idea.Name / "review.json").is_file()]
    try:
        results = [step["result"] for step in run.calls.finished()]
        said = sum(r["characters_in"] for r in results), sum(len(r["text"]) for r in results)
    except (KitError, KeyError):  # a run of an older form tells nothing
        return None
    return (said[0] / len(ideas), said[1] / len(ideas)) if ideas else None


class Tally:
    """The running total of a run; a finished call never changes and is read once."""

    def __init__(self, run: Run):
        self.run = run
        self._costs: dict[str, float | None] = {}

    def __str__(self) -> str:
        for file in self.run.calls.folder.glob("*.json"):
            if file.name not in self._costs:
                self._costs[file.name] = load_json(file)["result"]["cost"]
        return money(self._costs.values()) if self._costs else ""
