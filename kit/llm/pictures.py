"""Pictures for models that see, no larger than what a provider looks at anyway."""

import base64
import hashlib
import io
from pathlib import Path

LONG_SIDE, AREA = 1568, 1_150_000  # pixels: beyond these, providers scale down and charge as if they had not
TOKENS = 1600  # that one such picture costs at most, for reckoning ahead


def encode(file: Path) -> str:
    """The picture as base64 of a PNG that is no longer and no larger than these."""
    from PIL import Image

    with Image.open(file) as opened:
        factor = min(1.0, LONG_SIDE / max(opened.size), (AREA / (opened.width * opened.height)) ** 0.5)
        size = (max(1, round(opened.width * factor)), max(1, round(opened.height * factor)))
        picture = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    with io.BytesIO() as data:
        picture.save(data, "PNG", optimize=True)
        return base64.b64encode(data.getvalue()).decode()


def digests(files: list[Path]) -> list[str]:
    """What stands for the pictures in the key of a call."""
    return [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files]
