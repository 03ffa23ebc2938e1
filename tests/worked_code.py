"""The programs that the worked ideas of a template make of it."""

from functools import cache

from kit import editor
from kit.offline.worked import worked_ideas
from kit.template import load_template


@cache
def worked_code(template: str, name: str) -> str:
    """experiment.py with the arm `idea/arm` applied, and before it the arms that it starts from."""
    idea, _, arm = name.partition("/")
    task = load_template(template)
    worked = worked_ideas(task)[idea]
    start = next(found.start_from for found in worked.arms if found.name == arm)
    before = task.code if start == "run_0" else worked_code(template, f"{idea}/{start}")
    return editor.apply(editor.Edits.parse(worked.edits[arm]).edits, {"experiment.py": before})["experiment.py"]
