"""What came out, in the terms in which the sections of the scripted scientist tell it."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from kit.letters import escape
from kit.offline.experiments import number_word
from kit.schemas import Arm, Comparison, Number

VERDICTS = ("better", "worse", "inconclusive", "equivalent", "identical")  # of comparisons that could be made
STANDING = {
    "better": "{is} ahead of the baseline wherever a difference can be told",
    "worse": "{is} behind the baseline wherever a difference can be told",
    "mixed": "{is} ahead of the baseline in some comparisons and behind it in others",
    "inconclusive": "cannot be told from the baseline",
    "equivalent": "{is} as good as the baseline, up to the margin that the plan named",
    "identical": "{is} the baseline's equal in every seed",
    "not comparable": "{is} not compared with the baseline",
}
REASONS = {  # how the ledger says it → how a text says it that is about all metrics
    "the template declares no direction": "no direction is declared for what is measured, so that neither more nor "
    "less of it counts as better",
    "fewer than two seeds": "there are fewer than two seeds, and so no spread to judge by",
}


def tex(text: str) -> str:
    """Plain text as LaTeX, with `code` in typewriter."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # an odd mark belongs to the text
        parts = [str(text)]
    shown = [escape(part) for part in parts]
    return "".join(rf"\texttt{{{part}}}" if place % 2 else part for place, part in enumerate(shown))


def first_lower(text: str) -> str:
    """A title or sentence as it stands inside of another; an abbreviation keeps its capitals."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def first_upper(text: str) -> str:
    """Text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Text on one line that ends as a sentence does."""
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) or not text else f"{text}."


def join(items: list[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"


class Story:
    """The plan, the ledger and the references of one paper, and what can be said of them."""

    def __init__(self, values: dict[str, Any]):
        self.ledger, self.plan, self.idea = values["ledger"], values["plan"], values["idea"]
        self.template = values["template"]
        self.figures = sorted(values["figures"], key=lambda figure: "metric" not in figure.file)  # as they are shown
        self.references = values.get("references", [])
        planned = [(f"run_{number}", arm) for number, arm in enumerate(self.plan.arms, 1)]
        self.arms: dict[str, Arm] = {run: arm for run, arm in planned if run in self.ledger.runs}
        missing = [(f"## {run}:" in values["notes"], arm) for run, arm in planned if run not in self.ledger.runs]
        self.failed = [arm for tried, arm in missing if tried]
        self.skipped = [arm for tried, arm in missing if not tried]  # the question was settled before
        self.sets = self.ledger.datasets()
        self.metrics = self.ledger.headline()
        with_runs = (c for c in self.ledger.comparisons if c.baseline in self.ledger.runs)  # not with a yardstick
        self.compared = [c for c in with_runs if c.metric in self.metrics]
        self.made = [c for c in self.compared if c.low is not None]
        self.methods = {c.method for c in self.made}
        self.directed = [metric for metric in self.metrics if self.ledger.metrics[metric].direction]
        self.few_seeds = self.ledger.value("summary/num_seeds").value < 10

    # --- what it is about -----------------------------------------------------------------------

    @property
    def claim(self) -> str:
        """What the runs put to the test."""
        return tex(sentence(self.idea.Hypothesis or self.plan.question or self.idea.Title))

    @property
    def field(self) -> str:
        """The setting, as a part of a sentence."""
        title = self.template.title
        return tex(first_lower(title)) if title else rf"the program \texttt{{{tex(self.template.name)}}}"

    @property
    def about(self) -> str:
        """The experiment for a reader: the template's own paragraph, else how its task begins."""
        told = " ".join(self.template.about.split())
        return tex(told or " ".join(re.split(r"(?<=[.!?])\s+", " ".join(self.template.task_description.split()))[:2]))

    def is_about(self, word: str) -> bool:
        """Whether the template's own words name a topic."""
        return word in f"{self.template.title} {self.template.about} {self.template.task_description}".lower()

    def cast(self) -> str:
        """The runs by their roles: two variants and one control."""
        roles = Counter(arm.role for arm in self.arms.values())
        return join([f"{number_word(n)} {role}{'s' if n > 1 else ''}" for role, n in roles.items()])

    def label(self, metric: str) -> str:
        """A metric as prose names it."""
        return tex(first_lower(self.ledger.metrics[metric].label or metric.replace("_", " ")))

    def labels(self) -> str:
        """The headline metrics."""
        return join([self.label(metric) for metric in self.metrics])

    def name(self, run: str) -> str:
        """A run as prose names it."""
        return rf"\emph{{{tex(self.ledger.runs[run])}}}"

    def names(self, runs: Iterable[str]) -> str:
        """Several runs."""
        return join([self.name(run) for run in runs])

    # --- what came out --------------------------------------------------------------------------

    def of(self, run: str = "") -> str:
        """The outcome of one run, or of all."""
        counts = self.ledger.verdicts(run)
        if counts["better"] and counts["worse"]:
            return "mixed"
        return next((verdict for verdict in VERDICTS if counts[verdict]), "not comparable")

    def tally(self, run: str) -> str:
        """How many comparisons of a run came out which way, as a sentence in words."""
        counts = {verdict: n for verdict in VERDICTS if (n := self.ledger.verdicts(run)[verdict])}
        total = sum(counts.values())
        if len(counts) == 1:
            [verdict] = counts
            number = {1: "The one comparison", 2: "Both comparisons"}.get(
                total, f"All {number_word(total)} comparisons"
            )
            return f"{number} with the baseline {'is' if total == 1 else 'are'} {verdict}."
        said = [f"{number_word(n)} {'is' if n == 1 else 'are'} {verdict}" for verdict, n in counts.items()]
        return f"Of {number_word(total)} comparisons with the baseline, {join(said)}." if said else ""

    @property
    def counted_near(self) -> str:
        """How many comparisons are equivalent, where there are any, for the middle of a list."""
        return r", \val{summary/equivalent} equivalent" if self.ledger.verdicts()["equivalent"] else ""

    def of_one_kind(self, run: str) -> bool:
        """Whether all comparisons of a run have the same verdict, so that there is nothing to tell apart."""
        return len({c.verdict for c in self.compared if c.run == run}) == 1

    def by_metric(self, run: str) -> str:
        """For each headline metric, on which datasets a run came out which way; one sentence."""
        said = []
        for metric in self.metrics:
            groups: dict[str, list[str]] = {verdict: [] for verdict in (*VERDICTS, "not comparable")}
            for c in self.compared:
                if (c.run, c.metric) == (run, metric):
                    groups[c.verdict].append(c.dataset)
            found = [f"{verdict}{self._on(sets)}" for verdict, sets in groups.items() if sets]
            said += [f"by {self.label(metric)} it is {join(found)}"] if found else []
        text = "; ".join(said)
        return first_upper(text) + "." if text else ""

    def _on(self, sets: list[str]) -> str:
        if len(self.sets) == 1:
            return ""
        if len(sets) == len(self.sets):
            return " on both datasets" if len(sets) == 2 else f" on all {number_word(len(sets))} datasets"
        return f" on {join([tex(name) for name in sets])}"

    def standing(self) -> list[str]:
        """Where the runs stand, those with the same outcome in one clause."""
        groups: dict[str, list[str]] = {outcome: [] for outcome in STANDING}
        for run in self.arms:
            groups[self.of(run)].append(run)
        return [f"{self.names(runs)} {STANDING[outcome].replace('{is}', 'is' if len(runs) == 1 else 'are')}"
                for outcome, runs in groups.items() if runs]  # fmt: skip

    def by_chance(self, run: str = "") -> bool:
        """Whether as many decided comparisons as these would be no surprise if nothing had an effect."""
        made = [c for c in self.made if run in ("", c.run) and c.verdict != "identical"]
        decided = sum(c.verdict in ("better", "worse") for c in made)
        rate = 1 - made[0].confidence if made else 0.0
        odds = (math.comb(len(made), k) * rate**k * (1 - rate) ** (len(made) - k) for k in range(decided))
        return decided == 0 or 1 - sum(odds) > rate

    def unexpected(self) -> list[str]:
        """Controls that are ahead like the variants, more often than chance would have it."""
        ahead = [run for run in self.arms if self.of(run) == "better" and not self.by_chance(run)]
        roles = {self.arms[run].role for run in ahead}
        return [run for run in ahead if self.arms[run].role == "control" and roles > {"control"}]

    def clearest(self, run: str = "") -> Comparison | None:
        """The comparison that says most: decided, in the deciding metric, then by its share of the baseline."""
        mine = [c for c in self.made if run in ("", c.run)]
        decided = [c for c in mine if c.verdict in ("better", "worse")]
        if not decided:  # what comes closest to a decision
            return max(mine, key=lambda c: abs(c.effect or 0), default=None)
        base = {n.key: abs(n.value) for n in self.ledger.numbers}
        share = lambda c: abs(c.difference) / (base[f"{c.baseline}/{c.dataset}/{c.metric}"] or 1)  # noqa: E731
        return max(decided, key=lambda c: (c.metric == self.idea.Metric, share(c)))

    def reasons(self, run: str = "") -> str:
        """Why comparisons could not be made."""
        why = dict.fromkeys(c.reason for c in self.compared if c.low is None and run in ("", c.run))
        said = [next((words for start, words in REASONS.items() if reason.startswith(start)), reason) for reason in why]
        text = join(list(dict.fromkeys(said))) if said else "there is nothing to compare"
        return tex(text.replace("the run ", "it ", 1) if run else text)

    def examples(self, run: str) -> list[Number]:
        """A few numbers of a run that the baseline has as well, where there is no verdict to tell."""
        keys = {n.key for n in self.ledger.numbers}
        return [n for n in self.ledger.numbers if n.run == run and n.statistic == "mean" and n.metric in self.metrics
                and f"run_0/{n.dataset}/{n.metric}" in keys][:2]  # fmt: skip

    def probed(self, probe: str) -> list[str]:
        """What a probe measured and its numbers, each as a clause."""
        numbers = [n for n in self.ledger.numbers if n.run == probe and n.statistic == "probe"]
        return [rf"{self._measured(n.key.removeprefix(f'{probe}/'))}, \val{{{n.key}}}" for n in numbers]

    def _measured(self, name: str) -> str:
        """The name of a probe's number in words, with its runs and its metric by their labels."""
        what, _, metric = name.rpartition("/")
        what = re.sub(r"run_\d+", lambda run: self.ledger.runs.get(run[0], run[0]), what or metric).replace("_", " ")
        return tex(what) + (f" by {self.label(metric)}" if what and metric in self.ledger.metrics else "")

    # --- references -----------------------------------------------------------------------------

    def cite(self, words: str, most: int = 2, command: str = "citep") -> str:
        """References that share two words with a topic, or the only one; nothing where there are none."""
        wanted = set(words.split())
        score = {r.key: len(wanted & set(re.findall(r"[a-z-]+", f"{r.title} {r.purpose}".lower())))
                 for r in self.references}  # fmt: skip
        least = min(2, len(wanted))
        keys = [key for key in sorted(score, key=lambda k: (-score[k], k)) if score[key] >= least][:most]
        return rf"~\{command}{{{','.join(keys)}}}" if keys else ""
