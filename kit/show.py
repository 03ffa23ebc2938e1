"""The pieces of HTML with which objects show themselves, in a notebook and in the report.

Every piece brings STYLE along, so that it can be shown alone; `once` leaves one copy of it in a larger display.
Where JupyterLab does not trust a notebook it drops STYLE and keeps the text, the sides and the widths.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any, Literal

Tone = Literal["good", "bad", "soft", "plain"]
DARK = "--kit-soft:#9ba3ae; --kit-good:#63c492; --kit-bad:#f28b7d; --kit-accent:#7fb8dc"
STYLE = """<style>
.kit { --kit-soft:var(--jp-ui-font-color2, #667080); --kit-line:var(--jp-border-color2, rgba(128,134,144,.32));
  --kit-good:#18794e; --kit-bad:#b3362a; --kit-accent:#27638c; --kit-tint:rgba(128,134,144,.13);
  font-variant-numeric:tabular-nums; line-height:1.5 }
[data-jp-theme-light="false"] .kit, .vscode-dark .kit { DARK }
.kit table { border-collapse:collapse; table-layout:auto; width:auto; margin:.3em 0 .9em; border:0; font-size:13px }
.kit-caption { color:var(--kit-soft); margin:.4em 0; font-size:12px }
.kit table th, .kit table td { padding:.32em 1.3em .32em 0; line-height:1.45; vertical-align:top; font-weight:400;
  border:0; border-bottom:1px solid var(--kit-line); max-width:46em; overflow-wrap:break-word; white-space:normal }
.kit table thead th { font-weight:600; font-size:12px; color:var(--kit-soft); vertical-align:bottom }
.kit table tr { background:none !important }
.kit table td.kit-short { white-space:nowrap } .kit table td.kit-long { min-width:15em; overflow-wrap:anywhere }
.kit dl.kit-facts { display:grid; grid-template-columns:minmax(6.5em, max-content) minmax(0, 1fr); gap:.25em 1.4em;
  margin:.4em 0 .8em; font-size:13px; max-width:62em }
.kit dl dt, .kit dl dd { margin:0; padding:0; float:none; width:auto; overflow-wrap:anywhere }
.kit dl dt { color:var(--kit-soft); font-weight:400 }
.kit dl.kit-tiles { display:grid; grid-template-columns:repeat(auto-fit, minmax(8.5em, 1fr)); gap:.9em 1.5em;
  margin:.6em 0 1em; padding:.8em 0; border:solid var(--kit-line); border-width:1px 0; max-width:66rem }
.kit .kit-tiles dt { font-size:12px } .kit .kit-tiles dd { margin:.1em 0 0; font-size:14px }
.kit-good { color:var(--kit-good) } .kit-bad { color:var(--kit-bad) } .kit-soft { color:var(--kit-soft) }
.kit small { font-size:12px; color:var(--kit-soft) } .kit-title { font-size:16px; font-weight:600; line-height:1.3 }
.kit-badge { border:1px solid; border-radius:1em; padding:.05em .65em; font-size:12px; white-space:nowrap }
.kit-bar { display:inline-block; width:6em; height:.5em; margin-right:.6em; border-radius:.25em; overflow:hidden;
  background:var(--kit-tint); print-color-adjust:exact; -webkit-print-color-adjust:exact }
.kit-bar span { display:block; height:100%; background:var(--kit-accent) }
.kit-cards { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(17em, 100%), 1fr)); gap:0 2em }
.kit-cards h4, .kit h4 { margin:.9em 0 .2em; font-size:13px; font-weight:600 }
.kit ul { margin:.2em 0 .6em; padding-left:1.2em } .kit li { margin:.15em 0; overflow-wrap:anywhere }
.kit details { margin:.3em 0; border:0; padding:0 } .kit summary { cursor:pointer; color:var(--kit-accent) }
.kit pre { font-size:12px; line-height:1.45; margin:.4em 0; padding:.7em .9em; overflow-x:auto; border-radius:4px;
  white-space:pre-wrap; overflow-wrap:anywhere; color:inherit; background:var(--kit-tint) }
.kit figure { vertical-align:top; break-inside:avoid }
.kit figcaption { font-size:12px; color:var(--kit-soft); line-height:1.4 }
.kit img { max-width:100%; background:#fff; border-radius:3px; border:1px solid var(--kit-line); box-sizing:border-box }
.kit-figures { columns:2 19em; column-gap:2em } .kit-figures figure { display:block !important;
  width:100% !important; margin:0 0 1.2em !important }
.kit-pages { display:grid; grid-template-columns:repeat(auto-fill, minmax(min(44%, 17em), 1fr)); gap:1em }
.kit-pages figure { width:auto !important; margin:0 !important } .kit-pages figcaption { text-align:center }
body:not(.report) .kit figure:has(:checked) { grid-column:1/-1; column-span:all }
.kit-zoom { cursor:zoom-in; display:block } .kit-zoom:has(:checked) { cursor:zoom-out }
.kit-zoom input { display:block !important; position:absolute; opacity:0; width:1px; height:1px; margin:0 }
.kit-zoom input:focus-visible + img { outline:2px solid var(--kit-accent); outline-offset:2px }
</style>""".replace("DARK", DARK)
TAG = re.compile(r"<style>.*?</style>|<[^>]+>", re.DOTALL)
NUMBER = re.compile(r"\(?[-−+$]?\d[\d.,]*(e[-−+]?\d+)?%?( ± [\d.e−+-]+)?\)?([·×]10\^?[-−]?\d+)?\s*[▲▼○–]?")


class Html(str):
    """Text that is HTML already and is not escaped again."""

    def _repr_html_(self) -> str:
        return str(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(plain(self))  # what a log file and a text reader get: no tags, no pictures


def plain(html: str) -> str:
    """The words of a piece of HTML, one row or paragraph a line."""
    lines = re.sub(r"</(tr|p|li|h\d|dd|figure|summary|div)>", "\n", html)
    lines = unescape(TAG.sub("", re.sub(r"</(td|th|dt)>", "  ", lines)))
    return "\n".join(line.strip() for line in lines.splitlines() if line.strip())


def cell(value: Any) -> str:
    """A value as HTML; what stands in `backticks` is code."""
    return value if isinstance(value, Html) else re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(str(value)))


def block(*parts: str) -> Html:
    """Pieces of HTML as one display."""
    return once(f"{STYLE}<div class='kit'>{''.join(parts)}</div>")


def once(html: str) -> Html:
    """The same with one copy of the style."""
    return Html(STYLE + html.replace(STYLE, "") if STYLE in html else html)


# --- words and numbers --------------------------------------------------------------------------


def table(columns: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str = "") -> Html:
    """A calm table: words to the left, columns of nothing but numbers to the right, empty columns left out."""
    lines = [[cell(value) for value in row] for row in rows]
    kept = [n for n in range(len(columns)) if not lines or any(line[n] for line in lines)]
    sides = {n: _side([line[n] for line in lines]) for n in kept}
    head = "".join(f"<th style='text-align:{sides[n]}'>{cell(columns[n])}</th>" for n in kept)
    body = "".join("<tr>" + "".join(_td(line[n], sides[n]) for n in kept) + "</tr>" for line in lines)
    top = f"<div class='kit-caption'>{cell(caption)}</div>" if caption else ""
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return block(f"{top}<div style='overflow-x:auto'>{body}</div>")


def _td(html: str, side: str) -> str:
    length = len(plain(html))
    size = " class='kit-short'" if length <= 26 else " class='kit-long'" if length > 60 else ""
    return f"<td{size} style='text-align:{side}'>{html}</td>"


def _side(cells: Iterable[str]) -> str:
    filled = [words for html in cells if (words := plain(html).strip())]
    return "right" if filled and all(NUMBER.fullmatch(words) for words in filled) else "left"


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Names and what stands behind them; what is empty is left out."""
    entries = (f"<dt>{cell(name)}</dt><dd>{cell(value)}</dd>" for name, value in pairs if value)
    return block("<dl class='kit-facts'>", *entries, "</dl>")


def tiles(pairs: Iterable[tuple[str, Any]]) -> Html:
    """The few things to know first, side by side."""
    entries = (f"<div><dt>{cell(name)}</dt><dd>{cell(value)}</dd></div>" for name, value in pairs)
    return block("<dl class='kit-tiles'>", *entries, "</dl>")


def title(text: str, *after: str) -> Html:
    """The heading of an object, with badges or a name after it."""
    return Html(f"<div><b class='kit-title'>{cell(text)}</b> {' '.join(after)}</div>")


def paragraph(text: str, tone: Tone = "plain") -> Html:
    """A paragraph."""
    return Html(f"<p class='kit-{tone}' style='max-width:62em'>{cell(text)}</p>")


def tinted(text: str, tone: Tone) -> Html:
    """Words in the colour of a judgement."""
    return Html(f"<span class='kit-{tone}'>{cell(text)}</span>")


def badge(text: str, tone: Tone = "plain", hint: str = "") -> Html:
    """A word in a lozenge; the hint shows under the pointer."""
    return Html(f'<span class="kit-badge kit-{tone}" title="{escape(hint)}">{cell(text)}</span>')


def bar(score: float, top: int) -> Html:
    """A score as a bar, with the number beside it."""
    width = round(100 * score / top)
    return Html(f"<span class='kit-bar'><span style='width:{width}%'></span></span>{score:g}<small>/{top}</small>")


def cards(groups: Mapping[str, Sequence[str]]) -> Html:
    """Headed lists side by side, as many as the page has room for; empty ones are left out."""
    lists = (f"<div><h4>{cell(head)}</h4><ul>{''.join(f'<li>{cell(point)}</li>' for point in points)}</ul></div>"
             for head, points in groups.items() if points)  # fmt: skip
    return block("<div class='kit-cards'>", *lists, "</div>")


# --- folded, listed and drawn -------------------------------------------------------------------


def details(summary: str, content: str) -> Html:
    """Something folded away until it is wanted."""
    return block(f"<details><summary>{cell(summary)}</summary>{content}</details>")


def listing(text: str) -> Html:
    """Code or plain text as it stands; the lines of a patch in their colours."""
    tones = {"+": "kit-good", "-": "kit-bad", "@": "kit-soft"} if text.startswith("---") else {}
    lines = (f"<span class='{tones[line[0]]}'>{escape(line)}</span>" if line[:1] in tones else escape(line)
             for line in text.splitlines())  # fmt: skip
    return block("<pre>", "\n".join(lines), "</pre>")


def picture(file: Path, width: str = "100%", title: str = "") -> Html:
    """A PNG inline, so that the page needs nothing beside it."""
    data = base64.b64encode(file.read_bytes()).decode()
    return Html(f'<img src="data:image/png;base64,{data}" style="width:{width}" alt="{escape(title or file.stem)}">')


def gallery(files: Iterable[Path], columns: int = 2, captions: Mapping[str, str] | None = None) -> Html:
    """Pictures side by side; a click enlarges one. Captions go by file name."""
    words, figures = captions or {}, []
    for file in files:
        name = words.get(file.name, file.stem.replace("page_0", "page_").replace("_", " "))
        switch = "<input type='checkbox' style='display:none'>"  # a click on the picture turns it
        zoom = f"<label class='kit-zoom'>{switch}{picture(file, title=name)}</label>"
        figures.append(f"<figure style='display:inline-block;margin:0.5%;width:{round(100 / columns) - 2}%'>{zoom}"
                       f"<figcaption>{cell(name)}</figcaption></figure>")  # fmt: skip
    return block(f"<div class='{'kit-figures' if columns < 3 else 'kit-pages'}'>", *figures, "</div>")
