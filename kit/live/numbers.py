"""Numbers in what programs print, and the curves that they make."""

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

POINTS, STROKES = 300, 12  # of one curve that are drawn
READ = 400  # characters of a line
HUGE = 1e100  # nothing beyond can be drawn, nan neither
COUNTERS = {"step", "steps", "iter", "iters", "iteration", "it", "epoch", "ep", "batch", "update", "round", "episode"}
NO_QUANTITY = {"seed", "rank", "gpu", "port", "pid", "line", "version", "eta", "v"}
NAME = r"(?<![\w./@-])(?:(?:train|training|val|valid|validation|test|eval|dev|mean|avg|best) )?[A-Za-z_][\w./@-]*"
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)|[-+]?(?:nan|inf)\b"
NAMED = re.compile(rf"({NAME})[\"']?(\s*[:=]\s*|\s+[\[(#]?|[\[(#])({NUMBER})(?:\s*/\s*(\d+))?", re.IGNORECASE)
COUNTED = re.compile(r"(?<![\w./])(\d+)/(\d+)(?![\w./])")  # a bar: 45/100


class Said(NamedTuple):
    """The numbers in a line of output: how far it is, out of how much, and the quantities by name."""

    at: float | None
    of: float | None
    values: dict[str, float]


def read(line: str) -> Said:
    """Find a counter and named numbers in a line such as `step 200/3000  loss 0.41  lr=1e-3`.

    In a line that counts no steps, words before numbers are mostly prose: only `name=value` and `name: value` count.
    """
    at, of, values, marked = None, None, {}, {}
    for name, between, number, total in NAMED.findall(line[:READ]):
        word = name.rpartition(" ")[2].lower()
        if word in COUNTERS:
            if at is None:
                at, of = float(number), float(total) if total else None
        elif word not in NO_QUANTITY and not total:
            values.setdefault(name, float(number))
            if between.strip() in (":", "="):
                marked.setdefault(name, float(number))
    if at is None and (bar := COUNTED.search(line[:READ])):
        at, of = float(bar[1]), float(bar[2])
    return Said(at, of, marked if at is None else values)


Points = list[tuple[float, float]]


@dataclass
class Curve:
    """One quantity of one run, in strokes: a counter that starts anew (another seed) begins another."""

    strokes: list[Points] = field(default_factory=lambda: [[]])

    def add(self, x: float | None, y: float) -> None:
        """Take one more point; without an x it is the next one."""
        stroke = self.strokes[-1]
        x = x if x is not None else (stroke[-1][0] + 1 if stroke else 1)
        if stroke and x < stroke[-1][0]:
            self.strokes.append(stroke := [])
        if stroke and x == stroke[-1][0]:
            stroke.pop()
        stroke.append((x, y))
        if len(stroke) > 2 * POINTS:
            del stroke[1:-1:2]

    def drawn(self) -> list[Points]:
        """What can be drawn: the latest strokes without what is no number, thinned to what a panel can show."""
        strokes = [[(x, y) for x, y in stroke if abs(x) < HUGE and abs(y) < HUGE] for stroke in self.strokes[-STROKES:]]
        room = POINTS // max(1, len(strokes))
        return [_thin(stroke, room) for stroke in strokes if len(stroke) > 1]


def _thin(points: Points, most: int) -> Points:
    every = math.ceil(len(points) / most)
    return points if every < 2 else [*points[:-1:every], points[-1]]
