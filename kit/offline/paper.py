"""Stage 3 of the scripted scientist: sections written from the actual verdicts, good or bad.

The prose stands in words/*.tex, as Jinja templates with TeX-proof delimiters; here is what they may ask.
"""

import random
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kit.offline.experiments import number_word
from kit.offline.worked import worked_ideas
from kit.schemas import Choice, Choices, Comparison, Paper, Query

TOPICS = ["statistics seeds variance comparison", "reproducibility preregistration predictions",
          "paired t test interval small samples", "software library PyTorch NumPy SciPy Matplotlib",
          "automated research language models papers"]  # fmt: skip
MOST = 22  # references; a short paper carries no more
SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}


# --- the literature -----------------------------------------------------------------------------


def query(values: dict[str, Any], dice: random.Random) -> Query:
    """The idea's words, the field's words, then statistics and tools."""
    worked = worked_ideas(values["template"]).get(values["idea"].Name)
    own = [" ".join(worked.keywords)] if worked and worked.keywords else []
    field = values["template"].task_description
    tries = [*own, values["idea"].Title, " ".join(field.split()[:25]), *TOPICS]
    done = len(values["findings"]) >= min(len(tries), values["num_cite_rounds"] - 1)
    return Query(
        thoughts="Methods, statistics, tools.", query="" if done else tries[len(values["findings"])], done=done
    )


def choose(values: dict[str, Any], dice: random.Random) -> Choices:
    """The papers found first in each search are the closest; what they are cited for is what they say."""
    papers: list[Paper] = values["papers"]
    return Choices(choices=[Choice(key=p.key, purpose=_first_sentence(p)) for p in papers[:MOST]])


def _first_sentence(paper: Paper) -> str:
    text = re.sub(r"\s*\([^()]*\)\s*$", "", paper.abstract)
    return text.partition(". ")[0].rstrip(".") + "." if text else f"Background: {paper.title}."


# --- the sections -------------------------------------------------------------------------------


@cache
def _words() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "words"), undefined=StrictUndefined, autoescape=False,
        variable_start_string="<<", variable_end_string=">>", block_start_string="<%", block_end_string="%>",
        comment_start_string="<#", comment_end_string="#>", trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        tex=tex, tt=lambda name: rf"\texttt{{{tex(name)}}}", word=number_word, first_lower=_lower
    )
    return environment


def section(values: dict[str, Any], dice: random.Random) -> str:
    """One section, rendered from the plan, the ledger and the references."""
    story = Story(values)
    text = _words().get_template(f"{values['section']}.tex").render(s=story, **values)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return f"```latex\n{text}\n```"


def mend(values: dict[str, Any], dice: random.Random) -> str:
    """The section without what the build complained about."""
    text = values["text"]
    for problem in values["problems"]:
        for name in re.findall(r"'([^']+)'", problem.message)[:1]:
            text = re.sub(rf"\\cite[pt]\{{{re.escape(name)}\}}", "", text)
            text = re.sub(rf"({re.escape(name)},\s*|,\s*{re.escape(name)}(?=\}}))", "", text)
            text = re.sub(rf"~?\\(?:ref|val\*?)\{{{re.escape(name)}\}}", "", text)
    return f"```latex\n{text}\n```"


def tex(text: str) -> str:
    """Plain text as LaTeX, with `code` in typewriter."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # an odd mark belongs to the text
        parts = [str(text)]
    shown = ["".join(SPECIAL.get(letter, letter) for letter in part) for part in parts]
    return "".join(rf"\texttt{{{part}}}" if place % 2 else part for place, part in enumerate(shown))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


class Story:
    """What came out, in the terms in which the sections tell it."""

    def __init__(self, values: dict[str, Any]):
        self.ledger, self.plan = values["ledger"], values["plan"]
        self.template, self.figures = values["template"], values["figures"]
        self.references = values.get("references", [])
        self.runs = [run for run in self.ledger.runs if run != "run_0"]
        self.arms = {run: arm for run, arm in self._arms() if run in self.runs}
        self.failed = [arm for run, arm in self._arms() if run not in self.runs]
        self.sets = self.ledger.datasets()
        self.metrics = self.ledger.headline()
        self.outcome = self._outcome(self.ledger.verdicts())

    def _arms(self):
        return [(f"run_{number}", arm) for number, arm in enumerate(self.plan.arms, 1)]

    @staticmethod
    def _outcome(counts: Any) -> str:
        if counts["better"] and counts["worse"]:
            return "mixed"
        return next((verdict for verdict in ("better", "worse", "inconclusive") if counts[verdict]), "not comparable")

    def of(self, run: str) -> str:
        """The outcome of one run."""
        return self._outcome(self.ledger.verdicts(run))

    def told(self, run: str) -> str:
        """One comparison of a run that says most: decided before undecided, then by size of effect."""
        chosen = self.most_telling(run)
        if not chosen:
            return ""
        return rf"\cmp{{{chosen.dataset}/{chosen.metric}}}{{{chosen.run}}}{{{chosen.baseline}}}"

    def most_telling(self, run: str) -> Comparison | None:
        """The comparison behind `told`."""
        mine = [c for c in self.ledger.comparisons if c.run == run and c.metric in self.metrics and c.low is not None]
        return max(mine, key=lambda c: (c.verdict != "inconclusive", abs(c.effect or 0)), default=None)

    def by_metric(self, run: str) -> list[tuple[str, dict[str, list[str]]]]:
        """For each headline metric, its label and the data sets by verdict."""
        told = []
        for metric in self.metrics:
            groups: dict[str, list[str]] = {}
            for c in self.ledger.comparisons:
                if (c.run, c.metric) == (run, metric):
                    groups.setdefault(c.verdict, []).append(tex(c.dataset))
            told.append((self.label(metric), groups))
        return told

    def label(self, metric: str) -> str:
        """A metric as prose names it."""
        return tex(_lower(self.ledger.metrics[metric].label or metric.replace("_", " ")))

    def title(self, run: str) -> str:
        """A run as prose names it."""
        return tex(self.ledger.runs[run])

    def cite(self, words: str, most: int = 2, command: str = "citep") -> str:
        """References whose title or purpose shares words with a topic; nothing where there are none."""
        wanted = set(words.split())
        score = {
            r.key: len(wanted & set(re.findall(r"[a-z-]+", f"{r.title} {r.purpose}".lower()))) for r in self.references
        }
        keys = [key for key in sorted(score, key=lambda k: (-score[k], k)) if score[key] > 0][:most]
        return rf"~\{command}{{{','.join(keys)}}}" if keys else ""

    def left_over(self, text: str) -> list[Any]:
        """References that the paper has not cited yet."""
        return [r for r in self.references if r.key not in text]

    def join(self, items: list[str]) -> str:
        """a, b and c."""
        return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"

    def stem(self, file: str) -> str:
        """A figure's label."""
        return file.rpartition(".")[0]

    def is_about(self, word: str) -> bool:
        """Whether the template's own words name a topic."""
        return word in f"{self.template.title} {self.template.task_description}".lower()
