"""The literature: one search, whichever engine answers, and BibTeX that compiles."""

import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from kit.schemas import Finding, KitError, Paper
from kit.store import digest, load_json, locked, save_json
from kit.workspace import outputs

SHIPPED = Path(__file__).parent / "bibliography.bib"
PAUSE = {"semanticscholar": 1.1, "openalex": 0.2}  # seconds between two requests of all processes together
PASSING = {429, 500, 502, 503, 504}
FIELDS = "title,authors,year,venue,abstract,externalIds,citationCount,url"
WORD = re.compile(r"[a-z0-9]+")
COMMON = {"a", "an", "and", "by", "for", "from", "in", "is", "of", "on", "the", "to", "with"}


class LiteratureUnavailable(KitError):
    """No engine answered; what was asked stays unchecked."""


class Literature:
    """A search over engines, tried in order until one answers."""

    def __init__(self, engines: Sequence[str], bib: Path | None, cache: Path, deadline: float):
        self.engines, self.bib, self.cache, self.deadline = list(engines), bib, cache, deadline

    def search(self, query: str, limit: int = 10) -> list[Paper]:
        """The papers that fit best; LiteratureUnavailable when no engine could be asked."""
        troubles = []
        for engine in self.engines:
            try:
                return ENGINES[engine](self, query, limit)
            except LiteratureUnavailable as error:
                troubles.append(f"{engine}: {error}")
        raise LiteratureUnavailable("No literature engine answered. " + " ".join(troubles))

    def find(self, query: str, limit: int = 10) -> Finding:
        """The same as a finding; an engine that is down is on record there and loses nobody an idea."""
        try:
            return Finding(query=query, papers=self.search(query, limit))
        except LiteratureUnavailable as error:
            return Finding(query=query, trouble=str(error))

    # --- engines --------------------------------------------------------------------------------

    def _bibliography(self, query: str, limit: int) -> list[Paper]:
        return rank(read_bib(SHIPPED), query)[:limit]

    def _own_bib(self, query: str, limit: int) -> list[Paper]:
        if self.bib is None or not self.bib.is_file():
            raise KitError(f"The engine 'bib' needs a .bib file, and {self.bib} is none.")
        return rank(read_bib(self.bib), query)[:limit]

    def _semantic_scholar(self, query: str, limit: int) -> list[Paper]:
        base = os.environ.get("S2_BASE_URL", "https://api.semanticscholar.org").rstrip("/")
        key = os.environ.get("S2_API_KEY")
        parameters = {"query": query, "limit": limit, "fields": FIELDS}
        data = self._get(
            "semanticscholar", f"{base}/graph/v1/paper/search", parameters, {"x-api-key": key} if key else {}
        )
        return [_from_semantic_scholar(entry) for entry in data.get("data") or []]

    def _openalex(self, query: str, limit: int) -> list[Paper]:
        base = os.environ.get("OPENALEX_BASE_URL", "https://api.openalex.org").rstrip("/")
        parameters = {"search": query, "per-page": limit}
        if key := os.environ.get("OPENALEX_API_KEY"):
            parameters["api_key"] = key
        data = self._get("openalex", f"{base}/works", parameters, {})
        return [_from_openalex(entry) for entry in data.get("results") or []]

    def _get(self, engine: str, url: str, parameters: dict, headers: dict) -> dict:
        """One GET, cached on disk, paced for all processes together, retried until the deadline."""
        asked = {name: value for name, value in parameters.items() if name != "api_key"}
        stored = self.cache / f"{engine}-{digest(url, asked)}.json"
        if stored.is_file():
            return load_json(stored)
        end, tries = time.monotonic() + self.deadline, 0
        while True:
            with self._turn(engine):
                data, trouble, wait = _request(url, parameters, headers, max(1.0, end - time.monotonic()))
            if data is not None:
                save_json(stored, data)
                return data
            tries += 1
            wait = wait if wait is not None else min(2.0**tries, 30.0)
            if wait < 0 or time.monotonic() + wait > end:
                raise LiteratureUnavailable(f"{trouble} after {tries} tries.")
            time.sleep(wait)

    def _turn(self, engine: str):
        """Wait for one's turn: the lock's file remembers when the last request of any process went out."""
        return _Turn(self.cache / f"{engine}.turn", PAUSE[engine])


class _Turn:
    def __init__(self, file: Path, pause: float):
        self.file, self.pause = file, pause

    def __enter__(self) -> None:
        with locked(self.file):
            time.sleep(max(0.0, min(self.pause, self.file.stat().st_mtime + self.pause - time.time())))
            os.utime(self.file)

    def __exit__(self, *_: object) -> None:
        pass


def _request(url: str, parameters: dict, headers: dict, timeout: float) -> tuple[dict | None, str, float | None]:
    """The answer, or what went wrong and how long to wait (None: as one likes; negative: for ever)."""
    import requests

    try:
        answer = requests.get(url, params=parameters, headers=headers, timeout=min(timeout, 20))
        if answer.ok:
            data = answer.json()
            return (data, "", None) if isinstance(data, dict) else (None, "It sent something that is no object", None)
    except requests.RequestException as error:  # a body that is no JSON is one of them
        return None, f"It could not be reached ({type(error).__name__})", None
    asked = answer.headers.get("Retry-After", "")
    wait = float(asked) if asked.replace(".", "", 1).isdigit() else None
    return None, f"It answered {answer.status_code}", wait if answer.status_code in PASSING else -1.0


ENGINES: dict[str, Callable[[Literature, str, int], list[Paper]]] = {
    "semanticscholar": Literature._semantic_scholar,
    "openalex": Literature._openalex,
    "bib": Literature._own_bib,
    "bibliography": Literature._bibliography,
}


def connect(
    engines: Sequence[str] = ("bibliography",),
    *,
    bib: Path | None = None,
    cache: Path | None = None,
    deadline: float = 60,
) -> Literature:
    """A search over the engines named, tried in this order; `deadline` in seconds for one query."""
    if unknown := [name for name in engines if name not in ENGINES]:
        raise KitError(f"There is no literature engine {unknown[0]!r}. Engines: {', '.join(ENGINES)}.")
    return Literature(engines, bib, cache or outputs() / "_literature", deadline)


def merge(findings: Iterable[Finding]) -> list[Paper]:
    """All papers of several searches, each once."""
    papers: dict[str, Paper] = {}
    for finding in findings:
        for paper in finding.papers:
            papers.setdefault(_plain(paper.title), paper)
    return _with_own_keys(papers.values())


def _with_own_keys(papers: Iterable[Paper]) -> list[Paper]:
    """Papers whose keys are their own: a second ho2020denoising becomes ho2020denoisingb."""
    kept: dict[str, Paper] = {}
    for paper in papers:
        key = next(k for k in (paper.key + end for end in ["", *"bcdefghijklmnopqrstuvwxyz"]) if k not in kept)
        kept[key] = paper.model_copy(update={"key": key})
    return list(kept.values())


# --- papers -------------------------------------------------------------------------------------


@cache
def read_bib(file: Path) -> tuple[Paper, ...]:
    """The papers of a .bib file; an entry that cannot be read is named."""
    import bibtexparser

    library = bibtexparser.parse_string(file.read_text(encoding="utf-8"))  # pyright: ignore
    if library.failed_blocks:
        raise KitError(f"{file}: the entry in line {(library.failed_blocks[0].start_line or 0) + 1} cannot be read.")
    return tuple(
        _from_bibtex(entry.key, {f.key.lower(): str(f.value) for f in entry.fields}) for entry in library.entries
    )


def _from_bibtex(key: str, fields: dict[str, str]) -> Paper:
    venue = next(
        (fields[name] for name in ("journal", "booktitle", "institution", "howpublished") if name in fields), ""
    )
    about = (
        f"{fields.get('abstract', '')} ({fields['keywords']})" if "keywords" in fields else fields.get("abstract", "")
    )
    year = re.search(r"\d{4}", fields.get("year", ""))
    return Paper(key=key, title=fields.get("title", ""), authors=re.split(r"\s+and\s+", fields.get("author", "")),
                 year=int(year[0]) if year else None, venue=venue, abstract=about.strip(), doi=fields.get("doi", ""),
                 arxiv=fields.get("eprint", ""), url=fields.get("url", ""), source="bibliography",
                 tex=True)  # fmt: skip


def _from_semantic_scholar(entry: dict[str, Any]) -> Paper:
    ids = entry.get("externalIds") or {}
    return _keyed(title=entry.get("title") or "", authors=[a["name"] for a in entry.get("authors") or []],
                  year=entry.get("year"), venue=entry.get("venue") or "", abstract=entry.get("abstract") or "",
                  doi=ids.get("DOI") or "", arxiv=ids.get("ArXiv") or "", url=entry.get("url") or "",
                  citations=entry.get("citationCount"), source="semanticscholar")  # fmt: skip


def _from_openalex(entry: dict[str, Any]) -> Paper:
    place = ((entry.get("primary_location") or {}).get("source") or {}).get("display_name") or ""
    names = [a["author"]["display_name"] for a in entry.get("authorships") or []]
    positions = [(at, word) for word, ats in (entry.get("abstract_inverted_index") or {}).items() for at in ats]
    return _keyed(title=entry.get("display_name") or entry.get("title") or "", authors=names,
                  year=entry.get("publication_year"), venue=place, abstract=" ".join(w for _, w in sorted(positions)),
                  doi=(entry.get("doi") or "").removeprefix("https://doi.org/"), url=entry.get("id") or "",
                  citations=entry.get("cited_by_count"), source="openalex")  # fmt: skip


def _keyed(**facts: Any) -> Paper:
    author = _plain(facts["authors"][0].split()[-1]) if facts["authors"] else "anonymous"
    word = next((w for w in WORD.findall(facts["title"].lower()) if w not in COMMON), "untitled")
    return Paper(key=f"{author or 'anonymous'}{facts['year'] or ''}{word}", **facts)


def rank(papers: Iterable[Paper], query: str) -> list[Paper]:
    """Papers that share words with the query, the best first (TF-IDF; words of the title count thrice)."""
    known = {p.key: p for p in papers}
    texts = {key: Counter(3 * _words(p.title) + _words(p.abstract)) for key, p in known.items()}
    wanted = dict.fromkeys(_words(query))  # in order: a sum in the order of a set differs from process to process
    rarity = {w: math.log((1 + len(texts)) / (1 + sum(w in t for t in texts.values()))) for w in wanted}
    scores = {key: sum(rarity[w] * math.log1p(text[w]) for w in rarity) for key, text in texts.items()}
    return [known[key] for key in sorted(scores, key=lambda k: (-scores[k], k)) if scores[key] > 0]


def _words(text: str) -> list[str]:
    return [word.rstrip("s") for word in WORD.findall(text.lower()) if word not in COMMON]


def _plain(text: str) -> str:
    return "".join(WORD.findall(text.lower()))


# --- BibTeX -------------------------------------------------------------------------------------

SPECIAL = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": " ",
    "^": " ",
    "\\": " ",
}


def bibtex(papers: Iterable[Paper]) -> str:
    """references.bib: entries that compile, whichever engine the papers came from."""
    return "\n".join(map(_entry, papers))


def _entry(paper: Paper) -> str:
    tex = str if paper.tex else _tex
    kind = (
        "article" if "arxiv" in paper.venue.lower() or not paper.venue or _is_journal(paper.venue) else "inproceedings"
    )
    fields = {
        "author": " and ".join(map(tex, paper.authors)) or "{Anonymous}",
        "title": paper.title if paper.tex else _keep_capitals(tex(paper.title)),
        "journal" if kind == "article" else "booktitle": tex(paper.venue) or "Preprint",
        "year": str(paper.year or "n.d."),
    } | ({"doi": paper.doi} if paper.doi else {}) | ({"eprint": paper.arxiv} if paper.arxiv else {})  # fmt: skip
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{paper.key},\n{lines}\n}}\n"


def _is_journal(venue: str) -> bool:
    return bool(
        re.search(
            r"journal|transactions|review|nature|annals|letters|biometrika|physic|siam|blog|report", venue.lower()
        )
    )


def _tex(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter if ord(letter) < 0x180 else "") for letter in text)


def _keep_capitals(title: str) -> str:
    """Braces around words that BibTeX must not put into lower case."""
    return re.sub(r"\b(\w*[A-Z]\w*[A-Z]\w*)\b", r"{\1}", title)
