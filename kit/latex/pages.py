"""A finished PDF: its pages as pictures, and its text."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SEEN = 16  # of 255; a smaller shift of a colour is not seen


def page_count(pdf: Path) -> int:
    """How many pages it has."""
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        return len(document)


def pages(pdf: Path, folder: Path, dpi: int = 110) -> list[Path]:
    """Render every page to folder/page_01.png …; pictures of former pages go."""
    import pypdfium2

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("page_*.png"):
        old.unlink()
    files = []
    with pypdfium2.PdfDocument(pdf) as document:
        for number, page in enumerate(document, 1):
            files.append(folder / f"page_{number:02d}.png")
            picture = page.render(scale=dpi / 72).to_pil()  # pyright: ignore[reportArgumentType]
            _smaller(picture.convert("RGB")).save(files[-1], optimize=True)
    return files


def _smaller(picture: "Image.Image") -> "Image.Image":
    """The picture with a palette, a third of the size, unless a colour would look different for it."""
    from PIL import Image, ImageChops

    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    shifts = ImageChops.difference(picture, few.convert("RGB")).histogram()  # of 0 to 255, for each colour
    return picture if any(count for place, count in enumerate(shifts) if place % 256 > SEEN) else few


def text(pdf: Path) -> str:
    """All of its text."""
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)
