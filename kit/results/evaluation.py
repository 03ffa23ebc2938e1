"""Whether an edit touched the code that measures."""

import ast

from kit.template import Template


def protected_changes(template: Template, before: str, after: str) -> list[str]:
    """The protected parts of experiment.py that differ, apart from comments and layout.

    A part is a function, a class or a constant of the module, written `experiment.py:name`.
    """
    names = [entry for entry in template.protected if entry.partition(":")[0] == "experiment.py"]
    old, new = _parts(before), _parts(after)
    return [entry for entry in names if old.get(entry.partition(":")[2]) != new.get(entry.partition(":")[2])]


def _parts(code: str) -> dict[str, str]:
    """Top-level names with what stands for them; nothing where the code cannot be read."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return {}
    parts = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            parts[node.name] = ast.dump(_without_docstring(node))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        parts[name.id] = ast.dump(node)
    return parts


def _without_docstring(node: ast.AST) -> ast.AST:
    body = getattr(node, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return node
