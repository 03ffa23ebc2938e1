"""Stage 1 of the scripted scientist: ideas from what a template has worked out, else from its settings."""

import math
import random
import re
from typing import Any

from kit.likeness import COMMON, words
from kit.offline.settings import Setting, find_settings
from kit.offline.worked import worked_ideas
from kit.schemas import Idea, KitError, Novelty, NoveltyQuery, Paper, Reflection
from kit.template import Template

# For each kind of setting, as kit.offline.settings names them: a title, and why it could decide the result.
QUESTIONS = {
    "the learning rate": (
        "How Large a Step? {Thing} on Both Sides of Its Default",
        "A smaller step ends nearer to the minimum if training lasts long enough to get there, a larger one gets there "
        "sooner and rattles more.",
    ),
    "momentum": (
        "Does the Past Help? {Thing} and the Inertia of the Optimizer",
        "Inertia averages gradients over several batches, and overshoots where curvature is high.",
    ),
    "weight decay": (
        "Pulled towards Zero: What {Thing} Does in {experiment}",
        "A pull on the weights keeps functions smooth, and takes capacity away where every parameter is needed.",
    ),
    "dropout": (
        "Forgetting on Purpose: Is {Thing} Needed in {experiment}?",
        "Silencing units at random protects against memorizing, which only matters where memorizing is possible.",
    ),
    "the averaging of the weights or moments": (
        "How Long a Memory? The Horizon of {Thing}",
        "A long average removes the jitter of the last updates but lags behind what is still moving.",
    ),
    "the warm-up": (
        "A Slow Start: How Much of {Thing} Is Worth Its Time?",
        "The first gradients are large and unlike the later ones; caution there is paid for with fewer useful updates.",
    ),
    "the amount of noise": (
        "Signal Drowned or Spared: The Part of {Thing} in {experiment}",
        "Randomness hides the signal when there is much of it, and leaves little to average out when there is not.",
    ),
    "the temperature": (
        "Sharp or Soft? {Thing} and the Spread of the Outputs",
        "A soft distribution spreads probability over unlikely outcomes, a sharp one repeats the likely ones.",
    ),
    "the embedding": (
        "How Fine Are the Inputs Resolved? {Thing} in {experiment}",
        "Inputs that are resolved too coarsely look alike to the network, and too finely have nothing in common.",
    ),
    "the size of the network": (
        "Room to Learn: {Thing} against Underfitting in {experiment}",
        "With fewer parameters the function cannot be drawn, with more of them it takes longer to fit.",
    ),
}
UNKNOWN = (  # a number that the program does not name
    "How Much Hangs on {Thing}? Halving and Doubling It in {experiment}",
    "A number without a name is a choice that somebody made; whether the result hangs on it is not known until it is "
    "moved.",
)


def propose(values: dict[str, Any], dice: random.Random) -> Idea:
    """An idea that is neither in the archive nor among what earlier runs did; one without a twin, if there is one."""
    template, archive, done = values["template"], values["archive"], values["outcomes"].ideas
    taken = {idea.Name for idea in [*(record.idea for record in archive.records), *done]}
    known = [*template.seed_ideas, *done]
    left = [idea for idea in _all_ideas(template) if idea.Name not in taken]
    if not left:
        raise KitError(
            f"The scripted scientist has no further idea for {template.name!r}: it found no setting of training or "
            f"model left to vary in experiment.py. Ask for fewer ideas, or use a real model."
        )
    fresh = [idea for idea in left if not archive.twin(idea, known)] or left
    worked = [idea for idea in fresh if idea.Name in worked_ideas(template)]
    return dice.choice(worked) if worked else fresh[0]


def _all_ideas(template: Template) -> list[Idea]:
    """All that there is to propose: what was worked out, then the settings."""
    worked = [worked.idea for worked in worked_ideas(template).values()]
    return worked + [_sensitivity(setting, template) for setting in find_settings(template)]


def known_name(template: Template, idea: Idea) -> str:
    """The name without the number with which an archive may have told it from another: noise_2 was noise."""
    known = {one.Name for one in _all_ideas(template)}
    return idea.Name if idea.Name in known else re.sub(r"_\d+$", "", idea.Name)


def adopt(values: dict[str, Any], dice: random.Random) -> Idea:
    """The worked idea or the setting that shares most words with a person's sentence; no match is an error."""
    template, wish = values["template"], values["wish"]
    worked = worked_ideas(template)
    said: dict[str, str] = {}  # by name: the words that call for it
    for name, (idea, keywords, *_) in worked.items():
        said[name] = " ".join([name.replace("_", " "), idea.Title, *keywords])
    for setting in find_settings(template):
        said[setting_name(setting)] = f"{setting.name.replace('_', ' ')} {setting.about}"
    wanted = _stems(wish)
    bags = {name: _stems(text) for name, text in said.items()}
    shared = {name: len(wanted & bag) / math.sqrt(1 + len(bag)) for name, bag in bags.items()}
    plain = wish.lower().replace("_", " ")
    for name in shared:
        if (called := name.removeprefix("sensitivity_to_").replace("_", " ")) in plain:
            shared[name] += len(called)  # called by its name; the longer name is meant where one holds the other
    best = max(shared, key=lambda name: shared[name], default="")
    if not best or not shared[best]:
        raise KitError(
            f"The scripted scientist finds nothing in {wish!r} that it could carry out. In {template.name!r} it knows: "
            f"{', '.join(name.removeprefix('sensitivity_to_').replace('_', ' ') for name in said) or 'nothing'}. "
            f"Name one of them, or use a real model."
        )
    idea = next(idea for idea in _all_ideas(template) if idea.Name == best)
    kind = "a worked idea of the template" if best in worked else "a setting of the program"
    note = f'Asked: "{wish.strip()}" A script took it, by its words, for {kind}, and can carry out no more than this.'
    return idea.model_copy(update={"Experiment": f"{idea.Experiment} {note}"})


def setting_name(setting: Setting) -> str:
    """The name of the idea that varies a setting."""
    return "sensitivity_to_" + re.sub(r"[^a-z0-9_]", "_", setting.name.lower().strip("_"))[:40]


def _sensitivity(setting: Setting, template: Template) -> Idea:
    metric = next((name for name, about in template.metrics.items() if about.headline), "")
    thing = setting.name.replace("_", " ")
    title, why = QUESTIONS.get(setting.about, UNKNOWN)
    return Idea(
        Name=setting_name(setting),
        Title=title.format(Thing=thing.title(), experiment=template.title or template.name),
        Hypothesis=f"{why} Halving and doubling `{setting.name}` therefore move the result in opposite directions.",
        Experiment=f"Change `{setting.name}` alone, once to {setting.times(0.5)!r} and once to {setting.times(2.0)!r}, "
        f"over the same seeds. Each is the control of the other: what helps in both directions is not about {thing}.",
        Metric=metric, Interestingness=4, Feasibility=10, Novelty=2,
    )  # fmt: skip


def reflect(values: dict[str, Any], dice: random.Random) -> Reflection:
    """One look: say by which metric it is decided, and be done; of a twin say that there is nothing else to ask."""
    idea: Idea = values["idea"].model_copy()
    template: Template = values["template"]
    if not idea.Metric:
        idea.Metric = next((name for name, about in template.metrics.items() if about.headline), "")
    thoughts = "One respect changes, seeds and budget stay, and the plan holds a run that could refute it."
    if values["twin"]:
        thoughts += f" It is close to {values['twin'].Name}, and a script has no other question to put in its place."
    return Reflection(thoughts=thoughts, idea=idea, done=idea == values["idea"])


def query(values: dict[str, Any], dice: random.Random) -> NoveltyQuery:
    """Three searches: what the idea is called, what it is about, and what field it is in."""
    idea: Idea = values["idea"]
    worked = worked_ideas(values["template"]).get(known_name(values["template"], idea))
    tries = [" ".join(worked.keywords) if worked and worked.keywords else idea.Name.replace("_", " "),
             " ".join(_words(idea.Title)[:8]), " ".join(_words(values["template"].task_description)[:8])]  # fmt: skip
    tries = [words for words in dict.fromkeys(tries) if words]
    done = len(values["findings"]) >= len(tries)
    thoughts = "These searches cover its name, its words and its field." if done else "Look for the same question."
    known = set(_words(idea.Title))
    newest = values["findings"][-1].papers if values["findings"] else []
    close = [paper.key for paper in newest if len(known & set(_words(paper.title))) >= 2]
    query = "" if done else tries[len(values["findings"])]
    return NoveltyQuery(thoughts=thoughts, query=query, done=done, close=close)


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


def _stems(text: str) -> set[str]:
    """The beginnings of the words: averaged, averaging and average are one."""
    return {word[:6] for word in words(text)}
