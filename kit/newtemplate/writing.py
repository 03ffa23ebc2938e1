"""The files of a template, from what was adopted."""

import json
import re
from pathlib import Path

from kit import skeleton
from kit.schemas import Adoption
from kit.store import save, save_json

SYSTEM = (
    "You are a careful researcher who knows the literature around this program, and who would rather learn why "
    "something works than collect a small gain."
)
README = """\
# {title}

{about}

Made from `{script}` by `kit new-template`. `experiment.py` is what an idea changes; `plot.py` draws the runs.

To be checked by somebody who knows the experiment:

{assumed}

`kit check {name}` says whether it fits. By hand, in a copy: `python experiment.py --out_dir=run_0`, `python plot.py`.
"""


def write(draft: Path, adopted: Adoption, name: str, script: str, guess: str) -> None:
    """Write the files that make a folder of somebody's files a template; `guess` says who guessed."""
    save(draft / "experiment.py", adopted.experiment)
    save(draft / "plot.py", adopted.plot)
    if re.search(r"^import each_seed\b", adopted.experiment, re.MULTILINE):
        known = json.dumps([metric.name for metric in adopted.metrics])
        text = skeleton.text("each_seed.py").replace("METRICS: list[str] = []", f"METRICS: list[str] = {known}", 1)
        save(draft / "each_seed.py", text.replace('DATASET = "data"', f"DATASET = {json.dumps(name)}", 1))
    save(draft / "template.toml", toml(adopted, script, guess))
    save_json(draft / "prompt.json", {"system": SYSTEM, "task_description": adopted.task_description})
    save_json(draft / "seed_ideas.json", adopted.seed_ideas)
    assumed = "\n".join(f"- {line}" for line in adopted.assumed) or "- Nothing was assumed."
    words = {"title": adopted.title, "about": adopted.about, "script": script, "assumed": assumed, "name": name}
    theirs = (draft / "README.md").exists()
    save(draft / ("TEMPLATE.md" if theirs else "README.md"), README.format(**words))


def toml(adopted: Adoption, script: str, guess: str) -> str:
    """template.toml, with what is a guess marked as one."""
    lines = [f"title = {quoted(adopted.title)}", "",
             "# For a reader of a paper about it; what a model is told stands in prompt.json.",
             f"about = {quoted(adopted.about)}", "",
             "# What measures a result. An edit that touches one of these is flagged, its numbers are not compared.",
             "protected = ["]  # fmt: skip
    lines += [f"  {quoted('experiment.py:' + part)}," for part in dict.fromkeys(map(bare, adopted.protected))] + ["]"]
    for metric in adopted.metrics:
        lines += ["", f"[metrics.{metric.name}]", f"label = {quoted(metric.label)}"]
        if metric.direction == "none":
            lines.append('# direction = "min"  # or "max": without one it is shown and compared with nothing')
        else:
            lines.append(f'direction = "{metric.direction}"  # {guess}: check it')
        lines += [f"unit = {quoted(metric.unit)}"] * bool(metric.unit)
        lines += ["headline = true"] * metric.headline + ["timing = true"] * metric.timing
    lines += ["", "# The sizes, smallest first; experiment.py reads the name from KIT_PRESET."]
    for size in adopted.sizes:
        lines += [f"[presets.{size.name}]", f"seeds = {size.seeds}", f"about = {quoted(size.about)}", ""]
    return f"# Written by `kit new-template` from {script}.\n\n" + "\n".join(lines)


def bare(name: str) -> str:
    """experiment.py:evaluate and evaluate() are evaluate."""
    return name.rpartition(":")[2].strip().removesuffix("()")


def quoted(text: str) -> str:
    """A text as TOML's basic string, which is JSON's but for one sign."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
