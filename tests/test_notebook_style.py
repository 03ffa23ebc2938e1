"""The notebooks are read aloud in front of a class: this holds their style."""

import ast
import json
from itertools import pairwise
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
STAGES = [f for f in NOTEBOOKS if f.stem[:2] in ("01", "02", "03", "04")]
FORBIDDEN = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.Lambda, ast.AsyncFunctionDef)
FORBIDDEN_TEXT = (
    "os.environ",
    "sys.path",
    "!pip",
    "%pip",
    "api_key",
    "input(",
    "OPENAI",
    "ANTHROPIC",
    "print(",
)


def cells(file: Path) -> list[dict]:
    return json.loads(file.read_text(encoding="utf-8"))["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def code_cells(file: Path) -> list[dict]:
    return [cell for cell in cells(file) if cell["cell_type"] == "code"]


def is_parameters(cell: dict) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def test_the_four_stages_are_there():
    assert [f.stem for f in STAGES] == ["01_ideas", "02_experiments", "03_paper", "04_review"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_nothing_is_committed_but_the_source(file: Path):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "papermill" not in notebook["metadata"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code_cells(file))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_cells_hold_no_machinery(file: Path):
    for cell in code_cells(file):
        text = source(cell)
        assert not [w for w in FORBIDDEN_TEXT if w in text], text
        assert not [n for n in ast.walk(ast.parse(text)) if isinstance(n, FORBIDDEN)], text
        assert is_parameters(cell) or len(text.splitlines()) <= 15, (
            f"{file.stem}: a cell is longer than 15 lines\n{text}"
        )
        assert sum(isinstance(n, ast.For | ast.While) for n in ast.parse(text).body) <= 1, text


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_one_parameters_cell_of_commented_literals(file: Path):
    (cell,) = [c for c in code_cells(file) if is_parameters(c)]
    for line, node in zip(source(cell).splitlines(), ast.parse(source(cell)).body, strict=True):
        assert isinstance(node, ast.AnnAssign) and node.value, f"write name: type = literal, not {line!r}"
        ast.literal_eval(node.value)
        assert "  # " in line, f"say what it means: {line!r}"


@pytest.mark.parametrize("file", STAGES, ids=lambda f: f.stem)
def test_order_and_rhythm(file: Path):
    head, *rest = cells(file)
    assert source(head).startswith("# ") and "\n> " in source(head)
    assert f"**{file.stem[3:]}**" in source(head) and "*Reads*" in source(head) and "*Writes*" in source(head)
    assert is_parameters(rest[0]) and "import" in source(rest[1])
    assert source(cells(file)[-1]).count(".ipynb)") == 1, "the last cell links to what comes next"
    kinds = [c["cell_type"] for c in cells(file)]
    assert kinds.count("markdown") + 2 >= kinds.count("code")
    body = kinds[3:]
    runs = "".join("c" if a == b == "code" else "." for a, b in pairwise(body))
    assert "cc" not in runs, "at most two code cells in a row"


@pytest.mark.parametrize("file", STAGES, ids=lambda f: f.stem)
def test_cells_end_in_something_to_see(file: Path):
    for cell in code_cells(file)[2:]:
        last = ast.parse(source(cell)).body[-1]
        assert isinstance(last, ast.Expr | ast.For | ast.Assign), source(cell)
    shown = [isinstance(ast.parse(source(c)).body[-1], ast.Expr) for c in code_cells(file)[2:]]
    assert sum(shown) >= 0.7 * len(shown)
