"""Stage 3 of the scripted scientist, with the pages before it: it cannot read them, and looks at the ink."""

import random
from pathlib import Path
from typing import Any

from kit.schemas import Critique, Point

EDGE = 0.07  # of the width: nothing that belongs to the text stands so far out
DARK = 128  # of 255


def look(values: dict[str, Any], dice: random.Random) -> Critique:
    """Pages whose ink reaches the edge of the paper, and pages without any."""
    points = []
    for number, page in enumerate(values["pictures"], 1):
        left, right = _ink(page)
        if left > right:
            points.append(Point(section=values["sections"][-1], point=f"Page {number} is empty."))
        elif left < EDGE or right > 1 - EDGE:
            points.append(Point(section="results", point=f"Something runs off page {number}: make it narrower."))
    return Critique(points=points, done=not points)


def _ink(page: Path) -> tuple[float, float]:
    """Where the ink of a page begins and ends, as parts of its width; (1, 0) where there is none."""
    from PIL import Image

    with Image.open(page) as opened:
        box = opened.convert("L").point([255] * DARK + [0] * (256 - DARK)).getbbox()
        return (box[0] / opened.width, box[2] / opened.width) if box else (1.0, 0.0)
