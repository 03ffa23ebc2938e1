"""The ledger as tables: whole LaTeX floats, none wider than the text and none longer than a page."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from kit.letters import escape
from kit.results.ledger import Ledger
from kit.results.numbers import plain, show_comparison, show_effect, show_measured
from kit.results.told import groups
from kit.schemas import Comparison, Yardstick

MARKS = {"better": r"\kitbetter", "worse": r"\kitworse", "equivalent": r"\kitnear", "inconclusive": r"\kitopen",
         "identical": r"\kitsame", "not comparable": r"\kitnomark"}  # fmt: skip
METHODS = {"paired t": "paired over seeds", "Welch": "by Welch's method"}
LINES = 44  # in one float
LETTERS = 104  # side by side in one table, at the size of its type
LONG = 24  # letters of a run's name in one line
Row = tuple[int, str]  # the lines that it takes, and its LaTeX
T = TypeVar("T")


def tables(ledger: Ledger) -> dict[str, str]:
    """Whole table floats by name: results, comparisons, and timing where there are times."""
    made = {"results": _values(ledger, ledger.headline(), "results", _results_caption(ledger))}
    if any(_speaking(ledger, metric) for metric in ledger.headline()):
        made["comparisons"] = _comparisons(ledger)
    times = [name for name, about in ledger.metrics.items() if about.timing]
    if times:
        made["timing"] = _values(ledger, times, "timing", _timing_caption(ledger, times))
    return made


# --- values -------------------------------------------------------------------------------------


def _values(ledger: Ledger, metrics: list[str], label: str, caption: str) -> str:
    datasets = ledger.datasets()
    columns = {name: escape(name) for name in datasets}
    if _shared(ledger, metrics):
        columns = {datasets[0]: "all datasets"}
    parts = []
    for names in _chunks(list(columns), _side_by_side(ledger, metrics, list(columns))):
        head = " & ".join(["", *(columns[name] for name in names)])
        for rows in _pack([list(_metric_rows(ledger, metric, names)) for metric in metrics]):
            parts.append(_tabular(_name_column(ledger.runs.values()) + "r" * len(names), head, rows))
    return _floats(label, caption, parts)


def _shared(ledger: Ledger, metrics: list[str]) -> bool:
    """Whether each run has one value of a metric for all its datasets, as for a time taken of all together."""
    values: dict[tuple[str, str], list[float]] = {}
    for n in ledger.numbers:
        if n.metric in metrics and n.statistic == "mean":
            values.setdefault((n.run, n.metric), []).append(n.value)
    timed = all(ledger.metrics[metric].timing for metric in metrics)
    return timed and all(len(v) > 1 and len(set(v)) == 1 for v in values.values())


def _side_by_side(ledger: Ledger, metrics: list[str], datasets: list[str]) -> int:
    """How many datasets fit beside each other."""
    cells = [len(_plain_cell(ledger, run, d, m)) for run in ledger.runs for d in datasets for m in metrics]
    room = LETTERS - min(LONG, max(map(len, ledger.runs.values())))
    most = max(1, room // (max([*cells, *map(len, datasets)]) + 2))
    blocks = math.ceil(len(datasets) / most)
    return math.ceil(len(datasets) / blocks)


def _metric_rows(ledger: Ledger, metric: str, datasets: Sequence[str]) -> Iterator[Row]:
    about = ledger.metrics[metric]
    arrow = {"min": r" $\downarrow$", "max": r" $\uparrow$"}.get(about.direction or "", "")
    unit = f" ({escape(about.unit)})" if about.unit else ""
    heading = rf"\emph{{{_label(ledger, metric)}{unit}{'' if about.timing else arrow}}}"
    yield _heading(heading, len(datasets) + 1)
    shared = {list(ledger.runs)[-1]: "the baseline, and all runs"}  # under the last, which has its sign
    runs = shared if _is_one_for_all(ledger, metric) else ledger.runs
    for run, title in runs.items():
        name = escape(title) + (r"\,$^\dagger$" if run in ledger.flagged else "")
        yield _lines(title), " & ".join([name, *(_cell(ledger, run, d, metric) for d in datasets)]) + r" \\"


def _is_one_for_all(ledger: Ledger, metric: str) -> bool:
    """Whether every run has the baseline's values, in every seed of every dataset."""
    mine = [c for c in ledger.comparisons if c.metric == metric]
    return {c.verdict for c in mine} == {"identical"} and {c.run for c in mine} == {*ledger.runs} - {"run_0"}


def _found(ledger: Ledger, run: str, dataset: str, metric: str) -> tuple[float, float | None] | None:
    numbers = {n.statistic: n.value for n in ledger.numbers if (n.run, n.dataset, n.metric) == (run, dataset, metric)}
    return (numbers["mean"], numbers.get("stderr")) if numbers else None


def _plain_cell(ledger: Ledger, run: str, dataset: str, metric: str) -> str:
    found = _found(ledger, run, dataset, metric)
    return plain(*found) if found else ""


def _cell(ledger: Ledger, run: str, dataset: str, metric: str) -> str:
    found = _found(ledger, run, dataset, metric)
    if found is None:
        return "--"
    text = show_measured(*found)
    if ledger.metrics[metric].timing:
        return text
    comparison = ledger.find(dataset, metric, run)
    return text + r"\," + (MARKS[comparison.verdict] if comparison else r"\kitnomark")


def _results_caption(ledger: Ledger) -> str:
    seeds = sorted({int(n.value) for n in ledger.numbers if n.key.endswith("/num_seeds") and n.run})
    spread = any(n.statistic == "stderr" for n in ledger.numbers)
    over = f" over {' to '.join(dict.fromkeys((str(seeds[0]), str(seeds[-1]))))} seeds" if seeds[-1] > 1 else ""
    words = (
        f"Results of all runs: mean $\\pm$ standard error{over}." if spread else "Results of all runs, each made once."
    )
    verdicts = [v for v in MARKS if v != "not comparable" and ledger.verdicts()[v]]
    if verdicts:
        words += " Against the baseline: " + ", ".join(rf"{MARKS[v]}\,{v}" for v in verdicts) + "."
    if ledger.flagged:
        words += r" $^\dagger$ changed the code that measures it, and is compared with nothing."
    return words


def _timing_caption(ledger: Ledger, times: list[str]) -> str:
    words = "Wall-clock times of each run"
    return words + (", for all its datasets and seeds together." if _shared(ledger, times) else ".")


# --- comparisons --------------------------------------------------------------------------------


def _comparisons(ledger: Ledger) -> str:
    units: list[list[Row]] = []
    for metric in ledger.headline():
        speaking = _speaking(ledger, metric)
        if not speaking:
            continue
        first, *others = [list(_group_rows(ledger, group)) for group in speaking]
        units += [[_heading(rf"\emph{{{_label(ledger, metric)}}}", 5), *first], *others]
    head = r"Run & Dataset & Difference [interval] & Effect & Verdict"
    names = _name_column(_pair(ledger, c) for c in ledger.comparisons if c.metric in ledger.headline())
    parts = [_tabular(names + "lrrl", head, rows) for rows in _pack(units)]
    level = f"{100 * ledger.comparisons[0].confidence:g}"
    methods = " or ".join(dict.fromkeys(METHODS[c.method] for c in ledger.comparisons if c.method in METHODS))
    others = any(c.baseline != "run_0" for c in ledger.comparisons)
    reference = "the baseline, or what is named after it" if others else "the baseline"
    caption = (
        rf"Each run less {reference}: mean difference with its {level}\,\% interval, {methods}; its size in units of "
        "its standard deviation over seeds; and the verdict that follows from interval and direction."
    )
    if margins := [margin for name, margin in ledger.margins.items() if name in ledger.headline()]:
        said = ", ".join(f"{escape(str(margin))} for {_label(ledger, margin.metric)}" for margin in margins)
        caption += f" Equivalent: the whole interval lies within a margin that the plan named ({said})."
    for stick in ledger.yardsticks:
        caption += f" {escape(stick.title)}: {_made_of(ledger, stick)}, seed by seed."
    shown = sum(len(group) for metric in ledger.headline() for group in _speaking(ledger, metric))
    if shown < ledger.verdicts().total():
        caption += " What is identical in every seed, or cannot be compared, has no row."
    return _floats("comparisons", caption, parts)


def _made_of(ledger: Ledger, stick: Yardstick) -> str:
    parts = [rf"${part.weight:g}\,\times$ {escape(ledger.runs[part.run])}" for part in stick.weights]
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _speaking(ledger: Ledger, metric: str) -> list[list[Comparison]]:
    """The comparisons by metric in groups of two runs, but for those that are all identical or not comparable."""
    mine = groups(c for c in ledger.comparisons if c.metric == metric).values()
    return [group for group in mine if not {c.verdict for c in group} <= {"identical", "not comparable"}]


def _pair(ledger: Ledger, c: Comparison) -> str:
    """Who is held against whom."""
    return ledger.runs[c.run] + ("" if c.baseline == "run_0" else f" vs. {ledger.label(c.baseline)}")


def _group_rows(ledger: Ledger, group: list[Comparison]) -> Iterator[Row]:
    """The comparisons of one run on one metric; its name stands once, and may run down over the rows below."""
    for place, c in enumerate(group):
        title = _pair(ledger, c) if place == 0 else ""
        over = 1 < _lines(title) <= len(group)
        name = rf"\kitover{{{escape(title)}}}" if over else escape(title)
        effect = "--" if c.effect is None else show_effect(c.effect)
        shown = "--" if c.low is None else show_comparison(c)
        end = r" \\[1.5pt]" if place == len(group) - 1 else r" \\"
        cells = [name, escape(c.dataset), shown, effect, rf"{MARKS[c.verdict]}\,{c.verdict}"]
        yield 1 if over else _lines(title), " & ".join(cells) + end


# --- the form of all tables ---------------------------------------------------------------------


def _label(ledger: Ledger, metric: str) -> str:
    return escape(ledger.metrics[metric].label or metric.replace("_", " "))


def _name_column(titles: Iterable[str]) -> str:
    return "K" if max(map(len, titles)) > LONG else "l"


def _lines(title: str) -> int:
    """How many lines the name of a run takes."""
    return max(1, math.ceil(1.2 * len(title) / LONG)) if len(title) > LONG else 1


def _heading(text: str, width: int) -> Row:
    return 1, rf"\midrule \multicolumn{{{width}}}{{@{{}}l}}{{{text}}} \\"


def _tabular(columns: str, head: str, rows: Sequence[Row]) -> Row:
    top = [] if rows[0][1].startswith(r"\midrule") else [r"\midrule"]
    lines = [rf"\begin{{kitfit}}\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", rf"{head} \\", *top,
             *(text for _, text in rows), r"\bottomrule", r"\end{tabular}\end{kitfit}"]  # fmt: skip
    return sum(count for count, _ in rows), "\n".join(lines)


def _floats(label: str, caption: str, parts: Sequence[Row]) -> str:
    """As many floats as it takes; those after the first say what they continue."""
    made = []
    for number, some in enumerate(_pack([[part] for part in parts])):
        words = rf"Table~\ref{{tab:{label}}}, continued." if number else caption
        mark = rf"\label{{tab:{label}}}" if number == 0 else ""
        body = "\n\n\\medskip\n\n".join(tabular for _, tabular in some)
        made.append("\n".join([r"\begin{table}[tbp]", r"\centering", rf"\caption{{{words}}}{mark}",
                               r"\footnotesize\setlength{\tabcolsep}{4pt}", body, r"\end{table}", ""]))  # fmt: skip
    return "\n".join(["% Generated from results.json.", *made])


def _pack(units: Sequence[list[Row]]) -> list[list[Row]]:
    """Units that belong together on as few pages as they need."""
    pages: list[list[Row]] = []
    for unit in (part for whole in units for part in _chunks(whole, LINES)):
        if pages and sum(lines for lines, _ in [*pages[-1], *unit]) <= LINES:
            pages[-1] += unit
        else:
            pages.append(list(unit))
    return pages


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    yield from (items[start : start + size] for start in range(0, len(items), size))
