"""The ledger as LaTeX: numbers by key, generated tables, and the appendix that says where each comes from."""

import math
from collections.abc import Collection, Iterator

from kit.results.ledger import Ledger
from kit.schemas import Comparison, Number

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
MARKS = {"better": r"\,\kitbetter", "worse": r"\,\kitworse", "inconclusive": r"\,\kitopen", "not comparable": ""}
FLIPPED = {"better": "worse", "worse": "better"}
COLUMNS = 4  # datasets side by side in one table


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def show_number(value: float, spread: float | None = None) -> str:
    """A number as a paper prints it: two digits of its spread, else four digits in all."""
    if value == int(value) and abs(value) < 1e6 and spread is None:
        return _minus(f"{int(value)}")
    scale = spread if spread and math.isfinite(spread) else abs(value) * 1e-2
    if scale == 0:
        return _minus(f"{value:.4g}")
    size = max(abs(value), scale)
    if not 1e-3 <= size < 1e5:
        exponent = math.floor(math.log10(size))
        return rf"\ensuremath{{{_fixed(value / 10**exponent, scale / 10**exponent)}\times 10^{{{exponent}}}}}"
    return _minus(_fixed(value, scale))


def _fixed(value: float, scale: float) -> str:
    digits = max(0, min(8, 1 - math.floor(math.log10(scale))))
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text  # no minus zero


def _minus(text: str) -> str:
    return rf"\ensuremath{{{text}}}" if text.startswith("-") else text


def show_comparison(c: Comparison) -> str:
    """Difference and interval, as text."""
    if c.low is None or c.high is None or c.difference is None:
        return "not comparable"
    spread = (c.high - c.low) / 4 or None
    low, middle, high = (show_number(x, spread) for x in (c.low, c.difference, c.high))
    return f"{middle} [{low}, {high}]"


# --- numbers.tex and the appendix ---------------------------------------------------------------


def macros(ledger: Ledger) -> str:
    """numbers.tex: what \\val and \\cmp of kit.sty expand to."""
    lines = [rf"\KitNumber{{{n.key}}}{{{_shown(ledger, n)}}}" for n in ledger.numbers]
    for c in ledger.comparisons:
        other = c.model_copy(update={
            "difference": _negated(c.difference), "low": _negated(c.high), "high": _negated(c.low),
            "verdict": FLIPPED.get(c.verdict, c.verdict), "run": c.baseline, "baseline": c.run,
        })  # fmt: skip
        lines += [rf"\KitComparison{{{x.dataset}/{x.metric}}}{{{x.run}}}{{{x.baseline}}}"
                  rf"{{{show_comparison(x)}}}{{{x.verdict}}}" for x in (c, other)]  # fmt: skip
    return "% Generated from results.json.\n" + "\n".join(lines) + "\n"


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _shown(ledger: Ledger, number: Number) -> str:
    if number.statistic == "stderr":
        return show_number(number.value, number.value)
    if number.statistic == "mean":
        return show_number(number.value, _spread(ledger, number.key))
    return show_number(number.value)


def _spread(ledger: Ledger, key: str) -> float | None:
    return next((n.value for n in ledger.numbers if n.key == f"{key}/stderr"), None)


def provenance(ledger: Ledger, used: Collection[str]) -> str:
    """The appendix: one row for each number that the paper uses, with its seeds and its place in a file."""
    rows = [
        rf"\KitSource{{{n.key}}}{{{_shown(ledger, n)}}}{{{_seeds(n)}}}{{{_breakable(f'{n.file} {n.pointer}')}}}"
        for n in ledger.numbers if n.key in used
    ]  # fmt: skip
    return "\\begin{kitsources}\n" + "\n".join(rows) + "\n\\end{kitsources}\n" if rows else ""


def _seeds(number: Number) -> str:
    return ", ".join(f"{value:.4g}" for value in number.seeds[:8]) if number.seeds else "--"


def _breakable(text: str) -> str:
    return escape(text).replace("/", r"/\allowbreak ").replace(r"\_", r"\_\allowbreak ")


# --- tables -------------------------------------------------------------------------------------


def tables(ledger: Ledger) -> dict[str, str]:
    """Whole table floats by name: results, comparisons, and timing where there are times."""
    made = {"results": _results(ledger, ledger.headline(), "results", _results_caption(ledger))}
    if any(c.low is not None for c in ledger.comparisons if c.metric in ledger.headline()):
        made["comparisons"] = _comparisons(ledger)
    times = [name for name, about in ledger.metrics.items() if about.timing]
    if times:
        words = "Times in seconds, of the whole batch of seeds and datasets measured together and alone on the machine."
        made["timing"] = _results(ledger, times, "timing", words)
    return made


def _results_caption(ledger: Ledger) -> str:
    seeds = int(ledger.value("summary/num_seeds").value)
    words = f"Mean $\\pm$ standard error over {seeds} seeds. " if seeds > 1 else "Single runs, without a spread. "
    return words + r"Against the baseline: \kitbetter\ better, \kitworse\ worse, \kitopen\ inconclusive."


def _results(ledger: Ledger, metrics: list[str], label: str, caption: str) -> str:
    parts = []
    for start in range(0, len(ledger.datasets()), COLUMNS):
        datasets = ledger.datasets()[start : start + COLUMNS]
        head = " & ".join(["", *map(escape, datasets)]) + r" \\"
        rows = [row for metric in metrics for row in _metric_rows(ledger, metric, datasets)]
        columns = "l" + "r" * len(datasets)
        parts.append("\n".join([rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", head, *rows,
                                r"\bottomrule", r"\end{tabular}"]))  # fmt: skip
    return _float(label, caption, "\n\n\\medskip\n\n".join(parts))


def _metric_rows(ledger: Ledger, metric: str, datasets: list[str]) -> Iterator[str]:
    about = ledger.metrics[metric]
    arrow = {"min": r" $\downarrow$", "max": r" $\uparrow$"}.get(about.direction or "", "")
    unit = f" ({escape(about.unit)})" if about.unit else ""
    name = escape(about.label or metric.replace("_", " "))
    yield rf"\midrule \multicolumn{{{len(datasets) + 1}}}{{@{{}}l}}{{\emph{{{name}{unit}{arrow}}}}} \\"
    for run, title in ledger.runs.items():
        yield " & ".join([escape(title), *(_cell(ledger, run, d, metric) for d in datasets)]) + r" \\"


def _cell(ledger: Ledger, run: str, dataset: str, metric: str) -> str:
    key = f"{run}/{dataset}/{metric}"
    number = next((n for n in ledger.numbers if n.key == key), None)
    if number is None:
        return "--"
    spread = _spread(ledger, key)
    text = show_number(number.value, spread)
    if spread:
        text += rf"\,$\pm$\,{show_number(spread, spread)}"
    comparison = ledger.find(dataset, metric, run)
    about = ledger.metrics[metric]
    if run == "run_0" or comparison is None or about.timing:
        return text + (r"\kitnomark" if not about.timing else "")
    return text + (MARKS[comparison.verdict] or r"\kitnomark")


def _comparisons(ledger: Ledger) -> str:
    rows = []
    for metric in ledger.headline():
        name = ledger.metrics[metric].label or metric.replace("_", " ")
        rows.append(rf"\midrule \multicolumn{{4}}{{@{{}}l}}{{\emph{{{escape(name)}}}}} \\")
        for c in [c for c in ledger.comparisons if c.metric == metric]:
            shown = show_comparison(c)
            rows.append(" & ".join([escape(ledger.runs[c.run]), escape(c.dataset), shown, c.verdict]) + r" \\")
    caption = (
        "Each run less the baseline: mean difference with its 95\\,\\% interval, "
        f"{_methods(ledger)}, and the verdict that follows from the interval and the metric's direction."
    )
    body = [r"\begin{tabular}{@{}llrl@{}}", r"\toprule", r"Run & Dataset & Difference [interval] & Verdict \\", *rows,
            r"\bottomrule", r"\end{tabular}"]  # fmt: skip
    return _float("comparisons", caption, "\n".join(body))


def _methods(ledger: Ledger) -> str:
    names = {"paired t": "paired over seeds", "Welch": "by Welch's method", "none": ""}
    return " or ".join(dict.fromkeys(names[c.method] for c in ledger.comparisons if names[c.method]))


def _float(label: str, caption: str, body: str) -> str:
    return "\n".join([
        "% Generated from results.json.", r"\begin{table}[tbp]", r"\centering", rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}", r"\footnotesize\setlength{\tabcolsep}{4.5pt}", body, r"\end{table}", "",
    ])  # fmt: skip
