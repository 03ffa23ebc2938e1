"""Semantic Scholar and OpenAlex: how each is asked, and what it sends as papers."""

import os
import re
from typing import Any

from kit.literature.ask import Question
from kit.literature.words import COMMON, WORD, clean, fold
from kit.schemas import Paper

FIELDS = "title,authors,year,venue,abstract,externalIds,citationCount,url"
LONGEST = 300  # letters of a query
MOST = 100  # papers that both engines give at once
NOBODY = re.compile(
    r"(?:unknown|anonymous|no|n\.?/?a\.?|none|null|et)\b[\s.]*(?:authors?|al)?\.?|[\W\d_]+", re.IGNORECASE
)
NO_TITLE = re.compile(r"\W*(?:untitled|no title|title (?:pending|not available)|null|none|n/?a)?[\W\d]*", re.IGNORECASE)


def plain_query(query: str) -> str:
    """The words of a query alone: a hyphen finds nothing in one engine, AND and brackets are syntax in the other."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", clean(query))
    text = " ".join(word.lower() if word in ("AND", "OR", "NOT") else word for word in words)
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]


# --- Semantic Scholar ---------------------------------------------------------------------------


def ask_semantic_scholar(query: str, limit: int) -> Question:
    """Its relevance search."""
    base = os.environ.get("S2_BASE_URL", "https://api.semanticscholar.org").rstrip("/")
    key = os.environ.get("S2_API_KEY", "").strip()
    parameters = {"query": query, "limit": min(limit, MOST), "fields": FIELDS}
    headers = {"x-api-key": key} if key else {}
    return Question("semanticscholar", f"{base}/graph/v1/paper/search", parameters, headers, "data")


def from_semantic_scholar(entry: dict[str, Any]) -> Paper:
    """One of its entries."""
    ids = _dict(entry.get("externalIds"))
    return _paper(title=entry.get("title"), authors=[a.get("name") for a in _dicts(entry.get("authors"))],
                  year=entry.get("year"), venue=entry.get("venue"), abstract=entry.get("abstract"),
                  doi=ids.get("DOI"), arxiv=ids.get("ArXiv"), url=entry.get("url"),
                  citations=entry.get("citationCount"), source="semanticscholar")  # fmt: skip


# --- OpenAlex -----------------------------------------------------------------------------------


def ask_openalex(query: str, limit: int) -> Question:
    """Its search of works."""
    base = os.environ.get("OPENALEX_BASE_URL", "https://api.openalex.org").rstrip("/")
    parameters = {"search": query, "per-page": min(limit, MOST)}
    if key := os.environ.get("OPENALEX_API_KEY", "").strip():
        parameters["api_key"] = key
    return Question("openalex", f"{base}/works", parameters, {}, "results")


def from_openalex(entry: dict[str, Any]) -> Paper:
    """One of its entries; its abstracts are lists of places by word."""
    place = _dict(_dict(entry.get("primary_location")).get("source")).get("display_name")
    names = [_dict(a.get("author")).get("display_name") or a.get("raw_author_name")
             for a in _dicts(entry.get("authorships"))]  # fmt: skip
    doi = _text(entry.get("doi")).removeprefix("https://doi.org/")
    arxiv = re.fullmatch(r"10\.48550/arxiv\.(\S+)", doi, re.IGNORECASE)
    return _paper(title=entry.get("display_name") or entry.get("title"), authors=names,
                  year=entry.get("publication_year"), venue=place, abstract=_abstract(entry), doi=doi,
                  arxiv=arxiv[1] if arxiv else "", url=entry.get("id"), citations=entry.get("cited_by_count"),
                  source="openalex")  # fmt: skip


def _abstract(entry: dict[str, Any]) -> str:
    places = _dict(entry.get("abstract_inverted_index")).items()
    words = [(at, word) for word, ats in places if isinstance(ats, list) for at in ats if isinstance(at, int)]
    return " ".join(word for _, word in sorted(words))


# --- what engines leave out, or send as something else ------------------------------------------


def _paper(*, title: Any, authors: list[Any], year: Any, citations: Any, source: str, **texts: Any) -> Paper:
    names = [name for author in authors if (name := clean(_text(author))) and not NOBODY.fullmatch(name)]
    title, when = clean(_text(title)), _int(year)
    title = "" if NO_TITLE.fullmatch(title) else title
    plain: dict[str, Any] = {name: clean(_text(value)) for name, value in texts.items()}
    return Paper(key=_key(title, names, when), title=title, authors=names, year=when, citations=_int(citations),
                 source=source, **plain)  # fmt: skip


def _key(title: str, authors: list[str], year: int | None) -> str:
    name = "".join(WORD.findall(fold(authors[0].split()[-1]))) if authors else ""
    word = next((w for w in WORD.findall(fold(title)) if w not in COMMON), "untitled")
    return f"{name or 'anonymous'}{year or ''}{word}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _int(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
