"""Stage 2 of the scripted scientist: plan, edit, note and caption, from the ledger's verdicts."""

import random
from typing import Any

from kit.offline.ideas import setting_name
from kit.offline.settings import Setting, edit_setting, find_settings
from kit.offline.worked import worked_ideas
from kit.schemas import Arm, Caption, Captions, Idea, KitError, Note, Plan
from kit.template import Template

FACTORS = {"half": 0.5, "double": 2.0}
WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()
CAPTIONS = {
    "loss": "Training loss along the way, for every run and data set, averaged over seeds.",
    "sample": "Samples that the trained models draw, runs in rows and data sets in columns, for the first seed.",
    "metric": "What decides: each metric by run and data set; a dot is a seed, a bar the mean.",
    "curve": "Curves along training, for every run, averaged over seeds.",
}


def plan(values: dict[str, Any], dice: random.Random) -> Plan:
    """The arms that were worked out, or the two sides of a setting."""
    idea: Idea = values["idea"]
    if worked := worked_ideas(values["template"]).get(idea.Name):
        return Plan(question=idea.Hypothesis or idea.Experiment, arms=worked.arms[: values["max_runs"]])
    setting = _setting(values["template"], idea)
    arms = [
        Arm(name=f"{setting.name.lower().strip('_')[:50]}_{side}",
            title=f"{setting.name.replace('_', ' ')} {setting.times(factor):g}",
            change=f"`{setting.name}` becomes {setting.times(factor)!r} instead of {setting.value!r}; nothing else changes.",
            prediction=f"If {setting.about} decides, this run and its counterpart fall on different sides of the baseline.")
        for side, factor in FACTORS.items()
    ]  # fmt: skip
    return Plan(question=idea.Hypothesis or idea.Experiment, arms=arms[: values["max_runs"]])


def _setting(template: Template, idea: Idea, code: str = "") -> Setting:
    for setting in find_settings(template, code):
        if setting_name(setting) == idea.Name:
            return setting
    raise KitError(
        f"The scripted scientist cannot carry out {idea.Name!r}: it knows the worked ideas of {template.name!r} and the "
        f"settings of its experiment.py. Choose one of those, or use a real model."
    )


def edit(values: dict[str, Any], dice: random.Random) -> str:
    """The blocks that were worked out, or one that gives a setting its new value in the code at hand."""
    template, idea, arm = values["template"], values["idea"], values["arm"]
    if (worked := worked_ideas(template).get(idea.Name)) and arm.name in worked.edits:
        return f"{arm.change}\n\n{worked.edits[arm.name]}"
    setting = _setting(template, idea, values["code"])
    factor = FACTORS[arm.name.rpartition("_")[2]]
    return f"{arm.change}\n\n{edit_setting(values['code'], setting, setting.times(factor))}"


def note(values: dict[str, Any], dice: random.Random) -> Note:
    """What the verdicts say, in words; numbers stay in the ledger."""
    arm, ledger, run = values["arm"], values["ledger"], values["run"]
    counts = ledger.verdicts(run)
    decided = counts["better"] + counts["worse"] + counts["inconclusive"]
    parts = [f"Of {number_word(decided)} comparisons with the baseline, {number_word(counts['better'])} came out better, "
             f"{number_word(counts['worse'])} worse and {number_word(counts['inconclusive'])} inconclusive."]  # fmt: skip
    for metric in ledger.headline():
        parts.append(_by_dataset(ledger, metric, run))
    parts.append(f"The prediction was: {arm.prediction}")
    if counts["inconclusive"] == decided:
        parts.append("With these seeds nothing can be told apart from chance.")
    return Note(text=" ".join(parts), settled=False)


def _by_dataset(ledger: Any, metric: str, run: str) -> str:
    """One sentence a metric: which data sets came out which way."""
    label = ledger.metrics[metric].label or metric.replace("_", " ")
    groups: dict[str, list[str]] = {}
    for comparison in ledger.comparisons:
        if (comparison.metric, comparison.run) == (metric, run):
            groups.setdefault(comparison.verdict, []).append(comparison.dataset)
    said = "; ".join(f"{verdict} on {_list(sets)}" for verdict, sets in groups.items())
    return f"{label}: {said}." if said else ""


def caption(values: dict[str, Any], dice: random.Random) -> Captions:
    """A caption for each figure, by what its name says."""
    labels = _list(list(values["ledger"].runs.values()))
    return Captions(figures=[Caption(file=name, caption=f"{_words_for(name)} Runs: {labels}.") for name in values["figures"]])


def _words_for(name: str) -> str:
    stem = name.rpartition(".")[0].lower()
    known = next((words for word, words in CAPTIONS.items() if word in stem), "")
    rest = stem.replace("_", " ").capitalize()
    return f"{rest}. {known}" if known else f"{rest}, as the template's plotting program draws it."


def number_word(number: int) -> str:
    """A small count in words."""
    return WORDS[number] if number < len(WORDS) else "many"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"
