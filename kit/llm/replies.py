"""From the text of a reply to the object that was asked for."""

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kit.schemas import FormatError

T = TypeVar("T", bound=BaseModel)
UNSAID = {"minimum", "maximum", "pattern", "minItems", "maxItems", "default", "title"}
FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


def has_grammar(reply: type[BaseModel]) -> bool:
    """True for types with a text form of their own (SEARCH/REPLACE blocks, a LaTeX section)."""
    return hasattr(reply, "parse")


def strict_schema(reply: type[BaseModel]) -> dict:
    """The schema in the form that strict modes take: closed objects, all fields required, no ranges.

    What a strict mode cannot say (ranges, patterns) is checked when the reply is parsed.
    """
    return _closed(_said(reply.model_json_schema(by_alias=True)))


def _said(node: Any) -> Any:
    """The schema without what a strict mode cannot say; a field may itself be called title or pattern, and stays."""
    if isinstance(node, list):
        return [_said(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _said(part) for name, part in node.items() if name not in {*UNSAID, "properties"}}
    if fields := node.get("properties"):
        kept["properties"] = {name: _said(part) for name, part in fields.items()}
    return kept


def _closed(node: Any) -> Any:
    """The schema with all its objects closed and all their fields required."""
    if isinstance(node, list):
        return [_closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _closed(part) for name, part in node.items()}
    if fields := node.get("properties"):
        kept |= {"additionalProperties": False, "required": list(fields)}
    return kept


def parse_reply(text: str, reply: type[T]) -> T:
    """The reply as its type, or a FormatError whose message the model can act on."""
    if not text.strip():
        raise FormatError("The reply was empty.")
    if has_grammar(reply):
        return reply.parse(text)  # pyright: ignore[reportAttributeAccessIssue]
    data = find_object(text)
    try:
        return reply.model_validate(data)
    except ValidationError as error:
        wrong = [f"- {'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors()]
        raise FormatError("The JSON does not have the form that was asked for:\n" + "\n".join(wrong)) from error


def find_object(text: str) -> dict:
    """The JSON object in a reply: alone, in a fence, or after some prose (then the last whole one)."""
    for candidate in [text, *reversed(FENCE.findall(text))]:
        try:
            data = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(data, dict):
            return data
    objects = list(_objects(text))
    if not objects:
        raise FormatError("No JSON object was found in the reply. Send one JSON object and nothing else.")
    return objects[-1]


def _objects(text: str):
    decoder, position = json.JSONDecoder(), text.find("{")
    while position >= 0:
        try:
            data, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            if isinstance(data, dict):
                yield data
        position = text.find("{", end)
