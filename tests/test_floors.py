"""Imports go down: a room uses what lies below it, never its neighbours or what lies above."""

import ast
from pathlib import Path

import pytest

KIT = Path(__file__).parent.parent / "kit"
FLOORS = [
    {"__init__"},
    {"show", "process", "likeness", "skeleton"},
    {"schemas"},
    {"store", "archive", "prompts", "letters"},
    {"workspace"},
    {"template"},
    {"llm", "offline"},
    {"literature", "editor", "sandbox", "results", "latex", "review"},
    {"aider", "bench", "paper", "widgets", "live", "progress", "doctor", "outcomes", "quiz"},
    {"pipeline", "check"},
    {"report", "newtemplate"},
    {"compare"},
    {"__main__"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
# The scripted scientist answers requests, so it knows what a request is; llm reaches it by name alone.
ALLOWED = {("offline", "llm")}


def room_of(file: Path) -> str:
    return file.relative_to(KIT).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    """The rooms of kit that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "kit":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("kit.")}
    return {name for name in found if not name.startswith("__")}


@pytest.mark.parametrize("file", sorted(KIT.rglob("*.py")), ids=lambda f: str(f.relative_to(KIT)))
def test_imports_go_down(file: Path):
    room = room_of(file)
    for other in imported_rooms(file) - {room}:
        if (room, other) not in ALLOWED:
            assert HEIGHT[other] < HEIGHT[room], f"{room} must not import {other}"


@pytest.mark.parametrize("file", sorted(KIT.rglob("*.py")), ids=lambda f: str(f.relative_to(KIT)))
def test_rooms_stay_small(file: Path):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 320, f"{file.name} is crowded: redesign it rather than adding a shelf"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 45, f"{file.name}: {node.name} is long"
