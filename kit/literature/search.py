"""One search, whichever engine answers."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from kit import workspace
from kit.literature.ask import LiteratureUnavailable, Question, ask
from kit.literature.bib import read_bib
from kit.literature.engines import (
    ask_openalex,
    ask_semantic_scholar,
    from_openalex,
    from_semantic_scholar,
    plain_query,
)
from kit.literature.words import plain, words
from kit.schemas import Finding, FormatError, Idea, KitError, Novelty, NoveltyQuery, Paper

SHIPPED = Path(__file__).parent.parent / "bibliography.bib"
REMOTE: dict[str, tuple[Callable[[str, int], Question], Callable[[dict], Paper]]] = {
    "semanticscholar": (ask_semantic_scholar, from_semantic_scholar),
    "openalex": (ask_openalex, from_openalex),
}
NAMES = {
    "semanticscholar": "Semantic Scholar, an index of all fields",
    "openalex": "OpenAlex, an index of all fields",
}
ENGINES = (*REMOTE, "bib", "bibliography")
PATIENCE = 2  # searches in a row that an engine may leave without an answer, before it is asked no more


class Literature:
    """A search over engines, tried in order until one answers."""

    def __init__(self, engines: Sequence[str], bib: Path | None, cache: Path, deadline: float):
        self.engines, self.bib, self.cache, self.deadline = list(engines), bib, cache, deadline
        self.missed: Counter[str] = Counter()  # by engine: searches in a row without an answer

    @property
    def holdings(self) -> str:
        """What is searched, for whoever thinks up the queries."""
        return "; where that does not answer, ".join(map(self._about, self.engines))

    def _about(self, engine: str) -> str:
        if engine in REMOTE:
            return NAMES[engine]
        papers = read_bib(self._file(engine))
        years = [paper.year for paper in papers if paper.year]
        size = f"{len(papers)} papers" + (f" of {min(years)} to {max(years)}" if years else "")
        return f"a collection of {size}, in which much will be missing"

    def search(self, query: str, limit: int = 10) -> list[Paper]:
        """The papers that fit best; LiteratureUnavailable when no engine could be asked."""
        troubles = []
        for engine in self.engines:
            if self.missed[engine] >= PATIENCE:
                troubles.append(f"{engine}: not asked again, after {PATIENCE} searches without an answer.")
                continue
            try:
                papers = self._ask(engine, query, limit)
            except LiteratureUnavailable as error:
                self.missed[engine] += 1
                troubles.append(f"{engine}: {error}")
            else:
                self.missed[engine] = 0
                return papers
        raise LiteratureUnavailable("No literature engine answered. " + " ".join(troubles))

    @property
    def is_silent(self) -> bool:
        """Whether every engine has been given up: one that is dead costs its deadline twice, and no more."""
        return all(self.missed[engine] >= PATIENCE for engine in self.engines)

    def find(self, query: str, limit: int = 10, thoughts: str = "") -> Finding:
        """The same as a finding; an engine that is down is on record there and loses nobody an idea."""
        try:
            return Finding(query=query, papers=self.search(query, limit), thoughts=thoughts)
        except LiteratureUnavailable as error:
            return Finding(query=query, trouble=str(error), thoughts=thoughts)

    def find_all(self, queries: Iterable[str], limit: int = 10, thoughts: str = "") -> list[Finding]:
        """Several searches at once; the findings in the order of the queries."""
        asked = [query for query in queries if query.strip()]
        with ThreadPoolExecutor(max(1, len(asked))) as pool:
            return list(pool.map(lambda query: self.find(query, limit, thoughts), asked))

    def _ask(self, engine: str, query: str, limit: int) -> list[Paper]:
        if engine in REMOTE:
            question, read = REMOTE[engine]
            if not (asked := plain_query(query)):
                return []
            papers = map(read, ask(question(asked, limit), self.cache, self.deadline))
            return [paper for paper in papers if paper.title][:limit]
        return rank(read_bib(self._file(engine)), query)[:limit]

    def _file(self, engine: str) -> Path:
        """The .bib file behind an engine that is one."""
        file = SHIPPED if engine == "bibliography" else self.bib
        if file is None or not file.is_file():
            raise KitError(f"The engine 'bib' needs a .bib file, and {file} is none.")
        return file


class Inquiry:
    """The searches made for one idea, until its critic has seen enough."""

    def __init__(self, library: Literature, idea: Idea):
        self.library, self.idea = library, idea
        self.findings: list[Finding] = []  # each with the papers that no search had found before, by keys of their own
        self.near: list[str] = []
        self.is_settled = False

    def follow(self, query: NoveltyQuery) -> None:
        """Make the search that was asked for, or end where no more is needed."""
        self.near += query.close
        self.is_settled = query.done
        if not self.is_settled:
            before = {paper.key for paper in self.papers}
            finding = self.library.find(query.query, thoughts=query.thoughts)
            finding.papers = [paper for paper in merge([*self.findings, finding]) if paper.key not in before]
            self.findings.append(finding)

    @property
    def done(self) -> bool:
        """Whether the critic has seen enough, or no engine is left to ask."""
        return self.is_settled or self.library.is_silent

    @property
    def papers(self) -> list[Paper]:
        """All that was found, each paper once."""
        return merge(self.findings)

    @property
    def close(self) -> list[Paper]:
        """Those of them that the critic named."""
        return [paper for paper in self.papers if paper.key in self.near]

    def check(self, novelty: Novelty) -> None:
        """FormatError where a verdict rests on papers that no search found."""
        keys = [paper.key for paper in self.papers]
        if unknown := [key for key in novelty.papers if key not in keys]:
            raise FormatError(f"No search found {', '.join(unknown)}: name papers by their keys in the list.")
        if novelty.verdict == "not novel" and not novelty.papers:
            raise FormatError('"not novel" needs the key of the paper that asks the same question.')
        if novelty.verdict == "novel" and not keys:
            raise FormatError('The searches found nothing to compare with, so the verdict is "unchecked".')

    def row(self) -> list[Any]:
        """The idea, how many papers were found and found close, and the searches with what each added."""
        said = ((f.query, "no answer" if f.trouble else f"{len(f.papers)} new") for f in self.findings)
        searches = "; ".join(f"{query} ({found})" for query, found in said)
        return [f"`{self.idea.Name}`", len(self.papers), len(self.close), searches]


def connect(
    engines: Sequence[str] = ("bibliography",),
    *,
    bib: Path | None = None,
    cache: Path | None = None,
    deadline: float = 60,
) -> Literature:
    """A search over the engines named, tried in this order; `deadline` in seconds for one query.

    The path of a .bib file is an engine, too.
    """
    files = [workspace.project_root() / name for name in engines if name.endswith(".bib")]
    engines, bib = ["bib" if name.endswith(".bib") else name for name in engines], bib or (files or [None])[0]
    if unknown := [name for name in engines if name not in ENGINES]:
        raise KitError(f"There is no literature engine {unknown[0]!r}. Engines: {', '.join(ENGINES)}.")
    return Literature(engines, bib, cache or workspace.outputs() / "_literature", deadline)


def merge(findings: Iterable[Finding]) -> list[Paper]:
    """All papers of several searches, each once, under keys of their own: a second ho2020noise becomes ho2020noiseb.

    Where one search knows the authors of a paper and another does not, the former is believed.
    """
    papers: dict[str, Paper] = {}
    for finding in findings:
        for paper in finding.papers:
            title = plain(paper.title) or paper.title
            if title not in papers or (paper.authors and not papers[title].authors):
                papers[title] = paper
    kept: dict[str, Paper] = {}
    for paper in papers.values():
        key = next(key for end in _ends() if (key := f"{paper.key}{end}") not in kept)
        kept[key] = paper.model_copy(update={"key": key})
    return list(kept.values())


def _ends() -> Iterable[str]:
    yield from ["", *"bcdefghijklmnopqrstuvwxyz"]
    yield from (f"z{number}" for number in count(1))


def rank(papers: Iterable[Paper], query: str) -> list[Paper]:
    """Papers that share words with the query, the best first (TF-IDF; words of the title count thrice)."""
    known = {p.key: p for p in papers}
    texts = {key: Counter(3 * words(p.title) + words(p.abstract)) for key, p in known.items()}
    wanted = dict.fromkeys(words(query))  # in order: a sum in the order of a set differs from process to process
    # Half a text less than there are: a word that stands in all of them still counts a little.
    rarity = {w: math.log((1 + len(texts)) / (0.5 + sum(w in t for t in texts.values()))) for w in wanted}
    scores = {key: sum(rarity[w] * math.log1p(text[w]) for w in rarity) for key, text in texts.items()}
    return [known[key] for key in sorted(scores, key=lambda k: (-scores[k], k)) if scores[key] > 0]
