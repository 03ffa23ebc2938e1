"""Stage 1 of the scripted scientist: ideas from what a template has worked out, else from its settings."""

import random
import re
from typing import Any

from kit.offline.settings import Setting, find_settings
from kit.offline.worked import worked_ideas
from kit.schemas import Idea, KitError, Novelty, Paper, Query, Reflection
from kit.template import Template

COMMON = set(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "does",
        "for",
        "from",
        "how",
        "in",
        "is",
        "it",
        "more",
        "of",
        "on",
        "or",
        "than",
        "that",
        "the",
        "to",
        "too",
        "what",
        "when",
        "with",
    ]
)


def propose(values: dict[str, Any], dice: random.Random) -> Idea:
    """An idea that the archive does not hold yet."""
    template: Template = values["template"]
    taken = {record.idea.Name for record in values["archive"].records}
    worked = [w.idea for w in worked_ideas(template).values() if w.idea.Name not in taken]
    if worked:
        return dice.choice(worked)
    settings = [s for s in find_settings(template) if setting_name(s) not in taken]
    if not settings:
        raise KitError(
            f"The scripted scientist has no further idea for {template.name!r}: it found no setting of training or "
            f"model left to vary in experiment.py. Ask for fewer ideas, or use a real model."
        )
    return _sensitivity(settings[0], template)


def setting_name(setting: Setting) -> str:
    """The name of the idea that varies a setting."""
    return "sensitivity_to_" + re.sub(r"[^a-z0-9_]", "_", setting.name.lower().strip("_"))[:40]


def _sensitivity(setting: Setting, template: Template) -> Idea:
    metric = next((name for name, about in template.metrics.items() if about.headline), "")
    thing = setting.name.replace("_", " ")
    return Idea(
        Name=setting_name(setting),
        Title=f"How Much Hangs on {thing.title()}? Halving and Doubling It in {template.title or template.name}",
        Hypothesis=f"Around the default of {setting.value!r}, {setting.about} (`{setting.name}`) decides the result: "
        f"halving and doubling it move the deciding metric in opposite directions.",
        Experiment=f"Run experiment.py with `{setting.name}` halved and doubled (near one: its distance from one), "
        f"everything else as it is, and compare each with the baseline over the same seeds. "
        f"Each arm is the control of the other: a change "
        f"that helps in both directions is not about the size of the setting.",
        Metric=metric, Interestingness=4, Feasibility=10, Novelty=2,
    )  # fmt: skip


def reflect(values: dict[str, Any], dice: random.Random) -> Reflection:
    """One look: say by which metric it is decided, and be done."""
    idea: Idea = values["idea"].model_copy()
    template: Template = values["template"]
    if not idea.Metric:
        idea.Metric = next((name for name, about in template.metrics.items() if about.headline), "")
    thoughts = "One respect changes, seeds and budget stay, and the plan holds a run that could refute it."
    return Reflection(thoughts=thoughts, idea=idea, done=idea == values["idea"])


def query(values: dict[str, Any], dice: random.Random) -> Query:
    """Three searches: what the idea is called, what it is about, and what field it is in."""
    idea: Idea = values["idea"]
    worked = worked_ideas(values["template"]).get(idea.Name)
    tries = [" ".join(worked.keywords) if worked and worked.keywords else idea.Name.replace("_", " "),
             " ".join(_words(idea.Title)[:8]), " ".join(_words(values["template"].task_description)[:8])]  # fmt: skip
    tries = [words for words in dict.fromkeys(tries) if words]
    done = len(values["findings"]) >= len(tries)
    thoughts = "These searches cover its name, its words and its field." if done else "Look for the same question."
    return Query(thoughts=thoughts, query="" if done else tries[len(values["findings"])], done=done)


def judge_novelty(values: dict[str, Any], dice: random.Random) -> Novelty:
    """Compare titles word by word; a script can do no more, and says so."""
    papers: list[Paper] = values["papers"]
    if not papers:
        return Novelty(verdict="unchecked", reason="The searches found nothing to compare with.")
    idea_words = set(_words(values["idea"].Title))
    common = {p.key: len(idea_words & set(_words(p.title))) for p in papers}
    shared = {p.key: common[p.key] / max(1, len(_words(p.title))) for p in papers}
    closest = sorted(shared, key=lambda key: (-shared[key], key))[:3]
    said = f"A script compared the words of {len(papers)} titles from the searches; it has not read the papers. "
    if shared[closest[0]] >= 0.8 and common[closest[0]] >= 3:  # one or two words are a topic, not a question
        return Novelty(verdict="not novel", reason=said + f"{closest[0]} has nearly this title.", papers=closest[:1])
    return Novelty(verdict="novel", reason=said + "No title asks this question; the closest are named.", papers=closest)


def _words(text: str) -> list[str]:
    plain = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return [word for word in dict.fromkeys(plain.split()) if word not in COMMON and len(word) > 2]
