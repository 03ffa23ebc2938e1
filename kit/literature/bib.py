"""BibTeX: read somebody's .bib file, and write entries that compile whichever engine the papers came from."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from kit.literature.words import clean, spell, tex, to_ascii
from kit.schemas import KitError, Paper

JOURNAL = re.compile(
    r"journal|transactions|review|nature|science|annals|letters|biometrika|metrika|physic|siam|quarterly|bulletin|"
    r"proceedings of the (?:national|royal)",
    re.IGNORECASE,
)
CONFERENCE = re.compile(r"conference|symposium|workshop|advances in|neural information|meeting", re.IGNORECASE)
OTHER = re.compile(r"\b(?:blog|report|thesis|press|springer|wiley|elsevier|university)\b", re.IGNORECASE)
FOREIGN = "in letters that this paper cannot set"
ARXIV = re.compile(r"[A-Za-z0-9./-]+")
MOST_AUTHORS = 40

# --- reading ------------------------------------------------------------------------------------


def read_bib(file: Path) -> tuple[Paper, ...]:
    """The papers of a .bib file; an entry that cannot be read is named by its line."""
    return _read(file, file.stat().st_mtime_ns)


@cache
def _read(file: Path, changed: int) -> tuple[Paper, ...]:
    import bibtexparser

    try:
        library = bibtexparser.parse_string(file.read_text(encoding="utf-8"))  # pyright: ignore
    except UnicodeDecodeError as error:
        raise KitError(f"{file} is not UTF-8 ({error}): save it as UTF-8.") from error
    for block in library.failed_blocks:
        why = getattr(block.error, "abort_reason", "") or str(block.error).partition(" Note:")[0]
        raise KitError(f"{file}: the entry in line {(block.start_line or 0) + 1} cannot be read. {why}".strip())
    papers = (
        _from_bibtex(entry.key, {f.key.lower(): " ".join(str(f.value).split()) for f in entry.fields})
        for entry in library.entries
    )
    return tuple(paper for paper in papers if paper.key and paper.title)


def _from_bibtex(key: str, fields: dict[str, str]) -> Paper:
    venues = ("journal", "journaltitle", "booktitle", "howpublished", "publisher", "school")
    venue = next((fields[name] for name in venues if fields.get(name)), "")
    if not venue and "institution" in fields:
        venue = f"Technical report, {fields['institution']}"
    about = " ".join([fields.get("abstract", ""), f"({fields['keywords']})" if "keywords" in fields else ""])
    year = re.search(r"\d{4}", fields.get("year") or fields.get("date", ""))
    return Paper(key=key, title=fields.get("title", ""), authors=_split(fields.get("author", "")),
                 year=int(year[0]) if year else None, venue=venue, abstract=about.strip(),
                 doi=fields.get("doi", ""), arxiv=fields.get("eprint", ""), url=fields.get("url", ""),
                 source="bibliography", tex=True)  # fmt: skip


def _split(authors: str) -> list[str]:
    """The authors one by one; an `and` in braces belongs to a name."""
    names: list[str] = []
    for part in re.split(r"\s+and\s+", authors):
        if names and names[-1].count("{") > names[-1].count("}"):
            names[-1] += f" and {part}"
        else:
            names.append(part)
    return [name.strip() for name in names if name.strip()]


# --- writing ------------------------------------------------------------------------------------


def bibtex(papers: Iterable[Paper]) -> str:
    """references.bib: entries that compile."""
    return "\n".join(map(_entry, papers))


def _entry(paper: Paper) -> str:
    kind, place, venue = _venue(paper)
    fields = {
        "author": _authors(paper),
        "title": _or_foreign(_markup(paper.title) if paper.tex else _title(paper.title), "A title"),
        place: venue,
        "year": str(paper.year) if paper.year else "n.d.",
        "doi": paper.doi if re.fullmatch(r"10\.\d+/[^\s\\{}%#^~\"]+", paper.doi) and paper.doi.isascii() else "",
        "eprint": paper.arxiv if ARXIV.fullmatch(paper.arxiv) else "",
    }
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@{kind}{{{paper.key},\n{lines}\n}}\n"


def _venue(paper: Paper) -> tuple[str, str, str]:
    """The kind of entry, the field for the venue, and what stands in it."""
    venue = _markup(paper.venue) if paper.tex else tex(paper.venue)
    if "arxiv" in venue.lower() or (not venue and paper.arxiv):
        number = ARXIV.fullmatch(paper.arxiv)
        told = "arxiv:" in venue.lower() or not number
        return "article", "journal", venue if told else f"arXiv preprint arXiv:{paper.arxiv}"
    if CONFERENCE.search(venue):
        return "inproceedings", "booktitle", venue
    if JOURNAL.search(venue):
        return "article", "journal", venue
    if not venue or OTHER.search(venue):
        return "misc", "howpublished", venue
    return "inproceedings", "booktitle", venue


def _authors(paper: Paper) -> str:
    """The names; those that lost their letters are left out, and if all did, that is said."""
    given = [name for name in paper.authors if name.strip()]
    if not given:
        return "{Anonymous}"
    names = [text for name in given[:MOST_AUTHORS] if (text := _name(name, paper.tex))]
    if len(given) > MOST_AUTHORS:
        names.append("others")
    return _or_foreign(" and ".join(names), "{Authors}")


def _or_foreign(text: str, what: str) -> str:
    """The text, or that it cannot be set: pdflatex has no letters for most scripts."""
    if re.search(r"[A-Za-z0-9]", re.sub(r"\\[A-Za-z]+", "", text)):
        return text
    return what.replace("}", f" {FOREIGN}}}") if "}" in what else f"{what} {FOREIGN}"


def _name(name: str, is_tex: bool) -> str:
    """An author as BibTeX takes one: brackets would end a label of natbib, and some names would be cut in parts."""
    text = (_markup(name) if is_tex else tex(re.sub(r"[\[\](){}<>|\\\"~^]+", " ", name))).lstrip(" ,;").rstrip(" ,;\\")
    if not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)):
        return ""
    bare, seen = text, ""
    while bare != seen:
        seen, bare = bare, re.sub(r"\{[^{}]*\}", "x", bare)
    parts = [part.strip() for part in bare.split(",")]
    whole = len(parts) > 3 or not all(parts) or re.search(r"\band\b|[\[\]()]", bare, re.IGNORECASE)
    return f"{{{text}}}" if whole else text


def _title(title: str) -> str:
    """A title with braces around words that BibTeX must not put into lower case."""
    parts = re.split(r"([^\W_]+)", unicodedata.normalize("NFC", title))
    return " ".join("".join(map(_part, parts)).split())


def _part(part: str) -> str:
    text = spell(part)
    return f"{{{text}}}" if text and sum(letter.isupper() for letter in part) > 1 else text


def _markup(text: str) -> str:
    """LaTeX from a .bib file, with what would stop BibTeX or LaTeX put right."""
    text = to_ascii(text)
    depth, lowest = 0, 0
    for letter in text:  # BibTeX counts \{ too
        depth += (letter == "{") - (letter == "}")
        lowest = min(lowest, depth)
    hidden = re.search(r"\\[{}]", text)  # a brace that some programs count and others do not
    if depth or lowest or hidden or len(re.findall(r"(?<!\\)\$", text)) % 2:
        return tex(clean(text))
    if re.search(r"\\(?:url|href|ensuremath)\b|\\\(", text):
        return text
    text = re.sub(r"(?<!\\)([&%#])", r"\\\1", text)
    return text if "$" in text else re.sub(r"(?<!\\)_", r"\\_", re.sub(r"(?<!\\)\^", r"\\textasciicircum{}", text))
