"""Reviews: what a reader of the PDF sees, and the arithmetic of several opinions."""

import math
import statistics
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kit import show
from kit.schemas import KitError, Review

SCORES = {"Originality": 4, "Quality": 4, "Clarity": 4, "Significance": 4, "Soundness": 4, "Presentation": 4,
          "Contribution": 4, "Overall": 10, "Confidence": 5}  # fmt: skip
SMALLEST = 3.0  # points; nobody reads smaller type
PALEST = 0.92  # of white; paler than this does not show on paper


class PaperText(BaseModel):
    """The text of a PDF: what a reader sees, and what is there but cannot be seen."""

    name: str
    pages: int
    text: str
    hidden: str = ""

    def _repr_html_(self) -> str:
        warning = f"<p><b>Hidden text was taken out:</b> {show.cell(self.hidden[:400])}</p>" if self.hidden else ""
        return f"<p>{self.name}: {self.pages} pages, {len(self.text.split())} words.</p>{warning}"


def read_paper(pdf: Path) -> PaperText:
    """The text of a PDF with what cannot be seen set apart: invisible, pale or tiny type, and text off the page."""
    import pypdfium2

    if not pdf.is_file():
        raise KitError(f"There is no paper at {pdf}: run 03_paper first.")
    seen, hidden = [], []
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            for text, visible in _runs_of(page):
                (seen if visible else hidden).append(text)
            seen.append("\n")
        return PaperText(
            name=pdf.name, pages=len(document), text="".join(seen), hidden=" ".join("".join(hidden).split())
        )


def _runs_of(page: Any) -> list[tuple[str, bool]]:
    """The page's letters, joined while they stay visible or stay hidden."""
    import pypdfium2.raw as pdfium

    text_page = page.get_textpage()
    width, height = page.get_size()
    runs: list[tuple[str, bool]] = []
    for place in range(text_page.count_chars()):
        letter = chr(pdfium.FPDFText_GetUnicode(text_page, place))
        if letter in "\r\ufffe\uffff":
            continue
        visible = letter.isspace() or _is_visible(pdfium, text_page, place, width, height)
        if letter.isspace() and runs:  # spaces go with what stands before them
            visible = runs[-1][1]
        if runs and runs[-1][1] == visible:
            runs[-1] = (runs[-1][0] + letter, visible)
        else:
            runs.append((letter, visible))
    return runs


def _is_visible(pdfium: Any, text_page: Any, place: int, width: float, height: float) -> bool:
    import ctypes

    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium.FPDFText_GetFillColor(text_page, place, red, green, blue, alpha)
    pdfium.FPDFText_GetCharBox(text_page, place, left, right, bottom, top)
    paleness = min(red.value, green.value, blue.value) / 255
    mode = pdfium.FPDFTextObj_GetTextRenderMode(pdfium.FPDFText_GetTextObject(text_page, place))
    on_page = right.value > 0 and top.value > 0 and left.value < width and bottom.value < height
    size = _size(pdfium, text_page, place)
    return mode != 3 and alpha.value > 20 and paleness < PALEST and on_page and (size >= SMALLEST or size == 0)


def _size(pdfium: Any, text_page: Any, place: int) -> float:
    """The size of a letter on the page, in points: its font's size times the scale of its matrix."""
    matrix = pdfium.FS_MATRIX()
    size = pdfium.FPDFText_GetFontSize(text_page, place)
    if pdfium.FPDFText_GetMatrix(text_page, place, matrix):
        return size * math.hypot(matrix.c, matrix.d) if size == 1 else max(size, size * math.hypot(matrix.c, matrix.d))
    return size


class Ensemble(BaseModel):
    """Several reviews of one paper and the area chair's."""

    reviews: list[Review]
    meta: Review
    paper: str = ""

    def spread(self) -> dict[str, dict[str, float]]:
        """Mean and standard deviation of each score over the reviews."""
        found = {}
        for field in SCORES:
            values = [getattr(review, field) for review in self.reviews]
            found[field] = {"mean": round(statistics.fmean(values), 2),
                            "sd": round(statistics.stdev(values), 2) if len(values) > 1 else 0.0}  # fmt: skip
        return found

    def form(self) -> dict[str, Any]:
        """review.json: the meta-review in The AI Scientist's fields, with the reviews behind it."""
        dump = {"mode": "json", "by_alias": True}
        return self.meta.model_dump(**dump) | {  # type: ignore[arg-type]
            "paper": self.paper, "spread": self.spread(),
            "reviews": [review.model_dump(**dump) for review in self.reviews],  # type: ignore[arg-type]
        }  # fmt: skip

    @classmethod
    def from_form(cls, form: dict[str, Any]) -> "Ensemble":
        """The ensemble behind a review.json."""
        return cls(reviews=form["reviews"], meta=Review.model_validate(form), paper=form.get("paper", ""))

    def _repr_html_(self) -> str:
        spread = self.spread()
        opinions = {field: "{mean:.1f} ± {sd:.1f}".format(**values) for field, values in spread.items()}
        rows = [[field, _bar(getattr(self.meta, field), top), opinions[field]] for field, top in SCORES.items()]
        colour = "#1b7f4b" if self.meta.Decision == "Accept" else "#b03a2e"
        decision = f"<b style='color:{colour}'>{self.meta.Decision}</b>, overall {self.meta.Overall}/10."
        head = f"<p>{decision} {show.cell(self.meta.Summary)}</p>"
        each = "".join(show.details(f"Review {n}: {r.Decision}, overall {r.Overall}/10", _points(r))
                       for n, r in enumerate(self.reviews, 1))  # fmt: skip
        return head + show.table(["", "Area chair", "Reviewers"], rows) + _points(self.meta) + each


def _bar(score: int, top: int) -> show.Html:
    full = "<span style='color:#22577a'>" + "■" * score + "</span>"
    return show.Html(f"{full}<span style='color:#ccc'>{'■' * (top - score)}</span> {score}/{top}")


def _points(review: Review) -> str:
    parts = []
    for name in ("Strengths", "Weaknesses", "Questions", "Limitations"):
        points = "".join(f"<li>{show.cell(point)}</li>" for point in getattr(review, name))
        parts.append(f"<p><b>{name}</b></p><ul>{points}</ul>" if points else "")
    return "".join(parts)
