"""The form of a reply as a model reads it: JSON with what may stand in each place, and why."""

import json
from typing import Any

from pydantic import BaseModel

PLAIN = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def shape(reply: type[BaseModel]) -> str:
    """A line a field: its name, what may stand there, and what it is for."""
    schema = reply.model_json_schema(by_alias=True)
    return _shape(schema, schema.get("$defs", {}), 0)


def _shape(node: dict[str, Any], parts: dict[str, Any], depth: int) -> str:
    if "$ref" in node:
        return _shape(parts[node["$ref"].rpartition("/")[2]], parts, depth)
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        if values == list(range(1, len(values) + 1)):
            return f"1 to {len(values)}"
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
    if "anyOf" in node:
        return " or ".join(_shape(one, parts, depth) for one in node["anyOf"])
    if node.get("type") == "array":
        return f"[{_shape(node['items'], parts, depth)}, …]"
    if fields := node.get("properties"):
        lines = [_line(name, field, parts, depth + 1) for name, field in fields.items()]
        return "\n".join(["{", *lines, " " * depth + "}"])
    return PLAIN.get(node.get("type", ""), "anything")


def _line(name: str, field: dict[str, Any], parts: dict[str, Any], depth: int) -> str:
    what = _shape(field, parts, depth)
    about = "; ".join(filter(None, [field.get("description", ""), *_bounds(field)]))
    return " " * depth + f"{json.dumps(name)}: {what}" + (f"  // {about}" if about else "")


def _bounds(field: dict[str, Any]) -> list[str]:
    """What else has to hold for a field."""
    low, high, least = (field.get(word) for word in ("minimum", "maximum", "minItems"))
    said = [f"{low} to {high}" if high is not None else f"at least {low}"] if low is not None else []
    said += [f"at least {least}"] if least else []
    said += [f"matches {field['pattern']}"] if "pattern" in field else []
    return said + ([f"{json.dumps(field['default'])} if left out"] if "default" in field else [])
