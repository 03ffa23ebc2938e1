"""What the calls of a run took, read from calls/."""

from collections import defaultdict
from collections.abc import Callable

from kit import show
from kit.workspace import Run


def call_table(run: Run) -> show.Html:
    """Calls, tokens, seconds and cost by stage, idea and prompt."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for step in run.calls.finished():
        groups[step["stage"], step["idea"], step["verb"]].append(step)
    rows = [
        [*place, len(steps), _sum(steps, "tokens_in"), _sum(steps, "tokens_out"),
         round(sum(s["seconds"] for s in steps), 2), money([s["result"]["cost"] for s in steps])]
        for place, steps in groups.items()
    ]  # fmt: skip
    columns = ["Stage", "Idea", "Prompt", "Calls", "Tokens in", "Tokens out", "Seconds", "Cost"]
    return show.table(columns, rows, caption=f"Total: {total_cost(run)}")


def total_cost(run: Run) -> str:
    """The cost of a run in words."""
    steps = run.calls.finished()
    offline = steps and all(step["result"]["model"].startswith("offline") for step in steps)
    return money([step["result"]["cost"] for step in steps]) + (" (offline)" if offline else "")


def money(costs: list[float | None]) -> str:
    """Dollars; a part without a known price is named, never counted as nothing."""
    known = sum(cost for cost in costs if cost is not None)
    unknown = sum(cost is None for cost in costs)
    return f"${known:.2f}" + (f" + {unknown} calls of unknown price" if unknown else "")


def _sum(steps: list[dict], field: str) -> int:
    add: Callable = lambda step: step["result"][field]  # noqa: E731
    return sum(map(add, steps))
