"""What a reader of a PDF sees: its text, without what is in the file but does not show on the page.

Whether a letter shows is seen by looking: the page is drawn with its text and without, and where nothing
changes in a letter's box, there was nothing to read, whichever way it was hidden (white, transparent,
invisible, off the page, cut off, under a box or a picture). White letters on a dark box do show.
"""

import ctypes
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from kit import show
from kit.schemas import SOURCES, KitError

SCALE = 2.0  # pixels a point: thin strokes of small type still leave a mark
LARGEST = 3e7  # pixels of a page; a poster is drawn more coarsely
SMALLEST = 2.7  # points from the top of an f to the foot of a g, in type of 3 points; nobody reads smaller type
FAINTEST = 24  # of 255; what differs less from what is behind it does not show on paper
THINNEST = 0.08  # of a letter's box is ink; in real type it is 0.18 and more
CROSSING = 0.15  # of a piece's area; pieces that overlap more than this are looked at one by one
LAYERS = 12  # that many pieces of text on top of each other nobody can read
LIGATURE = 4  # letters in one glyph
WORD = 3  # letters; fewer that do not show are a flaw of print, not a message


class PaperText(BaseModel):
    """The text of a PDF: what a reader sees, and what is there but cannot be seen."""

    name: str
    pages: int
    text: str
    hidden: str = ""
    figures: list[int] = []  # pages that hold one, from 1

    def with_figures(self, pages: Sequence[Path]) -> list[Path]:
        """Of the pictures of all pages, those that hold a figure."""
        return [pages[number - 1] for number in self.figures]

    def _repr_html_(self) -> str:
        clean = show.badge("hidden text taken out", "bad") if self.hidden else show.badge("nothing hidden", "good")
        size = f"{self.pages} pages, {len(self.text.split()):,} words"
        if self.figures:
            size += f", figures on page{'s' * (len(self.figures) > 1)} {', '.join(map(str, self.figures))}"
        return show.block(show.title(self.name, clean, show.cell(size)),
                          show.details("What was hidden", show.listing(self.hidden)) if self.hidden else "",
                          show.details("The text as the reviewers get it", show.listing(self.text)))  # fmt: skip


def read_paper(pdf: Path) -> PaperText:
    """The text of a PDF with what cannot be seen set apart; notes, bookmarks and the like are no part of it."""
    import pypdfium2

    if not pdf.is_file():
        raise KitError(f"There is no paper at {pdf}: run 03_paper first.")
    seen: list[str] = []  # one text a page
    hidden: list[str] = []
    stand_ins: list[str] = []
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            for page in document:
                stand_ins += _take_out_stand_ins(page)
                runs = list(_runs(_read_glyphs(page)))
                seen.append("".join(text for text, shows in runs if shows))
                hidden += [text for text, shows in runs if not shows]
    except pypdfium2.PdfiumError as error:
        raise KitError(f"{pdf} cannot be read as a PDF ({error}): build the paper again.") from error
    text = _mend("\n".join(_without_number(page, number) for number, page in enumerate(seen, 1)) + "\n")
    hidden += [words for words in stand_ins if _bare(words) not in _bare(text)]
    figures = [number for number, page in enumerate(seen, 1) if CAPTION.search(page)]
    return PaperText(name=pdf.name, pages=len(seen), text=GENERATED.sub(NOT_SHOWN, text), figures=figures,
                     hidden=" ".join(_mend(" ".join(hidden)).split()))  # fmt: skip


# --- glyphs -------------------------------------------------------------------------------------


class Glyphs(NamedTuple):
    """The letters of a page in the order in which it sets them, and which of them a reader sees."""

    letters: list[str]
    shows: Any  # (n,) bool


def _read_glyphs(page: Any) -> Glyphs:
    import numpy as np
    import pypdfium2.raw as pdfium

    text_page = page.get_textpage()
    letters: list[str] = []
    boxes: list[tuple[float, ...]] = []
    owners: list[int] = []
    pieces: dict[int, tuple[int, Any]] = {}
    tight, loose = [ctypes.c_double() for _ in range(4)], pdfium.FS_RECTF()
    for place in range(text_page.count_chars()):
        letters.append(chr(pdfium.FPDFText_GetUnicode(text_page, place)))
        pdfium.FPDFText_GetCharBox(text_page, place, *tight)  # left, right, bottom, top
        pdfium.FPDFText_GetLooseCharBox(text_page, place, loose)
        boxes.append((*(side.value for side in tight), max(loose.right - loose.left, loose.top - loose.bottom)))
        piece = pdfium.FPDFText_GetTextObject(text_page, place)
        address = ctypes.cast(piece, ctypes.c_void_p).value
        owners.append(pieces.setdefault(address, (len(pieces), piece))[0] if address else -1)
    if not letters:
        return Glyphs([], np.zeros(0, bool))
    measured, owner = np.array(boxes), np.array(owners)
    shows = _leave_ink(page, measured[:, :4], owner, [piece for _, piece in pieces.values()])
    shows &= (measured[:, 4] >= SMALLEST) & ~_crowded(boxes)
    return Glyphs(letters, shows)


def _crowded(boxes: list[tuple[float, ...]]) -> Any:
    """Letters of which many stand in the place of one: a glyph that only says that it is a sentence."""
    import numpy as np

    sizes = [len(list(group)) for _, group in groupby(boxes)]
    return np.repeat(np.array(sizes) > LIGATURE, sizes)


# --- ink ----------------------------------------------------------------------------------------


def _leave_ink(page: Any, boxes: Any, owner: Any, pieces: list[Any]) -> Any:
    """Which letters change the page, drawn with and without their piece of text: beside all others, and alone.

    (White type over black type changes it, but is nothing by itself.)
    """
    import numpy as np

    width, height = page.get_size()
    scale = min(SCALE, math.sqrt(LARGEST / max(1.0, width * height)))

    def draw(shown: Any) -> Any:
        _switch(pieces, shown)
        return page.render(scale=scale).to_numpy()

    everything, nothing = np.ones(len(pieces), bool), np.zeros(len(pieces), bool)
    whole, bare, inked = draw(everything), draw(nothing), np.zeros(len(boxes), bool)
    spots = _to_pixels(page, boxes, whole.shape)
    layers = _layers(spots, owner, len(pieces))
    for layer in range(layers.max(initial=-1) + 1):
        members = layers == layer
        changed = _differs(whole, bare if members.all() else draw(~members))
        if not members.all():
            changed &= _differs(draw(members), bare)
        mine = (owner >= 0) & members[owner]
        inked[mine] = _share(changed, spots[mine]) >= THINNEST
    _switch(pieces, everything)
    return inked


def _switch(pieces: list[Any], shown: Any) -> None:
    import pypdfium2.raw as pdfium

    for piece, on in zip(pieces, shown.tolist(), strict=True):
        pdfium.FPDFPageObj_SetIsActive(piece, on)


def _to_pixels(page: Any, boxes: Any, shape: tuple[int, ...]) -> Any:
    """Boxes in points as left, right, top, bottom in pixels of the drawn page, however it is turned or cropped."""
    import numpy as np
    import pypdfium2.raw as pdfium

    height, width = shape[:2]
    x, y = ctypes.c_int(), ctypes.c_int()
    corners = []
    for point in ((0, 0), (1000, 0), (0, 1000)):
        pdfium.FPDF_PageToDevice(page, 0, 0, 100 * width, 100 * height, 0, *point, x, y)
        corners.append(np.array([x.value / 100, y.value / 100]))
    origin, right, up = corners[0], (corners[1] - corners[0]) / 1000, (corners[2] - corners[0]) / 1000
    first = origin + boxes[:, :1] * right + boxes[:, 2:3] * up
    second = origin + boxes[:, 1:2] * right + boxes[:, 3:4] * up
    low, high = np.floor(np.minimum(first, second)), np.ceil(np.maximum(first, second))
    return np.clip(np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1), -1e6, 1e6).astype(int)


def _layers(spots: Any, owner: Any, count: int) -> Any:
    """For each piece of text the round it is looked at in: what overlaps is looked at in different ones."""
    import numpy as np

    sides = np.full((count, 4), [10**7, -(10**7)] * 2)
    known = owner >= 0
    for side, furthest in enumerate((np.minimum, np.maximum, np.minimum, np.maximum)):
        furthest.at(sides[:, side], owner[known], spots[known, side])
    low, high = sides[:, [0, 2]], sides[:, [1, 3]]
    area = np.maximum(1, (high - low).prod(1))
    layers = np.full(count, -1)
    for piece in range(count):
        common = np.minimum(high[:piece], high[piece]) - np.maximum(low[:piece], low[piece])
        cross = np.maximum(common, 0).prod(1) > CROSSING * np.minimum(area[:piece], area[piece])
        taken = set(layers[:piece][cross].tolist())
        layers[piece] = next((layer for layer in range(LAYERS) if layer not in taken), -1)
    return layers


def _differs(one: Any, other: Any) -> Any:
    import numpy as np

    changed = np.zeros(one.shape[:2], bool)
    for colour in range(3):
        a, b = one[..., colour], other[..., colour]
        changed |= (np.maximum(a, b) - np.minimum(a, b)) > FAINTEST
    return changed


def _share(changed: Any, spots: Any) -> Any:
    """How much of each box changed; what lies off the page did not."""
    import numpy as np

    height, width = changed.shape
    total = np.zeros((height + 1, width + 1), np.int64)
    total[1:, 1:] = changed.cumsum(0).cumsum(1)
    left, right = (np.clip(spots[:, side], 0, width) for side in (0, 1))
    top, bottom = (np.clip(spots[:, side], 0, height) for side in (2, 3))
    found = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return found / np.maximum(1, (spots[:, 1] - spots[:, 0]) * (spots[:, 3] - spots[:, 2]))


# --- text ---------------------------------------------------------------------------------------


def _take_out_stand_ins(page: Any) -> Iterator[str]:
    """Remove texts that stand in for glyphs (ActualText), and give those that are whole sentences."""
    import pypdfium2.raw as pdfium

    buffer, size = (ctypes.c_ushort * 4096)(), ctypes.c_ulong()
    for piece in page.get_objects(max_depth=15):
        for number in reversed(range(pdfium.FPDFPageObj_CountMarks(piece.raw))):
            mark = pdfium.FPDFPageObj_GetMark(piece.raw, number)
            if pdfium.FPDFPageObjMark_GetParamStringValue(mark, b"ActualText", buffer, 8192, size):
                words = bytes(buffer)[: min(size.value, 8192)].decode("utf-16-le", "replace").strip("\x00")
                pdfium.FPDFPageObj_RemoveMark(piece.raw, mark)
                if len(words.split()) >= WORD:
                    yield words


def _runs(glyphs: Glyphs) -> Iterator[tuple[str, bool]]:
    """The letters, joined while they show or do not; spaces go with what stands before them."""
    marked: list[tuple[str, bool]] = []
    for letter, shows in zip(glyphs.letters, glyphs.shows.tolist(), strict=True):
        marked.append((letter, marked[-1][1] if letter.isspace() and marked else shows or letter.isspace()))
    for shows, group in groupby(marked, key=lambda pair: pair[1]):
        text = "".join(letter for letter, _ in group)
        yield text, shows or sum(map(str.isalnum, text)) < WORD


CAPTION = re.compile(r"^\s*fig(?:ure|\.) ?\d+[:.]", re.IGNORECASE | re.MULTILINE)
# The kit's own appendix behind the references: a row for each number, which nobody reads in a row.
GENERATED = re.compile(rf"(^References\n.*^\w {SOURCES}\n).*", re.DOTALL | re.MULTILINE)
NOT_SHOWN = r"\1(A generated table: each number of the text with its values per seed and its file. Not shown here.)\n"
HYPHEN = "\x02\ufffe"  # how a word that is divided at the end of a line comes
DIVIDED = re.compile(rf"(\w+)[{HYPHEN}]\s*(\w+)")
SECOND = {"aware", "based", "dependent", "driven", "free", "specific"}  # parts that follow a hyphen
LOOSE_ACCENT = re.compile(r"([´¨ˇ˝])([A-Za-zı])")  # of old fonts, in which an accent is a letter of its own
ACCENTS = {"´": "\u0301", "¨": "\u0308", "ˇ": "\u030c", "˝": "\u030b"}


def _without_number(page: str, number: int) -> str:
    """The page without its own number at its foot, where it would stand amid a sentence."""
    return re.sub(rf"\s*\n\s*{number}\s*$", "", page)


def _mend(text: str) -> str:
    """Words that the lines and the letters of a font had taken apart."""
    text = text.replace("\r", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs are one letter
    text = re.sub("[\ufb00-\ufb06]", lambda m: unicodedata.normalize("NFKC", m[0]), text)
    text = LOOSE_ACCENT.sub(_accented, text)
    text = re.sub(r"\n(?=[,;)])", "", re.sub("(?<=[^\\W\\d_])¯", "\u0304", text))  # of formulas: x̄, and after an index
    words = set(re.findall(r"\w+(?:-\w+)*", DIVIDED.sub(" ", text).lower()))
    text = DIVIDED.sub(lambda m: _joined(m[1], m[2], words), text)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cn", "Cs"))


def _accented(match: re.Match) -> str:
    whole = unicodedata.normalize("NFC", match[2].replace("ı", "i") + ACCENTS[match[1]])
    return whole if len(whole) == 1 else match[0]


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _joined(start: str, end: str, words: set[str]) -> str:
    """A divided word: with its hyphen where the paper writes it so, or where both parts are words of their own."""
    whole, low, high = (start + end).lower(), start.lower(), end.lower()
    parts = low in words and (high in words or high in SECOND)
    if whole not in words and (f"{low}-{high}" in words or parts):
        return f"{start}-{end}"
    return start + end
