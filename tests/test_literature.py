"""The search over a real socket, what the engines leave out, and BibTeX that a real LaTeX takes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import bibtexparser
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from kit import latex, literature
from kit.literature import LiteratureUnavailable
from kit.literature.ask import PAUSE
from kit.literature.engines import LONGEST, plain_query
from kit.literature.words import clean, tex
from kit.pipeline import run_stage
from kit.prompts import render
from kit.schemas import Finding, FormatError, Idea, KitError, Novelty, NoveltyQuery, Paper, Problem
from kit.workspace import Run

ROOT = Path(__file__).parent.parent
SCHOLAR = ROOT.parent / "shared" / "tools" / "scholar_server.py"
HAS_TEX = bool(shutil.which("latexmk") and shutil.which("pdflatex") and shutil.which("bibtex"))
needs_tex = pytest.mark.skipif(not HAS_TEX, reason="there is no TeX on this machine")
IDEA = Idea(Name="an_idea", Title="T", Experiment="E", Interestingness=5, Feasibility=5, Novelty=5)
S2, OPENALEX = "/graph/v1/paper/search", "/works"
HO = {
    "paperId": "5c1",
    "title": "Denoising Diffusion Probabilistic Models",
    "authors": [{"authorId": "1", "name": "Jonathan Ho"}, {"authorId": "2", "name": "Ajay Jain"}],
    "year": 2020,
    "venue": "Neural Information Processing Systems",
    "abstract": "We present high quality image synthesis.",
    "externalIds": {"DOI": "10.48550/arXiv.2006.11239", "ArXiv": "2006.11239"},
    "citationCount": 30_000,
    "url": "https://www.semanticscholar.org/paper/5c1",
}
HO_OPENALEX = {
    "id": "https://openalex.org/W1",
    "doi": "https://doi.org/10.48550/arxiv.2006.11239",
    "display_name": "Denoising Diffusion Probabilistic Models",
    "publication_year": 2020,
    "authorships": [{"author": {"display_name": "Jonathan Ho"}}, {"author": {"display_name": "Ajay Jain"}}],
    "primary_location": {"source": {"display_name": "arXiv (Cornell University)"}},
    "abstract_inverted_index": {"We": [0], "present": [1, 3], "and": [2]},
    "cited_by_count": 30_000,
}


@pytest.fixture(autouse=True)
def engines_on_loopback(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch):
    base = httpserver.url_for("").rstrip("/")
    monkeypatch.setenv("S2_BASE_URL", base)
    monkeypatch.setenv("OPENALEX_BASE_URL", base + "/")
    for key in ("S2_API_KEY", "OPENALEX_API_KEY"):
        monkeypatch.delenv(key, raising=False)


def connect(tmp_path: Path, *engines: str, deadline: float = 20) -> literature.Literature:
    return literature.connect(engines or ("openalex",), cache=tmp_path / "cache", deadline=deadline)


def asked(httpserver: HTTPServer) -> list[Request]:
    return [request for request, _ in httpserver.log]


def answer_in_turn(httpserver: HTTPServer, path: str, *answers: Response) -> None:
    """The answers one after the other; the last one for ever."""
    left = list(answers)
    httpserver.expect_request(path).respond_with_handler(lambda _: left.pop(0) if len(left) > 1 else left[0])


def found(*entries: dict) -> Response:
    return Response(json.dumps({"results": entries}), content_type="application/json")


# --- an answer ----------------------------------------------------------------------------------


def test_semantic_scholar(tmp_path: Path, httpserver: HTTPServer):
    httpserver.expect_request(S2).respond_with_json({"total": 1, "offset": 0, "data": [HO]})
    [paper] = connect(tmp_path, "semanticscholar").search("denoising diffusion", limit=3)
    assert paper.key == "ho2020denoising" and paper.authors == ["Jonathan Ho", "Ajay Jain"]
    assert (paper.arxiv, paper.citations, paper.source) == ("2006.11239", 30_000, "semanticscholar")
    [request] = asked(httpserver)
    assert request.args["query"] == "denoising diffusion" and request.args["limit"] == "3"
    assert {"title", "abstract", "externalIds"} <= set(request.args["fields"].split(","))


def test_openalex(tmp_path: Path, httpserver: HTTPServer):
    httpserver.expect_request(OPENALEX).respond_with_json({"meta": {}, "results": [HO_OPENALEX]})
    [paper] = connect(tmp_path).search("denoising diffusion", limit=3)
    assert paper.key == "ho2020denoising" and paper.abstract == "We present and present"
    assert (paper.arxiv, paper.doi) == ("2006.11239", "10.48550/arxiv.2006.11239")
    [request] = asked(httpserver)
    assert request.args["search"] == "denoising diffusion" and request.args["per-page"] == "3"


@pytest.mark.parametrize("body", [{"total": 0, "offset": 0, "data": []}, {"total": 0, "offset": 0}])
def test_nothing_found_is_an_answer(tmp_path: Path, httpserver: HTTPServer, body: dict):
    httpserver.expect_request(S2).respond_with_json(body)
    assert connect(tmp_path, "semanticscholar", "openalex").find("x") == Finding(query="x")


@pytest.mark.parametrize(
    "holes",
    [
        {"abstract": None, "authors": None, "year": None, "venue": None, "externalIds": None, "citationCount": None},
        {"authors": [], "venue": ""},
        {"authors": [{"name": None}, None, {}, "Ho"], "year": "n.d.", "citationCount": "many", "externalIds": []},
        {"abstract": 5, "venue": ["x"], "url": {}, "year": 20.5},
    ],
)
def test_what_semantic_scholar_leaves_out_does_no_harm(tmp_path: Path, httpserver: HTTPServer, holes: dict):
    entries = [HO | holes, {"title": "Only a title"}, {"title": None}, {}, None, "text"]
    httpserver.expect_request(S2).respond_with_json({"data": entries})
    papers = connect(tmp_path, "semanticscholar").search("x")
    assert [p.title for p in papers] == [HO["title"], "Only a title"]
    assert papers[1].key == "anonymousonly" and "@" in literature.bibtex(papers)


@pytest.mark.parametrize(
    "holes",
    [
        dict.fromkeys(HO_OPENALEX) | {"title": HO["title"]},
        {"authorships": [{"author": None, "raw_author_name": "J. Ho"}, None, {}], "primary_location": {"source": None}},
        {"abstract_inverted_index": {"a": None, "b": ["0"], "c": [1]}, "publication_year": "2020", "doi": 7},
    ],
)
def test_what_openalex_leaves_out_does_no_harm(tmp_path: Path, httpserver: HTTPServer, holes: dict):
    httpserver.expect_request(OPENALEX).respond_with_json({"results": [HO_OPENALEX | holes, {}]})
    [paper] = connect(tmp_path).search("x")
    assert paper.title == HO["title"] and paper.year in (2020, None)


@pytest.mark.parametrize(
    ("sent", "title"),
    [
        ("Noise &amp; Signal &lt;i&gt;in vivo&lt;/i&gt;", "Noise & Signal in vivo"),
        ("A <scp>DNA</scp> test for p<0.05", "A DNA test for p<0.05"),
        (r"$\beta$-{VAE}: L$_2$ for Schr\"{o}dinger, Demšar \& \v{C}ech", "β-VAE: L_2 for Schrödinger, Demšar & Čech"),
        ("  Two\n lines\u200b\u00a0and\x07 more ", "Two lines and more"),
        ("扩散模型 🙂 ﬁne", "扩散模型 🙂 ﬁne"),
        ("half of \ud83d a pair", "half of ? a pair"),
    ],
)
def test_titles_come_as_plain_text(tmp_path: Path, httpserver: HTTPServer, sent: str, title: str):
    httpserver.expect_request(OPENALEX).respond_with_json({"results": [HO_OPENALEX | {"display_name": sent}]})
    assert [p.title for p in connect(tmp_path).search("x")] == [title]


@given(st.text() | st.lists(st.sampled_from(["$", "{", "}", "\\", "<i>", "&amp;", "\\alpha", "é", "x"])).map("".join))
def test_cleaning_ends_in_one_plain_line(text: str):
    line = clean(text)
    assert line == " ".join(line.split()) and "\n" not in line and "\x00" not in line


def test_keys_are_plain_letters(tmp_path: Path, httpserver: HTTPServer):
    authors = [{"author": {"display_name": "Đorđe Şahin-Müller"}}]
    entry = {"display_name": "The Über—Ångström problem", "authorships": authors}
    httpserver.expect_request(OPENALEX).respond_with_json({"results": [HO_OPENALEX | entry]})
    assert connect(tmp_path).search("x")[0].key == "sahinmuller2020uber"


# --- a query ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("self-supervised (vision OR language)?", "self supervised vision or language"),
        ('"noise schedule" AND NOT gan*', "noise schedule and not gan"),
        ("Schrödinger's équation\n\t扩散", "Schrödinger's équation 扩散"),
        ("a,b|c:d&e=f%20#g", "a b c d e f 20 g"),
        ("***", ""),
    ],
)
def test_a_query_is_sent_as_words(query: str, words: str):
    assert plain_query(query) == words


@given(st.text(max_size=2000))
def test_any_query_is_short_and_without_syntax(query: str):
    words = plain_query(query)
    assert len(words) <= LONGEST and re.fullmatch(r"[\w'’ ]*", words)


def test_a_query_without_words_asks_nobody(tmp_path: Path, httpserver: HTTPServer):
    assert connect(tmp_path, "semanticscholar").find(" ?! ").papers == [] and not asked(httpserver)


def test_a_long_query_is_cut_between_words(tmp_path: Path, httpserver: HTTPServer):
    httpserver.expect_request(OPENALEX).respond_with_json({"results": []})
    connect(tmp_path).search("denoising " * 300)
    [request] = asked(httpserver)
    assert set(request.args["search"].split()) == {"denoising"} and len(request.args["search"]) <= LONGEST


# --- trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize("soon", ["1", "0.5", "date"])
def test_retry_after_is_waited_for(tmp_path: Path, httpserver: HTTPServer, soon: str):
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if soon == "date" else soon
    answer_in_turn(httpserver, OPENALEX, Response("{}", 429, {"Retry-After": when}), found(HO_OPENALEX))
    start = time.monotonic()
    assert connect(tmp_path).search("x") and len(asked(httpserver)) == 2
    assert 0.4 < time.monotonic() - start < 4


@pytest.mark.parametrize("wait", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_wait_beyond_the_deadline_is_not_begun(tmp_path: Path, httpserver: HTTPServer, wait: str):
    answer_in_turn(httpserver, OPENALEX, Response("{}", 429, {"Retry-After": wait}))
    start = time.monotonic()
    with pytest.raises(LiteratureUnavailable, match="It answered 429, after 1 try"):
        connect(tmp_path).search("x")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "answer",
    [
        Response("oh", 500),
        Response("oh", 503, {"Retry-After": "²"}),
        Response("<html>no</html>", 200),
        Response(b"\xff\xfe{", 200),
        Response("[" * 100_000, 200),
        Response('[{"title": "x"}]', 200),
        Response('{"message": "x"}', 200),
        Response('{"results": "x"}', 200),
        Response("", 200),
    ],
)
def test_passing_trouble_is_tried_again(tmp_path: Path, httpserver: HTTPServer, answer: Response):
    answer_in_turn(httpserver, OPENALEX, answer, found(HO_OPENALEX))
    assert connect(tmp_path).search("x") and len(asked(httpserver)) == 2
    assert [file.suffix for file in sorted((tmp_path / "cache").iterdir())] == [".json", ".turn"]


def test_trouble_that_stays_ends_at_the_deadline_and_is_on_record(tmp_path: Path, httpserver: HTTPServer):
    answer_in_turn(httpserver, OPENALEX, Response("oh", 500))
    start = time.monotonic()
    finding = connect(tmp_path, deadline=2).find("noise")
    assert finding.query == "noise" and not finding.papers and 0.9 < time.monotonic() - start < 4
    assert "openalex: It answered 500, after 2 tries." in finding.trouble
    assert not list((tmp_path / "cache").glob("*.json"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 414])
def test_trouble_that_cannot_pass_is_final_at_once(tmp_path: Path, httpserver: HTTPServer, status: int):
    answer_in_turn(httpserver, OPENALEX, Response("{}", status))
    with pytest.raises(LiteratureUnavailable, match=f"{status}, after 1 try"):
        connect(tmp_path).search("x")
    assert len(asked(httpserver)) == 1


def test_a_slow_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the request and says nothing
        monkeypatch.setenv("OPENALEX_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert "ReadTimeout" in connect(tmp_path, deadline=1).find("x").trouble
        assert time.monotonic() - start < 1.8


@pytest.mark.parametrize(("url", "why"), [("http://127.0.0.1:9", "ConnectionError"), ("nowhere", "MissingSchema")])
def test_an_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, why: str):
    monkeypatch.setenv("OPENALEX_BASE_URL", url)
    assert why in connect(tmp_path, deadline=0.5).find("x").trouble


def test_the_next_engine_is_asked_when_one_is_down(tmp_path: Path, httpserver: HTTPServer):
    answer_in_turn(httpserver, S2, Response("{}", 403))
    answer_in_turn(httpserver, OPENALEX, found(HO_OPENALEX))
    library = connect(tmp_path, "semanticscholar", "openalex", "bibliography")
    assert [p.source for p in library.search("denoising")] == ["openalex"]
    assert [request.path for request in asked(httpserver)] == [S2, OPENALEX]
    answer_in_turn(httpserver, S2, Response("{}", 403))
    assert "bibliography" in {p.source for p in connect(tmp_path, "semanticscholar", "bibliography").search("noise")}


def test_all_troubles_are_told(tmp_path: Path, httpserver: HTTPServer):
    answer_in_turn(httpserver, S2, Response("{}", 403))
    answer_in_turn(httpserver, OPENALEX, Response("{}", 404))
    trouble = connect(tmp_path, "semanticscholar", "openalex").find("x").trouble
    assert re.search(r"semanticscholar: .*403.* openalex: .*404", trouble)


def test_an_unknown_engine_is_named():
    with pytest.raises(KitError, match=r"no literature engine 'scholar'.*semanticscholar, openalex, bib"):
        literature.connect(["scholar"])


# --- cache and pace -----------------------------------------------------------------------------


def test_the_same_query_is_asked_once(tmp_path: Path, httpserver: HTTPServer):
    answer_in_turn(httpserver, OPENALEX, found(HO_OPENALEX))
    first = connect(tmp_path).search("noise-schedule")
    assert connect(tmp_path).search("noise schedule!") == first and len(asked(httpserver)) == 1
    connect(tmp_path).search("noise schedule", limit=3)
    connect(tmp_path).search("other words")
    assert len(asked(httpserver)) == 3


def test_keys_are_sent_and_never_stored(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch):
    answer_in_turn(httpserver, OPENALEX, found(HO_OPENALEX))
    httpserver.expect_request(S2).respond_with_json({"data": [HO]})
    without = connect(tmp_path, "openalex").search("x")
    monkeypatch.setenv("S2_API_KEY", "secret-one\n")
    monkeypatch.setenv("OPENALEX_API_KEY", "secret-two")
    assert connect(tmp_path, "openalex").search("x") == without, "the key is no part of what was asked"
    connect(tmp_path, "openalex").search("y")
    connect(tmp_path, "semanticscholar").search("y")
    requests_made = asked(httpserver)
    assert requests_made[1].args["api_key"] == "secret-two" and requests_made[2].headers["x-api-key"] == "secret-one"
    for file in (tmp_path / "cache").iterdir():
        assert "secret" not in file.name + file.read_text()


def test_processes_together_keep_the_pause(tmp_path: Path, httpserver: HTTPServer):
    times: list[float] = []

    def note(_: Request) -> Response:
        times.append(time.monotonic())
        return found(HO_OPENALEX)

    httpserver.expect_request(OPENALEX).respond_with_handler(note)
    code = "import sys; from pathlib import Path; from kit import literature\n"
    code += "library = literature.connect(['openalex'], cache=Path(sys.argv[1]))\n"
    code += "[library.search(f'{sys.argv[2]} {n}') for n in range(3)]"
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0] and len(times) == 9
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > PAUSE["openalex"] / 2 and times[-1] - times[1] > 6.9 * PAUSE["openalex"]


# --- .bib files ---------------------------------------------------------------------------------


def own(tmp_path: Path, text: str) -> literature.Literature:
    file = tmp_path / "own.bib"
    file.write_text(text, encoding="utf-8")
    return literature.connect(["bib"], bib=file)


def test_ones_own_bib(tmp_path: Path):
    library = own(
        tmp_path,
        """@string{j = "Journal of Noise"}
        @Article{muller2020, AUTHOR = {M{\\"u}ller, Jörg and
            {The Noise Group}}, Title = {On {Schr\\"odinger} noise}, Journal = j, year = 2020}
        @comment{x}
        @book{press, author = {A. Person}, title = "A Book", publisher = {MIT Press}, date = {2019-01}}
        @misc{untitled, author = {A. Person}}""",
    )
    [paper] = library.search("Schrödinger")
    assert paper.authors == ['M{\\"u}ller, Jörg', "{The Noise Group}"] and paper.venue == "Journal of Noise"
    assert [(p.key, p.year) for p in library.search("book")] == [("press", 2019)]
    assert 'J{\\"{o}}rg' in literature.bibtex([paper]) and "@misc{press" in literature.bibtex(library.search("book"))


def test_a_bib_of_one_entry_can_be_searched(tmp_path: Path):
    assert [p.key for p in own(tmp_path, "@misc{a, title={Noise}}").search("noise and more")] == ["a"]


def test_a_changed_bib_is_read_again(tmp_path: Path):
    own(tmp_path, "@misc{a, title={Noise}}").search("noise")
    os.utime(tmp_path / "own.bib", ns=(0, 0))
    assert [p.key for p in own(tmp_path, "@misc{b, title={Noise}}").search("noise")] == ["b"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("@misc{b, title = {open {brace}\n@misc{c, title={C}}", "line 3 cannot be read"),
        ("@misc{b title = {B}}", "line 3 cannot be read. Expected comma after entry key"),
        ("@misc{a, title = {B}}", "line 3 cannot be read. Duplicate entry key 'a'"),
        ("@misc{b, title = {B}, title = {C}}", "line 3 cannot be read. Duplicate field keys"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, entry: str, words: str):
    with pytest.raises(KitError, match=words):
        own(tmp_path, f"@misc{{a, title = {{A}}}}\n\n{entry}\n").search("a")


def test_a_bib_that_is_not_there_or_not_utf_8_is_named(tmp_path: Path):
    with pytest.raises(KitError, match=r"needs a \.bib file, and None is none"):
        literature.connect(["bib"]).search("x")
    (tmp_path / "old.bib").write_bytes("@misc{a, title={ä}}".encode("latin-1"))
    with pytest.raises(KitError, match=r"old\.bib is not UTF-8"):
        literature.connect(["bib"], bib=tmp_path / "old.bib").search("x")


def test_the_order_is_the_same_in_every_process():
    code = "from kit import literature; print([p.key for p in literature.connect().search('noise schedule seeds of "
    code += "diffusion models with attention and variance', 61)])"
    seeds = [dict(os.environ, PYTHONHASHSEED=seed) for seed in ("0", "1", "12345")]
    runs = [subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True) for env in seeds]
    assert len({run.stdout for run in runs}) == 1 and runs[0].stdout.count(b"'") > 20, runs[0].stderr


# --- several searches ---------------------------------------------------------------------------

PAPERS = st.builds(
    Paper,
    key=st.sampled_from(["a2020x", "a2020xb", "a2020xz"]),
    title=st.sampled_from(["Noise", "noise!", "{N}oise", "Nöise", "噪声", "噪音", "?", "!"]) | st.text(min_size=1),
)


@given(st.lists(st.lists(PAPERS, max_size=8).map(lambda papers: Finding(query="x", papers=papers))))
def test_merged_papers_come_once_under_keys_of_their_own(findings: list[Finding]):
    papers, all_of_them = literature.merge(findings), [p for f in findings for p in f.papers]
    assert len({p.key for p in papers}) == len(papers) == len({p.title for p in papers})
    assert {p.title for p in papers} <= {p.title for p in all_of_them} and bool(papers) == bool(all_of_them)


def test_the_same_title_in_several_spellings_is_one_paper():
    titles = ["Noise in β-VAEs", r"Noise in $\beta$-{VAE}s", "NOISE IN β-VAEs.", "噪声", "噪音"]
    papers = literature.merge([Finding(query="", papers=[Paper(key="k", title=title) for title in titles])])
    assert [(p.key, p.title) for p in papers] == [("k", "Noise in β-VAEs"), ("kb", "噪声"), ("kc", "噪音")]
    many = [Paper(key="k", title=f"Title {n}") for n in range(40)]
    assert len({p.key for p in literature.merge([Finding(query="", papers=many)])}) == 40


# --- BibTeX -------------------------------------------------------------------------------------

NASTY = st.text(max_size=25) | st.lists(
    st.sampled_from([*"{}\\$%&#_^~\"'@,=<>|[]()é", " and ", "Ho", "others", "\\alpha", "漢字", "🙂", "β", "\n", "GAN"])
).map("".join)
ANY_PAPER = st.builds(Paper, key=st.just("key"), title=NASTY, authors=st.lists(NASTY, max_size=4),
                      year=st.none() | st.integers(-9, 3000), venue=NASTY, doi=NASTY, arxiv=NASTY,
                      tex=st.booleans())  # fmt: skip


@settings(deadline=None)
@given(ANY_PAPER)
def test_any_paper_makes_one_entry_that_balances(paper: Paper):
    written = literature.bibtex([paper])
    library = bibtexparser.parse_string(written)
    [entry] = library.entries
    fields = {field.key: field.value for field in entry.fields}
    assert not library.failed_blocks and entry.key == "key" and {"author", "title", "year"} <= set(fields)
    assert written.isascii() and all(fields.values())
    for value in fields.values():
        depth = [value[:n].count("{") - value[:n].count("}") for n in range(len(value) + 1)]
        assert min(depth) == depth[-1] == 0 and "\n" not in value


@given(st.text())
def test_plain_text_becomes_ascii_that_stands_for_itself(text: str):
    line = tex(text)
    assert line.isascii() and line.isprintable() and line.count("{") == line.count("}")
    if re.fullmatch(r"[a-zA-Z0-9 .,:;!?()+*/-]*", text):
        assert line == " ".join(text.split())


def compile_bib(folder: Path, bib: str, keys: list[str], preamble: str = "") -> list[Problem]:
    """Cite everything in a small paper; what BibTeX and LaTeX complained of."""
    (folder / "references.bib").write_text(bib, encoding="ascii")
    style = preamble or "\\usepackage[round]{natbib}\\usepackage{hyperref}\\bibliographystyle{plainnat}"
    lines = [
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}\\usepackage{times}",
        style,
        "\\begin{document}",
        *(f"\\cite{{{key}}}" for key in keys),
        "\\bibliography{references}\\end{document}",
    ]
    (folder / "paper.tex").write_text("\n".join(lines))
    return latex.compile(folder).problems


TITLES = [
    "Noise & Signal: 100% of {braces} in x_1^2 ~ #3 $5 \\foo",
    "β-VAE und Schrödingers Katze — Łódź, Ångström, ﬁn, naïve, Çelik, Ő",
    "ΑΒΓ ΑΓΩ αβγδεζηθικλμνξοπρστυφχψω ≤ ≥ × ± ∞ → √2",
    "拡散モデルの研究",
    "Привет",
    "🙂 only smiles",
    '"Quotes" \'and\' ``more" @ <tags> | a [bracket] (b)',
    "a { b",
    "}{",
    "",
    "%",
    "Nguyễn’s GANs: ImageNet‐scale ÉTUDES of “things”",
]
AUTHORS = [["Smith and Wesson Inc.", "and", "Ho, J., Jr., PhD"], ["山田 太郎"], ["Jörg Ü. Ångström [Ed.]", "{X}"],
           ["Demšar, Janez", "O'Brien"], [], ["Ł. Kaiser", "a_b & c", "Name,"], ["X"] * 60]  # fmt: skip
VENUES = ["", "arXiv.org", "Science & Engineering", "Journal of {X", "NeurIPS", "日本", "Rev. 100%", "MIT Press"]


@needs_tex
def test_a_nasty_collection_compiles(tmp_path: Path):
    papers = [
        Paper(
            key=f"k{n}{'t' * as_tex}",
            title=title,
            authors=AUTHORS[n % len(AUTHORS)],
            venue=VENUES[n % len(VENUES)],
            year=None if n == 3 else 2000 + n,
            doi=["10.1002/(SICI)1097<1661::AID-SIM968>3.0.CO;2-2", "10.1/a_b&c", "10.1/{", "no"][n % 4],
            arxiv=["2006.11239", "a{b", ""][n % 3],
            tex=as_tex,
        )
        for n, title in enumerate(TITLES)
        for as_tex in (False, True)
        if not (as_tex and "\\foo" in title)  # an undefined command in somebody's .bib is theirs
    ]
    problems = compile_bib(tmp_path, literature.bibtex(papers), [p.key for p in papers])
    assert not [p for p in problems if p.fatal or (p.kind == "bibtex" and "empty" in p.message)], problems
    text = " ".join(latex.text(tmp_path / "paper.pdf").split())
    assert "Noise & signal: 100% of braces in x_1^2 ~ #3 $5" in text and "Smith and Wesson Inc." in text
    assert "ångström, fin, naïve, çelik" in text and "arXiv preprint arXiv:2006.11239" in text


@needs_tex
def test_styles_that_shorten_names_take_accents(tmp_path: Path):
    papers = [Paper(key="a", title="Été", authors=["Élodie Åström", "Ő. Ž. Ñu"], venue="Journal of X", year=2020)]
    assert not compile_bib(tmp_path, literature.bibtex(papers), ["a"], "\\bibliographystyle{abbrv}")


# --- what ships ---------------------------------------------------------------------------------


def test_what_is_searched_is_told_to_whoever_thinks_up_the_queries(tmp_path: Path):
    (tmp_path / "my.bib").write_text(
        "@article{a, title={T}, author={A B}, year={2001}}\n@misc{b, title={U}, author={C}}"
    )
    told = literature.connect(["semanticscholar", str(tmp_path / "my.bib")]).holdings
    assert told.startswith(
        "Semantic Scholar, an index of all fields; where that does not answer, a collection of 2 papers"
    )
    assert "of 2001 to 2001" in told
    assert len(literature.read_bib(literature.SHIPPED)) == int(literature.connect(["bibliography"]).holdings.split()[3])


def test_every_shipped_entry_is_whole():
    papers = literature.read_bib(literature.SHIPPED)
    written = bibtexparser.parse_string(literature.SHIPPED.read_text(encoding="utf-8"))
    assert len(papers) == len(written.entries) >= 60
    for paper in papers:
        assert paper.title and paper.authors and paper.year and paper.venue and paper.abstract, paper.key
        assert re.fullmatch(r"[a-z]+\d{4}[a-z]+", paper.key) and str(paper.year) in paper.key
    kinds = {entry.key: entry.entry_type for entry in written.entries}
    ours = {entry.key: entry.entry_type for entry in bibtexparser.parse_string(literature.bibtex(papers)).entries}
    assert {key for key in kinds if kinds[key] != ours[key] and kinds[key] != "techreport"} == set()


@needs_tex
def test_what_ships_compiles_without_a_warning(tmp_path: Path):
    papers = literature.read_bib(literature.SHIPPED)
    problems = compile_bib(tmp_path, literature.bibtex(papers), [p.key for p in papers])
    assert not [p for p in problems if p.fatal or p.kind == "bibtex"], problems


# --- an engine with real papers -----------------------------------------------------------------


@pytest.fixture
def scholar(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The two engines over a real corpus, where the project's shared folder is there."""
    if not SCHOLAR.is_file():
        pytest.skip("there is no shared folder beside this checkout")
    command = [sys.executable, str(SCHOLAR), "--port", "0", "--rate", "0.5", "--fault", "garbage:3"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        base = re.search(r"http://[\d.:]+", server.stdout.readline())[0]  # type: ignore[union-attr, index]
        monkeypatch.setenv("S2_BASE_URL", base)
        monkeypatch.setenv("OPENALEX_BASE_URL", base)
        yield base
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()  # type: ignore[union-attr]


def test_real_papers_are_found_through_rate_limits_and_garbage(tmp_path: Path, scholar: str):
    assert requests.get(f"{scholar}/works", params={"search": "noise"}, timeout=5).ok  # so that we come too soon
    library = connect(tmp_path, "semanticscholar")
    findings = [library.find("denoising diffusion probabilistic models"), library.find("sharpness-aware minimization")]
    findings.append(connect(tmp_path, "openalex").find("denoising diffusion probabilistic models"))
    papers = literature.merge(findings)
    assert "Denoising Diffusion Probabilistic Models" in {p.title for p in papers}
    assert [f.trouble for f in findings] == ["", "", ""] and len(papers) == len({p.key for p in papers})
    assert len(bibtexparser.parse_string(literature.bibtex(papers)).entries) == len(papers)


def test_a_verdict_rests_on_papers_that_were_found():
    inquiry = literature.Inquiry(literature.connect(), IDEA)
    with pytest.raises(FormatError, match="unchecked"):
        inquiry.check(Novelty(verdict="novel"))
    inquiry.follow(NoveltyQuery(thoughts="", query="denoising diffusion", done=False))
    found = inquiry.papers[0].key
    inquiry.check(Novelty(verdict="not novel", papers=[found]))
    with pytest.raises(FormatError, match="needs the key"):
        inquiry.check(Novelty(verdict="not novel"))
    with pytest.raises(FormatError, match="No search found smith2099"):
        inquiry.check(Novelty(verdict="novel", papers=[found, "smith2099"]))
    inquiry.follow(NoveltyQuery(thoughts="", query="", done=True))
    assert inquiry.done and len(inquiry.findings) == 1


def test_a_paper_is_new_once_and_close_ones_are_kept():
    inquiry = literature.Inquiry(literature.connect(), IDEA)
    inquiry.follow(NoveltyQuery(thoughts="", query="denoising diffusion", done=False))
    first = inquiry.papers[0].key
    inquiry.follow(
        NoveltyQuery(thoughts="", query="denoising diffusion models", done=False, close=[first, "smith2099"])
    )
    keys = [paper.key for finding in inquiry.findings for paper in finding.papers]
    assert len(keys) == len(set(keys)) and keys == [paper.key for paper in inquiry.papers]
    assert [paper.key for paper in inquiry.close] == [first]


@pytest.mark.parametrize(("authors", "line"), [
    (["Unknown"], "(2020)"), (["Anonymous", "Ann Lee"], "(Ann Lee, 2020)"), (["et al."], "(2020)"), (["-"], "(2020)"),
    (["No Author"], "(2020)"), (["Noor Ali"], "(Noor Ali, 2020)"), ([], "(2020)"), (["N/A"], "(2020)"),
])  # fmt: skip
def test_nobody_is_no_author(tmp_path: Path, httpserver: HTTPServer, authors: list[str], line: str):
    entry = HO_OPENALEX | {"display_name": "Noise", "publication_year": 2020,
                           "authorships": [{"author": {"display_name": name}} for name in authors]}  # fmt: skip
    httpserver.expect_request(OPENALEX).respond_with_response(found(entry))
    paper = connect(tmp_path).search("noise")[0]
    finding = Finding(query="noise", papers=[paper])
    values = {"idea": IDEA, "findings": [finding], "close": [], "num_novelty_rounds": 3, "holdings": "a shelf"}
    said = render("novelty/query", values)
    assert f"` Noise {line}" in said


@pytest.mark.parametrize("title", ["", "Untitled", "[No title]", "(null)", "12", "N/A", "—", "Title pending 7"])
def test_a_paper_without_a_title_is_none(tmp_path: Path, httpserver: HTTPServer, title: str):
    whole = HO_OPENALEX | {"display_name": "None of the Above"}
    httpserver.expect_request(OPENALEX).respond_with_response(found(HO_OPENALEX | {"display_name": title}, whole))
    assert [paper.title for paper in connect(tmp_path).search("x")] == ["None of the Above"]


# --- an engine that is in trouble, seen from the notebook -----------------------------------------


def test_an_engine_that_is_dead_is_asked_no_more(tmp_path: Path, httpserver: HTTPServer):
    answer_in_turn(httpserver, S2, Response("{}", 403))
    answer_in_turn(httpserver, OPENALEX, found(HO_OPENALEX))
    library = connect(tmp_path, "semanticscholar", "openalex")
    for number in range(5):
        assert library.search(f"noise {number}") and not library.is_silent
    assert [request.path for request in asked(httpserver)].count(S2) == 2
    alone = connect(tmp_path, "semanticscholar")
    troubles = [alone.find(f"x {number}").trouble for number in range(4)]
    assert alone.is_silent and "403" in troubles[1] and "not asked again" in troubles[2]


def test_an_engine_that_answers_in_between_is_not_given_up(tmp_path: Path, httpserver: HTTPServer):
    no, yes = Response("{}", 403), found(HO_OPENALEX)
    answer_in_turn(httpserver, OPENALEX, no, yes, no, yes, no, yes)
    library = connect(tmp_path)
    assert [bool(library.find(f"x {number}").trouble) for number in range(6)] == [True, False] * 3


def check_novelty(home: Path, httpserver: HTTPServer, handler: Callable[[Request], Response]) -> tuple[list, float]:
    """The records of a stage whose one engine does as `handler`, and how long it took in seconds."""
    httpserver.expect_request(S2).respond_with_handler(handler)
    start = time.monotonic()
    run_stage("ideas", home / "copy.ipynb", run_dir="run", template="tests/mini", num_ideas=2, num_reflections=1,
              engines=["semanticscholar"], search_timeout=2)  # fmt: skip
    return Run(home / "outputs" / "run").archive().records, time.monotonic() - start


def test_the_stage_gets_through_rate_limits(home: Path, httpserver: HTTPServer):
    def limited(request: Request) -> Response:
        requests_so_far.append(1)
        if len(requests_so_far) % 3 == 0:
            return Response("{}", 429, {"Retry-After": "0"})
        return Response(json.dumps({"data": [HO]}), content_type="application/json")

    requests_so_far: list[int] = []
    records, _ = check_novelty(home, httpserver, limited)
    assert [record.novelty.verdict for record in records] == ["novel", "novel"]
    assert all(record.novelty.papers for record in records) and len(requests_so_far) >= 6


@pytest.mark.parametrize("fault", ["garbage", "silence", "500"])
def test_the_stage_ends_soon_without_an_engine_and_claims_nothing(home: Path, httpserver: HTTPServer, fault: str):
    def fail(request: Request) -> Response:
        time.sleep(3 if fault == "silence" else 0)
        return Response("<html>It works!</html>", 500 if fault == "500" else 200)

    records, seconds = check_novelty(home, httpserver, fail)
    assert [(r.novelty.verdict, r.novelty.papers, r.chosen) for r in records] == [("unchecked", [], True)] * 2
    assert seconds < 20 and len(asked(httpserver)) <= 6
    queries = list((home / "outputs" / "run" / "calls").glob("novelty.*.query.*"))
    assert len(queries) == 2, "a search for each idea, and no more once nobody answers"


def test_the_path_of_a_bib_file_is_an_engine(tmp_path: Path):
    file = tmp_path / "my.bib"
    file.write_text("@article{me2020, title={Quokkas at Large}, author={Me, A.}, journal={J}, year={2020}}")
    found = literature.connect([str(file), "bibliography"]).search("quokkas")
    assert [paper.key for paper in found] == ["me2020"]
    with pytest.raises(KitError, match=r"none\.bib"):
        literature.connect([str(tmp_path / "none.bib")]).search("quokkas")
