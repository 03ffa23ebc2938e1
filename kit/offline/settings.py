"""The settings of training and model that a program has, found by reading it; and edits that change one."""

import ast
import re
from typing import NamedTuple

from kit.template import Template

# Never touched: what decides the data, the budget, the evaluation or where things are written.
NOT_OURS = re.compile(
    r"seed|eval|test|val(?!ue)|valid|path|dir|file|out|log|device|step|epoch|iter|sample|data|preset|dtype|name|label|"
    r"version|color|figure|size_of|num_|n_seed|batch|worker|interval|url|port|debug|verbose|save|load|dim_in|classes"
)
# What researchers ask about first, with the words in which they ask.
INTEREST = {
    r"learning_rate|^lr$|rate": "the learning rate",
    r"momentum": "momentum",
    r"weight_decay|decay": "weight decay",
    r"dropout": "dropout",
    r"beta|ema": "the averaging of the weights or moments",
    r"warmup": "the warm-up",
    r"noise|sigma|temperature": "the amount of noise",
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
        """The value scaled, of the same kind; a fraction of one stays below one."""
        scaled = self.value * factor
        if isinstance(self.value, int):
            return max(1, round(scaled))
        if 0.5 <= self.value < 1 and factor > 1:  # 0.9 doubled: half as far from one
            scaled = 1 - (1 - self.value) / factor
        return float(f"{scaled:.6g}")


def find_settings(template: Template, code: str = "") -> list[Setting]:
    """The settings that may be varied, the most interesting first."""
    code = code or template.code
    protected = {entry.partition(":")[2] for entry in template.protected}
    found = [setting for node in _places(ast.parse(code), protected) for setting in _read(node)]
    return sorted(found, key=lambda s: (s.rank, s.line))


def _places(tree: ast.Module, protected: set[str]):
    """Assignments of the module and of its classes, and options of its command line."""
    for node in tree.body:
        if getattr(node, "name", None) in protected:
            continue
        if isinstance(node, ast.ClassDef):
            yield from (part for part in node.body if isinstance(part, ast.AnnAssign | ast.Assign))
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            yield node
        yield from (call for call in ast.walk(node) if _is_option(call))


def _is_option(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"


def _read(node: ast.AST) -> list[Setting]:
    if isinstance(node, ast.Call):
        names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        value = next((k.value for k in node.keywords if k.arg == "default"), None)
        name = names[-1].lstrip("-") if names else ""
    else:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target  # type: ignore[attr-defined]
        name, value = getattr(target, "id", ""), node.value  # type: ignore[attr-defined]
    if not isinstance(value, ast.Constant) or isinstance(value.value, bool) or not isinstance(value.value, int | float):
        return []
    if not name or value.value <= 0 or NOT_OURS.search(name.lower()) or value.lineno != value.end_lineno:
        return []
    for rank, (pattern, about) in enumerate(INTEREST.items()):
        if re.search(pattern, name.lower()):
            return [Setting(name, value.value, value.lineno - 1, value.col_offset, value.end_col_offset or 0, about, rank)]
    return []


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
