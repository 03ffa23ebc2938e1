"""Small pieces of HTML with which objects show themselves in a notebook and in the report."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any


class Html(str):
    """Text that is HTML already and is not escaped again."""

    def _repr_html_(self) -> str:
        return str(self)


def cell(value: Any) -> str:
    """A value as HTML."""
    return value if isinstance(value, Html) else escape(str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> Html:
    """A plain table, text to the left and numbers to the right."""
    head = "".join(f"<th style='text-align:left'>{cell(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(_td(value) for value in row) + "</tr>" for row in rows)
    title = f"<caption style='text-align:left'>{cell(caption)}</caption>" if caption else ""
    return Html(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _td(value: Any) -> str:
    side = "right" if isinstance(value, int | float) and not isinstance(value, bool) else "left"
    return f"<td style='text-align:{side};vertical-align:top'>{cell(value)}</td>"


def picture(file: Path, width: str = "100%", title: str = "") -> Html:
    """A PNG inline, so that the page needs nothing beside it."""
    data = base64.b64encode(file.read_bytes()).decode()
    return Html(f"<img src='data:image/png;base64,{data}' style='width:{width}' alt='{escape(title or file.name)}'>")


def gallery(files: Iterable[Path], width: str = "48%") -> Html:
    """Pictures side by side, each with its name."""
    figure = "<figure style='display:inline-block;margin:0.5%;width:{}'>{}<figcaption>{}</figcaption></figure>"
    return Html("".join(figure.format(width, picture(f), escape(f.name)) for f in files))


def details(summary: str, content: str) -> Html:
    """Something folded away until it is wanted."""
    return Html(f"<details><summary>{cell(summary)}</summary>{content}</details>")
