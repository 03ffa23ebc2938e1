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
from kit.offline.story import Story, first_lower, first_upper, join, sentence, tex
from kit.offline.worked import worked_ideas
from kit.schemas import Choice, Choices, KitError, Paper, Queries

TOPICS = ["statistics seeds variance comparison", "reproducibility preregistration predictions",
          "paired t test interval small samples", "software library PyTorch NumPy SciPy Matplotlib",
          "automated research language models papers"]  # fmt: skip
AT_ONCE = 5  # searches
MOST = 40  # references to choose from; those that no sentence cites are not printed


# --- the literature -----------------------------------------------------------------------------


def search(values: dict[str, Any], dice: random.Random) -> Queries:
    """The idea's words, the field's words, then statistics and tools."""
    worked = worked_ideas(values["template"]).get(values["idea"].Name)
    own = [" ".join(worked.keywords)] if worked and worked.keywords else []
    field = values["template"].task_description
    tries = [*own, values["idea"].Title, " ".join(field.split()[:25]), *TOPICS]
    made = len(values["findings"])
    queries = tries[made:][: min(AT_ONCE, values["left"])]
    return Queries(thoughts="Methods, statistics, tools.", queries=queries, done=not queries)


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
    environment.filters.update(tex=tex, word=number_word, first_lower=first_lower, first_upper=first_upper,
                               sentence=sentence, listed=join, tt=lambda name: rf"\texttt{{{tex(name)}}}")  # fmt: skip
    return environment


def draft(values: dict[str, Any], dice: random.Random) -> str:
    """Sections, rendered from the plan, the ledger and the references."""
    story, written, replies = Story(values), dict(values["written"]), []
    for name in values["together"]:
        file, known = f"{name}.tex", _words().list_templates()
        if file not in known:
            names = ", ".join(file.removesuffix(".tex") for file in known)
            raise KitError(f"The scripted scientist has no words for a section {name!r}. It knows: {names}.")
        text = _words().get_template(file).render(s=story, **values | {"section": name, "written": written})
        written[name] = re.sub(r"[ \t]+\n", "\n", re.sub(r"\n{3,}", "\n\n", text)).strip()
        replies.append(f"{file}\n```latex\n{written[name]}\n```")
    return "\n\n".join(replies)
