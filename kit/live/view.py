"""The view on programs that run: clock, last words, curves; a table when they are over."""

import math
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import ipywidgets as w

from kit import show
from kit.live.numbers import Curve, Points, read

TICK = 0.5  # seconds between two looks at what has changed
TAIL, WIDTH = 6, 160  # lines of output that are shown, characters of each
LINES_A_TICK = 200  # a program that prints faster is not read to the last line
PANELS = 8  # quantities that are drawn
SIZE = (250, 92)  # of a panel, pixels
# Okabe and Ito's colours, as in the figures; the last and the darkest are lighter on a dark page.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
COLORS_DARK = ("#4BA3DB", "#F0803C", "#2FC79A", "#DE9CC0", "#F0B740", "#7CC7EE", "#B5B9C0")
PICTURE = f"""<style>
.kit-live {{ {"; ".join(f"--kit-run{n}:{color}" for n, color in enumerate(COLORS))} }}
[data-jp-theme-light="false"] .kit-live, .vscode-dark .kit-live {{
  {"; ".join(f"--kit-run{n}:{color}" for n, color in enumerate(COLORS_DARK))} }}
.kit-live svg {{ display:block; overflow:visible }} .kit-live svg text {{ font-size:10px; fill:var(--kit-soft) }}
.kit-live svg polyline {{ fill:none; stroke-width:1.5; stroke-linejoin:round; stroke-linecap:round }}
.kit-live svg line {{ stroke:var(--kit-line); stroke-width:1 }}
.kit-live .kit-dot {{ display:inline-block; width:.6em; height:.6em; border-radius:50%; margin-right:.55em }}
.kit-live .kit-panels {{ display:flex; flex-wrap:wrap; gap:1.1em 2.2em; margin:.5em 0 .7em }}
.kit-live .kit-panels h4 {{ margin:0 0 .5em; font-size:12px; font-weight:600 }}
.kit-live .kit-way {{ height:3px; border-radius:2px; background:var(--kit-tint); margin:.35em 0; max-width:800px;
  overflow:hidden }} .kit-live .kit-way span {{ display:block; height:100% }}
.kit-live pre {{ max-width:800px; margin-bottom:1em; box-sizing:border-box; min-height:1.45em; white-space:pre;
  overflow-x:auto }}
</style>"""


@dataclass
class Program:
    """One program that runs or has run."""

    run: str
    title: str
    timeout: float
    color: int
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None  # that it took, once it is over
    outcome: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    curves: dict[str, Curve] = field(default_factory=dict)
    at: float | None = None  # where its counter stands
    of: float | None = None
    unread: int = 0  # lines since the last tick

    def hear(self, line: str) -> None:
        """Take one line of output."""
        if line.strip():
            self.tail.append(line[:WIDTH])
        self.unread += 1
        if self.unread > LINES_A_TICK:
            return
        said = read(line)
        if said.at is not None:
            self.at, self.of = said.at, said.of
        for name, value in said.values.items():
            if name in self.curves or len(self.curves) < 5 * PANELS:
                self.curves.setdefault(name, Curve()).add(said.at, value)


class LiveView(w.VBox):
    """The programs that run now, their last words, and curves; without a browser, a table when all is over.

    `start`, `hear` and `end` may be called from any thread. A thread of its own brings the view up to date twice a
    second while a program runs, so that the clock goes on when the program is silent.
    """

    def __init__(self) -> None:
        self.programs: list[Program] = []  # in the order in which they were started
        self.handles: list[Any] = []
        self._held, self._wake = threading.RLock(), threading.Event()
        self._watcher: threading.Thread | None = None
        self._heard = False  # whether there may be something new to draw
        self.now, self.panels, self.past = w.HTML(), w.HTML(), w.HTML()
        super().__init__([w.HTML(show.STYLE + PICTURE), self.now, self.panels, self.past])
        self._draw()

    def start(self, run: str, title: str, timeout: float) -> None:
        """A program begins; `timeout` is in seconds."""
        with self._held:
            self.programs.append(Program(run, title, timeout, self._color(run)))
            if not self._watcher:
                self._watcher = threading.Thread(target=self._watch, name="live view", daemon=True)
                self._watcher.start()
        self._wake.set()

    def hear(self, run: str, line: str) -> None:
        """It says something."""
        with self._held:
            if program := self._running(run):
                program.hear(line)
                self._heard = True

    def end(self, run: str, outcome: str) -> None:
        """It is over."""
        with self._held:
            if program := self._running(run):
                program.seconds, program.outcome = time.monotonic() - program.started, outcome
            self._draw()
            for handle in self.handles:  # what the executed notebook keeps
                handle.update(self._repr_mimebundle_(), raw=True)

    def _running(self, run: str) -> Program | None:
        return next((p for p in reversed(self.programs) if p.run == run and p.seconds is None), None)

    def _color(self, run: str) -> int:
        known = {program.run: program.color for program in self.programs}
        number = re.search(r"^run_(\d+)$", run)
        return known.get(run, int(number[1]) if number else len(COLORS) - 1) % len(COLORS)

    def _watch(self) -> None:
        """Draw until nothing runs any more; the next program brings the next watcher."""
        while True:
            self._wake.wait(TICK)
            self._wake.clear()
            with self._held:
                self._draw()
                if all(program.seconds is not None for program in self.programs):
                    self._watcher = None
                    return

    # --- drawing --------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Send what has changed; what is the same is not sent."""
        for program in self.programs:
            program.unread = 0
        self.now.value = _framed(*map(_at_work, (p for p in self.programs if p.seconds is None)))
        if self._heard:
            self.panels.value, self._heard = _framed(_panels(self.programs)), False
        self.past.value = _framed(_table(self.programs))

    def _repr_html_(self) -> str:
        with self._held:
            parts = [part.value for part in (self.now, self.panels, self.past)]
        return show.once(show.STYLE + PICTURE + "".join(parts))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget for a browser; for everybody else the curves and the table as they are by now."""
        bundle: Any = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return (data or {}) | {
            "text/html": self._repr_html_(),
            "text/plain": show.plain(self.now.value + self.past.value),
        }

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self.handles.append(display(self._repr_mimebundle_(), raw=True, display_id=True))


def _framed(*parts: str) -> str:
    return f"<div class='kit kit-live'>{''.join(parts)}</div>"


def _at_work(program: Program) -> str:
    """One program that runs: its name and clock, how far it is, its last lines."""
    passed = time.monotonic() - program.started
    share, done = passed / (program.timeout or 1), ""
    if program.at is not None and program.of:
        share, done = program.at / program.of, f"{program.at:g} of {program.of:g} · "
    clock = f"{done}{_clock(passed)} passed, {_clock(max(0.0, program.timeout - passed))} left"
    color = f"var(--kit-run{program.color})"
    bar = f"<div class='kit-way'><span style='width:{100 * min(1.0, share):.1f}%;background:{color}'></span></div>"
    words = "\n".join(map(escape, program.tail)) or "…"
    return f"<div>{_name(program)} &ensp;<small>{clock}</small></div>{bar}<pre>{words}</pre>"


def _name(program: Program) -> show.Html:
    dot = f"<span class='kit-dot' style='background:var(--kit-run{program.color})'></span>"
    title = "" if program.title in ("", program.run) else f" · {show.cell(program.title)}"
    return show.Html(f"{dot}<b>{show.cell(program.run)}</b>{title}")


def _table(programs: Sequence[Program]) -> str:
    over = [program for program in programs if program.seconds is not None]
    if not over:
        return "" if programs else "<small>No program has run yet; what was run before is not run again.</small>"
    rows = "".join(
        f"<tr><td>{_name(program)}</td><td class='kit-{'soft' if program.outcome.startswith('ran') else 'bad'}'>"
        f"{show.cell(program.outcome)}</td></tr>"
        for program in over
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _clock(seconds: float) -> str:
    """12 s as 0:12, an hour and more with its hours."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


# --- the curves ---------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """One run's part of a panel."""

    color: int
    strokes: list[Points]
    end: float  # where its counter will end, as far as it said so


def _panels(programs: Iterable[Program]) -> str:
    """A small picture for each quantity, the runs in their colours; a run that is tried again shows its last try."""
    latest = {program.run: program for program in programs}
    quantities: dict[str, list[Drawn]] = {}
    for program in latest.values():
        for name, curve in program.curves.items():
            if strokes := curve.drawn():
                quantities.setdefault(name, []).append(Drawn(program.color, strokes, program.of or 0))
    pictures = (f"<div><h4>{escape(name)}</h4>{_svg(drawn)}</div>" for name, drawn in [*quantities.items()][:PANELS])
    return f"<div class='kit-panels'>{''.join(pictures)}</div>" if quantities else ""


def _svg(curves: Sequence[Drawn]) -> str:
    points = [point for curve in curves for stroke in curve.strokes for point in stroke]
    left, right = min(x for x, _ in points), max(*(x for x, _ in points), *(curve.end for curve in curves))
    low, high = min(y for _, y in points), max(y for _, y in points)
    log = low > 0 and high / low > 50  # then the start would hide all else
    height = (lambda y: math.log(y)) if log else (lambda y: y)
    bottom, top = height(low), height(high)

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left or 1) * SIZE[0]
        up = (height(y) - bottom) / (top - bottom or 1) if top > bottom else 0.5
        return f"{across:.1f},{SIZE[1] * (1 - up):.1f}"

    lines = "".join(
        f"<polyline style='stroke:var(--kit-run{curve.color});opacity:{1 if stroke is curve.strokes[-1] else 0.35}' "
        f"points='{' '.join(place(x, y) for x, y in stroke)}'/>"
        for curve in curves
        for stroke in curve.strokes
    )
    wide, tall = SIZE
    words = [(wide + 6, 4, "start", f"{high:.4g}"), (wide + 6, tall + 3, "start", f"{low:.4g}"),
             (0, tall + 14, "start", f"{left:g}"), (wide, tall + 14, "end", f"{right:g}"),
             (wide + 6, tall / 2 + 3, "start", "log" if log else "")]  # fmt: skip
    text = "".join(f"<text x='{x}' y='{y}' text-anchor='{side}'>{word}</text>" for x, y, side, word in words if word)
    axis = f"<line x1='0' x2='{wide}' y1='{tall + 2}' y2='{tall + 2}'/>"
    return f"<svg width='{wide + 46}' height='{tall + 18}'>{axis}{lines}{text}</svg>"
