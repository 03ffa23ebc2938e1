"""The settings of training and model that a program has, found by reading it; and edits that change one."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from kit.template import Template

# Never touched: what decides the data, the budget, the evaluation or where things are written.
NOT_OURS = re.compile(
    r"seed|eval|test|val(?!ue)|valid|path|dir|file|(?<!drop)out|log|device|step|epoch|iter|sample|data|preset|"
    r"dtype|name|label|version|color|figure|size_of|num_(?!layers|hidden)|n_seed|batch|worker|interval|url|port|"
    r"debug|verbose|save|load|dim_in|in_dim|input|classes|update|budget|checkpoint|held|image|vocab|cuda|[cg]pu"
)
# What researchers ask about first, with the words in which they ask.
INTEREST = {
    r"learning_?rate|^lr$": "the learning rate",
    r"momentum": "momentum",
    r"weight_decay|^wd$": "weight decay",
    r"dropout": "dropout",
    r"beta_?[12]$|(^|_)ema(_|$)|averag": "the averaging of the weights or moments",
    r"warmup": "the warm-up",
    r"noise|sigma|beta_(start|end|min|max)$": "the amount of noise",
    r"temperature": "the temperature",
    r"embed|frequenc": "the embedding",
    r"hidden|width|depth|layer|dim": "the size of the network",
}


class Setting(NamedTuple):
    """A number in the source, where it stands and what it is about."""

    name: str
    value: float | int
    line: int  # from 0
    start: int  # columns of the value
    end: int
    about: str
    rank: int

    def times(self, factor: float) -> float | int:
        """The value scaled, of the same kind; near one, its distance from one is scaled instead."""
        scaled = self.value * factor
        if isinstance(self.value, int):
            return max(1, round(scaled))
        if (0.5 if factor > 1 else 0.8) <= self.value < 1:  # 0.9 doubled: half as far from one
            scaled = 1 - (1 - self.value) / factor
        new = float(f"{scaled:.10g}")
        return self.value if self.value < 1 <= new and scaled < 1 else new


def find_settings(template: Template, code: str = "") -> list[Setting]:
    """The settings that may be varied, the most interesting first."""
    code = code or template.code
    tree, protected = ast.parse(code), {entry.partition(":")[2] for entry in template.protected}
    measured = {word for node in tree.body if _names(node) & protected for word in _words(node)}
    found = [setting for node in _places(tree, protected) for setting in _read(node)]
    found = found or list(_unnamed(tree))
    return sorted((s for s in found if s.name not in measured), key=lambda s: (s.rank, s.line))


def _places(tree: ast.Module, protected: set[str]):
    """Assignments of the module and of its classes, and options of its command line."""
    for node in tree.body:
        if _names(node) & protected:
            continue
        if isinstance(node, ast.ClassDef) and not re.search(r"eval|test|valid", node.name.lower()):
            given = _given(tree, node.name)
            fields = (part for part in node.body if isinstance(part, ast.AnnAssign | ast.Assign))
            yield from (part for part in fields if not _names(part) & given)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            yield node
        yield from (call for call in ast.walk(node) if _is_option(call))


def _names(node: ast.AST) -> set[str]:
    """What a statement defines."""
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return {getattr(part, "name", None) or getattr(part, "id", "") for part in (node, *targets)} - {""}


def _words(node: ast.AST) -> set[str]:
    """The names that a part of the program uses."""
    return {getattr(part, "id", None) or getattr(part, "attr", "") for part in ast.walk(node)}


def _given(tree: ast.Module, name: str) -> set[str]:
    """Fields that get another value where the class is called, as in a preset: a default may not count."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = [(getattr(call.func, "id", getattr(call.func, "attr", "")), call.keywords) for call in calls]
    return {word.arg for maker, words in called if maker in (name, "replace") for word in words if word.arg}


def _is_option(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"


def _read(node: ast.AST) -> list[Setting]:
    if isinstance(node, ast.Call):
        names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        value = next((k.value for k in node.keywords if k.arg == "default"), None)
        names.sort(key=lambda flag: not flag.startswith("--"))  # the program reads it by its first long name
        name = names[0].lstrip("-").replace("-", "_") if names else ""
    else:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target  # type: ignore[attr-defined]
        name, value = getattr(target, "id", ""), node.value  # type: ignore[attr-defined]
    if not isinstance(value, ast.Constant) or isinstance(value.value, bool) or not isinstance(value.value, int | float):
        return []
    if not name or NOT_OURS.search(name.lower()) or value.lineno != value.end_lineno:
        return []
    if not 1e-30 < value.value < 1e30:
        return []
    for rank, (pattern, about) in enumerate(INTEREST.items()):
        if re.search(pattern, name.lower()):
            return [
                Setting(name, value.value, value.lineno - 1, value.col_offset, value.end_col_offset or 0, about, rank)
            ]
    return []


def _unnamed(tree: ast.Module) -> Iterator[Setting]:
    """Numbers that have no name of their own, given to a call by keyword; for programs that name none."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and not _is_option(node)):
        caller = getattr(call.func, "attr", getattr(call.func, "id", ""))
        for word in call.keywords:
            parts = word.value.elts if isinstance(word.value, ast.Tuple | ast.List) else [word.value]
            for place, part in enumerate(parts, 1):
                name = f"{caller}_{word.arg}" + (f"_{place}" if len(parts) > 1 else "")
                number = part.value if isinstance(part, ast.Constant) else None
                if isinstance(number, int | float) and not isinstance(number, bool) and not NOT_OURS.search(name):
                    about = f"the number that `{caller}` gets as `{word.arg}`"
                    yield Setting(name, number, part.lineno - 1, part.col_offset, part.end_col_offset or 0, about,
                                  len(INTEREST))  # fmt: skip


def edit_setting(code: str, setting: Setting, new: float | int) -> str:
    """A SEARCH/REPLACE block that gives a setting another value; SEARCH occurs once."""
    lines = code.split("\n")
    first = last = setting.line
    while code.count("\n".join(lines[first : last + 1]) + "\n") > 1 and (first > 0 or last < len(lines) - 2):
        first, last = max(0, first - 1), min(len(lines) - 2, last + 1)
    old = lines[setting.line]
    encoded = old.encode()  # columns of ast count bytes
    changed = (encoded[: setting.start] + repr(new).encode() + encoded[setting.end :]).decode()
    search = lines[first : last + 1]
    replace = [changed if number == setting.line else line for number, line in enumerate(search, first)]
    return "\n".join(["experiment.py", "<<<<<<< SEARCH", *search, "=======", *replace, ">>>>>>> REPLACE", ""])
