"""Whether an edit touched the code that measures."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from kit.schemas import KitError
from kit.template import Template

Places = dict[str, list[str]]  # a name → everything in a program that gives it a meaning, in order
REACH = {"globals", "locals", "vars", "setattr", "delattr", "exec", "eval", "__dict__", "modules", "__setitem__"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def protected_changes(template: Template, before: str, after: str) -> list[str]:
    """The protected parts of experiment.py that differ, apart from comments, layout and docstrings.

    A part is a function, a class or a constant of the module, written `experiment.py:name`. It differs where it
    is defined otherwise, where anything else binds or sets its name, and where nothing uses it any more. What
    is changed without its name being said cannot be seen here.
    """
    entries = {entry: entry.partition(":")[2] for entry in template.protected if entry.startswith("experiment.py:")}
    old, new = _places(before, set(entries.values())), _places(after, set(entries.values()))
    if missing := [entry for entry, name in entries.items() if name not in old]:
        raise KitError(f"The template {template.name!r} protects {', '.join(missing)}, which is not there.")
    return [entry for entry, name in entries.items() if old[name] != new.get(name)]


def _places(code: str, names: set[str]) -> Places:
    """What defines, binds or uses each name; nothing where the code cannot be read."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return {}
    for node in ast.walk(tree):
        _drop_docstring(node)
    found: Places = defaultdict(list)
    _Search(names, found).visit(tree)
    for name in _used(tree, names) & set(found):
        found[name].append("used")
    return dict(found)


def _drop_docstring(node: ast.AST) -> None:
    documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module)
    if documented and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _used(tree: ast.Module, names: set[str]) -> set[str]:
    """The names that are read outside of their own definition."""
    return {part.id for node in tree.body for part in ast.walk(node)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in names
            and getattr(node, "name", None) != part.id}  # fmt: skip


class _Search(ast.NodeVisitor):
    """Collects, statement by statement, what gives one of some names a meaning, wherever it stands."""

    def __init__(self, names: set[str], found: Places):
        self.names, self.found = names, found
        self.here = ""  # the statement at hand

    def generic_visit(self, node: ast.AST) -> None:
        reached: Iterator[str] = iter(())
        if isinstance(node, ast.stmt):
            simple = not hasattr(node, "body")
            self.here = ast.dump(node) if simple else type(node).__name__
            reached = _reached(node) if simple else reached
        for name in self.names & {*_bound(node), *reached}:
            self.found[name].append(self.here)
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name in self.names:
            self.found[node.name].append(ast.dump(node))
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if node.name in self.names:
            self.found[node.name].append(ast.dump(node))
        own = {id(part) for part in node.body if isinstance(part, FUNCTIONS)}  # a method is reached by its object
        for part in ast.iter_child_nodes(node):
            self.generic_visit(part) if id(part) in own else self.visit(part)


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds or changes: by assignment, import, argument, loop, deletion, method."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield from (_base(node), "" if _base(node) in ("self", "cls") else node.attr)
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield from (_base(node), str(getattr(node.slice, "value", "")))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        yield _base(node.value.func)  # LEVELS.append(3)


def _base(node: ast.AST) -> str:
    """The name at the beginning of a.b[c].d."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return getattr(node, "id", "")


def _reached(node: ast.stmt) -> Iterator[str]:
    """The names that a statement mentions which can set names by their spelling, as `setattr` can."""
    parts = list(ast.walk(node))
    words = {getattr(part, "id", None) or getattr(part, "attr", "") for part in parts}
    if words & REACH:
        yield from words
        yield from (part.arg for part in parts if isinstance(part, ast.keyword) and part.arg)
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        yield from "".join(letter if letter.isidentifier() or letter.isdigit() else " "
                           for letter in " ".join(texts)).split()  # fmt: skip
