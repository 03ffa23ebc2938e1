"""Every prompt that is asked exists and gets the values it names, and nothing else."""

import ast
import json
from pathlib import Path

import pytest

from kit import offline, prompts
from kit.outcomes import Outcomes
from kit.review import Panel
from kit.schemas import KitError, Review

ROOT = Path(__file__).parent.parent
# What a stage gives to all its prompts when it connects (the notebooks, and Manuscript.common).
COMMON = {
    "ideas": {"template", "outcomes", "max_runs"},
    "novelty": {"template"},
    "experiments": {"template", "idea"},
    "citations": {"template", "idea", "plan"},
    "paper": {"template", "idea", "plan", "notes", "ledger", "figures", "tables", "changes", "numbers", "verdicts",
              "outcome", "confidence", "conclusion", "probes"},
    "review": {"persona", "examples", "paper"},
    "quiz": set(),
    "template": set(),
}  # fmt: skip

SPELT_OUT = {  # what `**task(…)`, `**paper.part(…)` and `**paper.task(…)` stand for
    "experiments/edit": {"trials", "metrics"},
    "paper/draft": {"together", "written", "references"},
    "paper/revise": {"files", "points", "with_numbers"},
}


def notebook_cells(file: Path) -> list[str]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def asks() -> list[tuple[str, str, set[str]]]:
    """Where, which prompt, with which values: every ask("stage/verb", …) of notebooks and kit."""
    sources = {f.name: "\n".join(notebook_cells(f)) for f in sorted((ROOT / "notebooks").glob("0*.ipynb"))}
    sources |= {f.name: f.read_text(encoding="utf-8") for f in sorted((ROOT / "kit").rglob("*.py"))}
    found = []
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "ask":
                prompt = getattr(node.args[0], "value", "")
                if not prompt:  # a chat that hands on what it was asked
                    continue
                given = {k.arg for k in node.keywords}
                given = given - {None} | (SPELT_OUT[prompt] if None in given else set())
                found.append((name, prompt, given - {"index", "check", "pictures"}))
    return found + asks_of_many()


def asks_of_many() -> list[tuple[str, str, set[str]]]:
    """The same of every ask_many("stage/verb", …), whose values a notebook lists in the same cell, or a panel gives."""
    panel = Panel(1)
    review = panel.invite()[0]
    panel.take([Review.model_construct()])
    listed = {"review/review": set(review), "review/reflect": set(panel.look_again(1)[0])}
    found = []
    for file in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        for cell in notebook_cells(file):
            nodes = list(ast.walk(ast.parse(cell)))
            called = [node for node in nodes if getattr(getattr(node, "func", None), "attr", "") == "ask_many"]
            for call in called:
                prompt = call.args[0].value
                keys = {key.value for node in nodes if isinstance(node, ast.Dict) for key in node.keys}
                found.append((file.name, prompt, (listed.get(prompt) or keys) - {"index", "check", "pictures"}))
    return found


def test_every_prompt_is_asked_somewhere():
    of_the_quiz = {name for name in prompts.prompt_names() if name.startswith("quiz/")}  # asked by a template's program
    assert {prompt for _, prompt, _ in asks()} | of_the_quiz | {"experiments/aider"} == set(prompts.prompt_names())


@pytest.mark.parametrize(
    "where, prompt, given", asks(), ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else value
)
def test_ask_gives_what_the_prompt_names(where: str, prompt: str, given: set[str]):
    needed = prompts.value_names(prompt)
    common = COMMON[prompt.partition("/")[0]]
    assert needed <= given | common, f"{where}: {prompt} lacks {needed - given - common}"
    assert given <= needed | {"references"}, (  # which a draft reads through a file that its sections name
        f"{where}: {prompt} does not use {given - needed}"
    )


@pytest.mark.parametrize("stage", COMMON)
def test_system_prompt_is_made_of_what_does_not_change(stage: str):
    assert prompts.value_names(f"{stage}/system") <= COMMON[stage]


def test_the_scripted_scientist_answers_every_prompt():
    not_his = {"experiments/aider"}  # aider reads it, and aider needs a real model
    assert set(offline.ANSWERS) == set(prompts.prompt_names()) - not_his


def test_what_aider_is_told_needs_nothing_that_the_edit_prompt_does_not():
    assert prompts.value_names("experiments/aider") <= prompts.value_names("experiments/edit")


def test_a_missing_value_stops_and_is_named():
    with pytest.raises(KitError, match="archive"):
        prompts.render("ideas/propose", {"number": 1, "outcomes": Outcomes(), "max_runs": 5})


def test_an_unknown_prompt_names_those_that_exist():
    with pytest.raises(KitError, match="ideas/propose"):
        prompts.render("ideas/propse", {})


def test_prompts_hold_no_unrendered_braces():
    text = prompts.render("_fragments/try_again", {"trouble": "a { brace"})
    assert "{{" not in text and "a { brace" in text
