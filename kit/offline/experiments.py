"""Stage 2 of the scripted scientist: plan, edit, note and caption, from the ledger's verdicts."""

import ast
import random
from typing import Any

from kit.offline.ideas import known_name, setting_name
from kit.offline.settings import Setting, edit_setting, find_settings
from kit.offline.worked import worked_ideas
from kit.schemas import (
    Arm,
    Caption,
    Captions,
    Conclusion,
    FigureLook,
    FigureProblem,
    Idea,
    KitError,
    Note,
    Plan,
    Probe,
)
from kit.template import Template

FACTORS = {"half": 0.5, "double": 2.0}
WORDS = [*["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
         *["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
PROBE = '''"""On how many seeds and data sets each run beats the one that it is held against."""

import json
from pathlib import Path

PAIRS = {pairs!r}
METRICS = {metrics!r}


def seeds(run, metric):
    info = json.loads((Path(run) / "final_info.json").read_text())
    return {{name: sets.get("seeds", {{}}).get(metric, [sets["means"].get(metric)]) for name, sets in info.items()}}


found = {{}}
for run, other in PAIRS:
    for metric, direction in METRICS.items():
        ours, theirs, wins = seeds(run, metric), seeds(other, metric), []
        for name in ours:
            for a, b in zip(ours[name], theirs.get(name, [])):
                if a is not None and b is not None:
                    wins.append(float(a < b if direction == "min" else a > b))
        if wins:
            found[f"{{run}}_beats_{{other}}/{{metric}}"] = sum(wins) / len(wins)
Path("probe.json").write_text(json.dumps(found, indent=1))
print(json.dumps(found, indent=1))
'''
CAPTIONS = {
    "loss": "The loss along training, for each run.",
    "sample": "What the trained models generate, for each run.",
    "metric": "Each metric by run and dataset.",
    "curve": "Curves along training, for each run.",
}


def plan(values: dict[str, Any], dice: random.Random) -> Plan:
    """The arms that were worked out, or the two sides of a setting."""
    idea: Idea = values["idea"]
    if worked := worked_ideas(values["template"]).get(known_name(values["template"], idea)):
        return Plan(question=idea.Hypothesis or idea.Experiment, arms=_cut(worked.arms, values["max_runs"]),
                    margins=worked.margins)  # fmt: skip
    setting = _setting(values["template"], idea)
    arms = [
        Arm(name=f"{setting_name(setting).removeprefix('sensitivity_to_')}_{side}",
            title=f"{setting.name.replace('_', ' ')[:26]} {setting.times(factor):g}",
            change=f"`{setting.name}` becomes {setting.times(factor)!r} instead of {setting.value!r}, no more.",
            prediction=f"If {setting.about} decides, this run and its counterpart fall on two sides of the baseline.")
        for side, factor in FACTORS.items() if setting.times(factor) != setting.value  # 1 has no half
    ]  # fmt: skip
    return Plan(question=idea.Hypothesis or idea.Experiment, arms=arms[: values["max_runs"]])


def _cut(arms: list[Arm], most: int) -> list[Arm]:
    """The first arms; the last gives way to a run that could show the idea wrong, if there was none."""
    kept = arms[:most]
    if len(kept) > 1 and all(arm.role == "variant" for arm in kept):
        names = {"run_0", *(arm.name for arm in kept[:-1])}
        tests = [arm for arm in arms[most:] if arm.role != "variant" and arm.start_from in names]
        kept[-1:] = tests[:1] or kept[-1:]
    return kept


def _setting(template: Template, idea: Idea, code: str = "") -> Setting:
    name = known_name(template, idea)
    for setting in find_settings(template, code):
        if setting_name(setting) == name:
            return setting
    raise KitError(
        f"The scripted scientist cannot carry out {idea.Name!r}: it knows the worked ideas of {template.name!r} "
        f"and the settings of its experiment.py. Choose one of those, or use a real model."
    )


def edit(values: dict[str, Any], dice: random.Random) -> str:
    """For each program the blocks that were worked out, or one that gives a setting its new value."""
    written = ((trial, _edit(values["template"], values["idea"], trial)) for trial in values["trials"])
    return "\n\n".join(reply.replace("experiment.py\n<<<", f"{trial.file}\n<<<") for trial, reply in written)


def _edit(template: Template, idea: Idea, trial: Any) -> str:
    arm = trial.arm
    if (worked := worked_ideas(template).get(known_name(template, idea))) and arm.name in worked.edits:
        return f"{arm.change}\n\n{worked.edits[arm.name]}"
    before, here = _setting(template, idea), _setting(template, idea, trial.code)
    if (side := arm.name.rpartition("_")[2]) not in FACTORS:
        raise KitError(f"The scripted scientist did not plan {arm.name!r} and cannot make it: use a real model.")
    new = before.times(FACTORS[side])
    if trial.trouble and here.value != before.value:
        new = _between(before.value, here.value)
        if new not in (before.value, here.value):
            return f"The same change, half as far: {new!r}.\n\n{edit_setting(trial.code, here, new)}"
        # Nothing milder is left. The first edit again does not fit, and the bench will give up.
        return f"{arm.change}\n\n{edit_setting(template.code, before, before.times(FACTORS[side]))}"
    return f"{arm.change}\n\n{edit_setting(trial.code, here, new)}"


def _between(one: float, other: float) -> float:
    middle = (one + other) / 2
    return round(middle) if isinstance(one, int) else float(f"{middle:.6g}")


def note(values: dict[str, Any], dice: random.Random) -> Note:
    """What the verdicts say, in words; numbers stay in the ledger."""
    arm, ledger, run = values["arm"], values["ledger"], values["run"]
    counts = ledger.verdicts(run)
    judged = _judged(counts)
    nothing = "Nothing differs from" if counts["identical"] else "Nothing could be compared with"
    parts = [_counted(counts) if judged else f"{nothing} the baseline."]
    for metric in ledger.headline():
        parts.append(_by_dataset(ledger, metric, run))
    parts.append(f"The prediction was: {arm.prediction}")
    if judged and counts["inconclusive"] == judged:
        parts.append("With these seeds nothing can be told apart from chance.")
    return Note(text=" ".join(parts), settled=False)


def _judged(counts: Any) -> int:
    return sum(counts[verdict] for verdict in ("better", "worse", "inconclusive", "equivalent"))


def _counted(counts: Any) -> str:
    better, worse, unclear = (number_word(counts[verdict]) if counts[verdict] else "none"
                              for verdict in ("better", "worse", "inconclusive"))  # fmt: skip
    judged = _judged(counts)
    near = f", {number_word(counts['equivalent'])} equivalent" if counts["equivalent"] else ""
    return (f"Of {number_word(judged)} comparison{'s' * (judged != 1)} with the baseline, {better} came out better, "
            f"{worse} worse{near} and {unclear} inconclusive.")  # fmt: skip


def _by_dataset(ledger: Any, metric: str, run: str) -> str:
    """One sentence a metric: which data sets came out which way."""
    label = ledger.metrics[metric].label or metric.replace("_", " ")
    groups: dict[str, list[str]] = {}
    for comparison in ledger.comparisons:
        if (comparison.metric, comparison.run) == (metric, run):
            groups.setdefault(comparison.verdict, []).append(comparison.dataset)
    said = "; ".join(f"{verdict} on {_list(sets)}" for verdict, sets in groups.items())
    return f"{label}: {said}." if said else ""


def probe(values: dict[str, Any], dice: random.Random) -> Probe:
    """One look behind the means: on how many seeds each run beats the run that it is held against."""
    ledger = values["ledger"]
    pairs = list(dict.fromkeys((c.run, c.baseline) for c in ledger.comparisons if c.baseline in ledger.runs))
    metrics = {name: ledger.metrics[name].direction for name in ledger.headline() if ledger.metrics[name].direction}
    if values["probes"] or not pairs or not metrics:
        return Probe(question="", code="", done=True)
    question = "On what share of seeds and data sets does each run beat the run that it is held against?"
    return Probe(question=question, code=PROBE.format(pairs=pairs, metrics=metrics), done=True)


def conclude(values: dict[str, Any], dice: random.Random) -> Conclusion:
    """The verdicts of all runs, and which of them stayed open; a script cannot read predictions."""
    ledger, plan = values["ledger"], values["plan"]
    counts = ledger.verdicts()
    answer = _counted(counts) if _judged(counts) else "Nothing could be compared with the baseline."
    runs = {arm.name: f"run_{number}" for number, arm in enumerate(plan.arms, 1)}
    flat = [arm for arm in plan.arms if _is_undecided(ledger.verdicts(runs[arm.name]))]
    missed = [f"{arm.title}: {first_sentence(arm.prediction)} No comparison of this run was decided." for arm in flat]
    clear = [arm.title for arm in plan.arms if arm not in flat and runs[arm.name] in ledger.runs]
    lesson = f"Decided at least in part: {_list(clear)}." if clear else "None of the changes moved a deciding metric."
    return Conclusion(answer=f"The question was: {plan.question} {answer}", mispredicted=missed, lesson=lesson)


def _is_undecided(counts: Any) -> bool:
    return counts["inconclusive"] > 0 and not counts["better"] + counts["worse"]


def first_sentence(text: str) -> str:
    """The first sentence of a text, with its full stop."""
    return text.partition(". ")[0].rstrip(".") + "."


def look(values: dict[str, Any], dice: random.Random) -> FigureLook:
    """A script does not see: it passes on what the kit itself found, and leaves the figures as they are."""
    problems = [FigureProblem(figure=fault.split()[0], problem=fault) for fault in values["drawing"].faults()]
    return FigureLook(problems=problems, done=True)


def redraw(values: dict[str, Any], dice: random.Random) -> str:
    """The scripted scientist asks for no other figures, so nobody asks it to draw them."""
    raise KitError("The scripted scientist cannot mend plot.py: use a real model.")


def caption(values: dict[str, Any], dice: random.Random) -> Captions:
    """For each figure what the function that draws it says of it, else what its name says."""
    drawing, labels = values["drawing"], values["labels"]
    named = [f"{run} is {label}" for run, label in labels.items()]
    named = "" if "labels.json" in drawing.code else f" Runs: {_list(named)}."
    probed = {file: probe.question for probe in values["probes"] for file in probe.figures}
    drawn = {name: probed.get(name) or _drawn_by(drawing.code, name) or _words_for(name) for name in drawing.figures}
    return Captions(figures=[Caption(file=name, caption=words + named) for name, words in drawn.items()])


def _drawn_by(code: str, name: str) -> str:
    """The first sentence of the docstring of the function in which a figure's name stands."""
    try:
        functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError):
        return ""
    for node in functions:
        if any(isinstance(part, ast.Constant) and part.value == name for part in ast.walk(node)):
            words = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            return words if words.endswith(".") else ""
    return ""


def _words_for(name: str) -> str:
    stem = name.rpartition(".")[0].lower()
    known = next((words for word, words in CAPTIONS.items() if word in stem), "")
    rest = stem.replace("_", " ").capitalize()
    return f"{rest}. {known}" if known else f"{rest}, as the template's plotting program draws it."


def number_word(number: int) -> str:
    """A small count in words."""
    if number < len(WORDS):
        return WORDS[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{WORDS[ones]}" if ones else "") if number < 100 else "many"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"
