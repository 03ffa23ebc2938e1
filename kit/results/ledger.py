"""The ledger: every number with where it comes from, every comparison with its verdict."""

import difflib
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from pydantic import BaseModel

from kit import show
from kit.results.measured import Measured, mix, pointer, read_final_info, stderr
from kit.results.numbers import plain
from kit.results.statistics import CONFIDENCE, compare, no_verdict
from kit.results.told import tell_comparisons, tell_numbers
from kit.schemas import Comparison, KitError, Margin, NewMetric, Number, Plan, Probed, Yardstick
from kit.template import Metric, Preset, Template

MARKS = {"better": "▲", "worse": "▼", "equivalent": "≈", "inconclusive": "○", "identical": "=", "not comparable": "–"}
JUDGED = ("better", "worse", "equivalent", "inconclusive")  # the verdicts that come from an interval
RARE = ("equivalent", "identical")  # counted where there are any
TONES: dict[str, show.Tone] = {**dict.fromkeys(MARKS, "soft"), "better": "good", "worse": "bad"}


class Ledger(BaseModel):
    """The numbers of one idea."""

    runs: dict[str, str]  # run_1 → the label that tables show
    metrics: dict[str, Metric]
    numbers: list[Number] = []
    comparisons: list[Comparison] = []
    flagged: dict[str, list[str]] = {}  # runs that changed what measures them, and which parts
    preset: str = ""  # size of the experiment; empty: as the template does by itself
    margins: dict[str, Margin] = {}  # by metric
    yardsticks: list[Yardstick] = []  # of the plan, in terms of run_1 instead of an arm's name
    beside: list[str] = []  # runs that were made while others went on: their times say little

    def value(self, key: str) -> Number:
        """The number of that key; KitError names the closest ones."""
        keys = {number.key: number for number in self.numbers}
        if key not in keys:
            close = ", ".join(difflib.get_close_matches(key, keys, 3, cutoff=0.3))
            raise KitError(f"The ledger has no number {key!r}. Close ones: {close or 'none'}.")
        return keys[key]

    def find(self, dataset: str, metric: str, run: str, baseline: str = "run_0") -> Comparison | None:
        """The comparison of two runs, if there is one."""
        wanted = (dataset, metric, run, baseline)
        return next((c for c in self.comparisons if (c.dataset, c.metric, c.run, c.baseline) == wanted), None)

    def label(self, run: str) -> str:
        """How tables call a run, or a yardstick."""
        return self.runs.get(run) or next(stick.title for stick in self.yardsticks if stick.name == run)

    def datasets(self) -> list[str]:
        """The datasets, in the order of final_info.json."""
        return list(dict.fromkeys(n.dataset for n in self.numbers if n.statistic == "mean"))

    def headline(self) -> list[str]:
        """The metrics that carry the argument: those marked so, else all that are no times."""
        marked = [name for name, about in self.metrics.items() if about.headline]
        return marked or [name for name, about in self.metrics.items() if not about.timing]

    def verdicts(self, run: str = "") -> Counter:
        """How many headline comparisons came out which way, for one run or for all."""
        return Counter(c.verdict for c in self.comparisons if c.metric in self.headline() and run in ("", c.run))

    def for_prompt(self, run: str = "") -> str:
        """The ledger as a model reads it, whole or for a note on one run: values by key, then the comparisons."""
        return f"{tell_numbers(self, run)}\n\n{tell_comparisons(self, run)}"

    def badges(self) -> list[show.Html]:
        """How many headline comparisons came out which way."""
        count = self.verdicts()
        return [show.badge(f"{MARKS[verdict]} {count[verdict]} {verdict}", TONES[verdict])
                for verdict in MARKS if count[verdict]]  # fmt: skip

    def _repr_html_(self) -> str:
        heads = [show.Html(f"{show.cell(label)}<br><small>{run}</small>") for run, label in self.runs.items()]
        order = sorted(self.metrics, key=lambda name: (self.metrics[name].timing, name not in self.headline()))
        rows = [row for metric in order for row in self._rows(metric)]
        seeds = max((len(n.seeds) for n in self.numbers), default=0)
        legend = f"mean ± standard error{f' over {seeds} seeds' if seeds > 1 else ''}; ↓ lower is better, ↑ higher; " \
                 f"against run_0: {', '.join(f'{mark} {verdict}' for verdict, mark in MARKS.items())}"  # fmt: skip
        return show.table(["Metric", "Dataset", *heads], rows, legend)

    def _rows(self, metric: str) -> list[list[str]]:
        """A metric's rows: one for all datasets where they do not differ, as a time for all of them together."""
        rows = [[dataset, *(self._cell(run, dataset, metric) for run in self.runs)] for dataset in self.datasets()]
        if len(rows) > 1 and all(row[1:] == rows[0][1:] for row in rows):
            rows = [["all", *rows[0][1:]]]
        about = self.metrics[metric]
        arrow = {"min": "↓", "max": "↑", None: ""}[about.direction]
        name = show.Html(f"{show.cell(about.label or metric)} <small>{show.cell(about.unit)} {arrow}</small>")
        return [[name if n == 0 else "", *row] for n, row in enumerate(rows)]

    def _cell(self, run: str, dataset: str, metric: str) -> show.Html:
        numbers = {n.key: n.value for n in self.numbers}
        key = f"{run}/{dataset}/{metric}"
        if key not in numbers:
            return show.Html("")
        spread = numbers.get(f"{key}/stderr")
        comparison = self.find(dataset, metric, run)
        return show.Html(plain(numbers[key], spread) + (_mark(comparison) if comparison else ""))


def _mark(comparison: Comparison) -> str:
    hint = escape(comparison.reason or _said(comparison))
    tone, mark = TONES[comparison.verdict], MARKS[comparison.verdict]
    return f' <span class="kit-{tone}" title="{hint}">{mark}</span>'


def _said(c: Comparison) -> str:
    where = f"{c.dataset}/{c.metric}, {c.run} against {c.baseline}"
    if c.low is None:
        return f"{where}: {c.verdict} ({c.reason})"
    return f"{where}: difference {c.difference:.3g}, interval [{c.low:.3g}, {c.high:.3g}], {c.verdict}"


def build_ledger(
    folder: Path, labels: Mapping[str, str], template: Template, *, flagged: Mapping[str, list[str]] | None = None,
    preset: str = "", seeds: int = 0, plan: Plan | None = None, beside: Iterable[str] = (),
    probes: Iterable[Probed] = (),
) -> Ledger:  # fmt: skip
    """Read folder/run_*/final_info.json for the runs in `labels`; compare each with run_0 and with its reference.

    The plan says which run is whose reference, which metrics it adds to those of the template (these stay as they
    are) and which differences would not matter. A run in `flagged` changed the code that measures; it is listed and
    compared with nothing. The preset, or `seeds`, says how many seeds stand behind a standard error that comes
    without values per seed. Times of runs that were made `beside` others are not compared. The numbers of `probes`
    are listed under their names.
    """
    runs = dict(sorted(labels.items(), key=lambda item: int(item[0].removeprefix("run_"))))
    num_seeds = seeds or template.presets.get(preset, Preset()).seeds
    measured = {run: read_final_info(folder / run, num_seeds) for run in runs}
    names = dict.fromkeys(m for sets in measured.values() for values in sets.values() for m in values.means)
    arms = {arm.name: f"run_{number}" for number, arm in enumerate(plan.arms, 1)} if plan else {}
    references = {arms[arm.name]: arms.get(arm.compare_with, "run_0") for arm in plan.arms} if plan else {}
    known = {metric.name: _declared(metric) for metric in plan.metrics} if plan else {}
    known |= template.metrics
    metrics = {name: known.get(name) or template.metric(name) for name in names}
    ledger = Ledger(runs=runs, metrics=metrics, flagged=dict(flagged or {}), preset=preset,
                    margins={margin.metric: margin for margin in plan.margins} if plan else {},
                    beside=sorted(beside))  # fmt: skip
    for run, sets in measured.items():
        ledger.numbers += _numbers(run, sets)
    for run in list(runs)[1:]:
        for baseline in dict.fromkeys(["run_0", references.get(run, "run_0")]):
            if baseline in runs and baseline != run:
                same = _repeated(measured["run_0"], measured[baseline]) if baseline != "run_0" else set()
                made = _compare_runs(ledger, measured, run, baseline)
                ledger.comparisons += [c for c in made if c.metric not in same]  # held against run_0 already
    _hold(ledger, measured, (stick.renamed(arms) for stick in plan.yardsticks) if plan else [])
    ledger.numbers += [*_summary(ledger), *_margins(ledger)]
    for probe in probes:
        ledger.numbers += _probed(probe)
    return ledger


def _hold(ledger: Ledger, measured: Mapping[str, dict[str, Measured]], sticks: Iterable[Yardstick]) -> None:
    """Hold runs against yardsticks by the headline metrics, where all that they are made of is there and untouched."""
    for stick in sticks:
        weights = {part.run: part.weight for part in stick.weights}
        held = [run for run in stick.held if run in measured]
        if held and all(run in measured and run not in ledger.flagged for run in weights):
            ledger.yardsticks.append(stick)
            beside = {**measured, stick.name: mix(weights, measured)}
            made = [c for run in held for c in _compare_runs(ledger, beside, run, stick.name)]
            ledger.comparisons += [c for c in made if c.metric in ledger.headline()]


def _declared(metric: NewMetric) -> Metric:
    """A metric of the plan as one of the template; it was planned to decide, so it is shown with those that do."""
    direction = None if metric.direction == "none" else metric.direction
    return Metric(label=metric.label, direction=direction, headline=direction is not None)


def _repeated(one: Mapping[str, Measured], other: Mapping[str, Measured]) -> set[str]:
    """The metrics that a run repeats from another to the last digit, in every seed of every dataset."""
    names = {metric for values in one.values() for metric in values.seeds}
    return {
        m for m in names if all(name in other and other[name].seeds.get(m) == one[name].seeds.get(m) for name in one)
    }


def _numbers(run: str, sets: Mapping[str, Measured]) -> list[Number]:
    found, file = [], f"{run}/final_info.json"
    for dataset, values in sets.items():
        for metric, mean in values.means.items():
            key = f"{run}/{dataset}/{metric}"
            number = Number(key=key, value=mean, run=run, dataset=dataset, metric=metric, statistic="mean", file=file,
                            seeds=values.seeds.get(metric, []), pointer=values.places[f"means/{metric}"])  # fmt: skip
            found.append(number)
            if metric in values.stderrs:
                facts = {"key": f"{key}/stderr", "value": values.stderrs[metric], "statistic": "stderr"}
                found.append(number.model_copy(update=facts | {"pointer": values.places[f"stderrs/{metric}"]}))
    return [*found, _count(f"{run}/num_seeds", _num_seeds(sets), run, file)]


def _probed(probe: Probed) -> list[Number]:
    """The numbers of a probe; several values are one a seed, and have a spread."""
    found, file = [], f"probes/{probe.name}/probe.json"
    for name, values in probe.numbers.items():
        key, several = f"{probe.name}/{name}", len(values) > 1
        number = Number(key=key, value=statistics.fmean(values), run=probe.name, dataset="", metric="", file=file,
                        statistic="probe", seeds=values if several else [], pointer=pointer(name))  # fmt: skip
        found.append(number)
        if several:
            facts = {"key": f"{key}/stderr", "value": stderr(values), "statistic": "stderr"}
            found.append(number.model_copy(update=facts))
    return found


def _num_seeds(sets: Mapping[str, Measured]) -> int:
    """The most values per seed that a metric has; without any, what the template declares of its standard errors."""
    listed = max((len(v) for values in sets.values() for v in values.seeds.values()), default=0)
    return listed or max((values.num_seeds for values in sets.values() if values.stderrs), default=1)


def _compare_runs(ledger: Ledger, measured: Mapping, run: str, baseline: str) -> list[Comparison]:
    made = []
    known = {metric for values in measured[baseline].values() for metric in values.means}
    for metric, about in ((name, about) for name, about in ledger.metrics.items() if name in known):
        for dataset, reference in measured[baseline].items():
            place = {"dataset": dataset, "run": run, "baseline": baseline}
            ours = measured[run].get(dataset, Measured(means={}))
            if changed := [*ledger.flagged.get(run, []), *ledger.flagged.get(baseline, [])]:
                reason = f"the run changed what measures it: {', '.join(changed)}"
                made.append(no_verdict({"metric": metric, **place}, None, reason))
            elif about.timing and {run, baseline} & set(ledger.beside):
                made.append(no_verdict({"metric": metric, **place}, None, "a time that was taken beside other runs"))
            else:
                made.append(compare(ours, reference, metric, about, margin=ledger.margins.get(metric), **place))
    return made


def _summary(ledger: Ledger) -> list[Number]:
    """Counts over the headline comparisons, for all runs and for each; chance could not decide what is identical."""
    counts, shown = [], [name for name in [*JUDGED, "identical"] if name not in RARE or ledger.verdicts()[name]]
    for place, run in [("summary", ""), *((f"{run}/summary", run) for run in list(ledger.runs)[1:])]:
        verdicts = ledger.verdicts(run)
        counts += [_count(f"{place}/{name}", verdicts[name], run) for name in shown]
        judged = sum(verdicts[name] for name in JUDGED)
        counts.append(_count(f"{place}/num_comparisons", judged + verdicts["identical"], run))
        counts.append(_count(f"{place}/expected_by_chance", round(judged * (1 - CONFIDENCE), 2), run))
    seeds = [n.value for n in ledger.numbers if n.key.endswith("/num_seeds")]
    of_all = {"num_runs": len(ledger.runs), "confidence": 100 * CONFIDENCE, "num_seeds": min(seeds, default=0)}
    return [*counts, *(_count(f"summary/{name}", value, "") for name, value in of_all.items())]


def _margins(ledger: Ledger) -> list[Number]:
    return [Number(key=f"plan/margin/{metric}", value=margin.size, run="", dataset="", metric="", statistic="setting",
                   file="plan.json", pointer=f"/margins/{place}/size")
            for place, (metric, margin) in enumerate(ledger.margins.items())]  # fmt: skip


def _count(key: str, value: float, run: str, file: str = "results.json") -> Number:
    return Number(key=key, value=value, run=run, dataset="", metric="", statistic="count", file=file, pointer="")
