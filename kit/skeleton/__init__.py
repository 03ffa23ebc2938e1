"""What new templates are made of: start/ is a whole one; each_seed.py stands beside an adopted script."""

from pathlib import Path

FOLDER = Path(__file__).parent


def text(name: str) -> str:
    """The text of one part."""
    return (FOLDER / name).read_text(encoding="utf-8")
