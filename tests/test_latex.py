"""What a section may hold, what a check finds, what a real TeX says, and that it is kept in its folder."""

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kit import latex
from kit.letters import prose, uncommented
from kit.schemas import Build, FormatError, KitError, Problem
from kit.store import save

HAS_TEX = bool(shutil.which("tectonic") or (shutil.which("latexmk") and shutil.which("pdflatex")))
needs_tex = pytest.mark.skipif(not HAS_TEX, reason="there is no TeX on this machine")

KEYS = ["run_0/dino/kl_div", "run_1/dino/kl_div"]
PAIR = ("dino/kl_div", "run_1", "run_0")
INTERVAL = r"\ensuremath{-0.12} [\ensuremath{-0.20}, \ensuremath{-0.04}]"
NUMBERS = rf"""\KitNumber{{run_0/dino/kl_div}}{{0.50}}
\KitNumber{{run_1/dino/kl_div}}{{0.51}}
\KitComparison{{dino/kl_div}}{{run_1}}{{run_0}}{{{INTERVAL}}}{{better}}"""
SOURCES = r"""\begin{kitsources}
\KitSource{run_0/dino/kl_div}{0.50}{0.4, 0.6}{a file}
\KitSource{run_1/dino/kl_div}{0.51}{0.4, 0.6}{a file}
\end{kitsources}"""
BIB = "@article{ho2020, title={Noise}, author={Ho, Jo}, journal={Journal of Noise}, year={2020}}"
TABLE = r"""\begin{table}\caption{All}\label{tab:results}
\begin{tabular}{ll}a & \kitbetter\\\end{tabular}
\end{table}"""
RESULTS = r"""Table~\ref{tab:results} and figure~\ref{fig:dino} agree with \citet{ho2020}:
\val{run_1/dino/kl_div}, which is \cmp{dino/kl_div}{run_1}{run_0}, that is \emph{\verdict{dino/kl_div}{run_1}{run_0}}.

\subsection*{From \val{run_0/dino/kl_div} to \val*{run_1/dino/kl_div}}
\kittable{results}
\begin{figure}[t]
\centering\includegraphics[width=0.3\linewidth]{dino.png}
\caption{The divergence is \val{run_1/dino/kl_div}.}\label{fig:dino}
\end{figure}"""


def write_paper(folder: Path, results: str = RESULTS, title: str = "On 5 % & more", notice: str = "A demo.") -> Path:
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "numbers.tex").write_text(NUMBERS)
    (folder / "references.bib").write_text(BIB)
    (folder / "tables" / "results.tex").write_text(TABLE)
    Image.new("RGB", (40, 30), "navy").save(folder / "figures" / "dino.png")
    sections = {"Introduction": "Noise is old.", "Results": results}
    return latex.assemble(
        folder,
        title=title,
        authors="A. Person",
        notice="A demo.",
        abstract="We look.",
        sections=sections,
        appendix=SOURCES,
    )


def find(tex: str, **known: object) -> list[Problem]:
    given: dict = {"keys": KEYS, "comparisons": {PAIR}, "citations": ["ho2020"], "figures": ["dino.png"]}
    return latex.check(tex, **(given | known))


def said(problems: list[Problem]) -> str:
    return "\n".join(f"{p.kind} {p.line}: {p.message}" for p in problems)


# --- a section ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        "Here it is.\n\n```latex\n\\section{Results}\n\\label{sec:results}\nIt holds.\n```\nDone.",
        "```latex\n\\section*{The \\emph{Results}}\nIt holds.\n```",
        "It holds.",
        "```\n\\begin{abstract}\nIt holds.\n\\end{abstract}\n```",
    ],
)
def test_a_section_comes_without_fence_and_heading(reply: str):
    assert latex.Section.parse(reply).body == "It holds."


def test_sections_of_one_reply_are_told_apart_by_the_names_before_their_fences():
    reply = (
        "I wrote two.\n\n**method.tex**\n```latex\nA.\n```\n\nAnd\n\n`setup.tex`:\n```latex\nB, see method.\n```\nDone."
    )
    assert latex.Draft.parse(reply).sections == {"method": "A.", "setup": "B, see method."}
    for text, why in (
        ("method.tex\n```latex\nA.\n```\n```latex\nB.\n```", "in a ```latex fence, with the name"),
        ("method.tex\n\nA.", "in a ```latex fence, with the name"),
        ("method.tex\n```latex\n\\input{x}\n```", r"method\.tex: \\input cannot stand"),
    ):
        with pytest.raises(FormatError, match=why):
            latex.Draft.parse(text)


NAMES = st.from_regex(r"[a-z]{3,9}", fullmatch=True)
BODIES = st.from_regex(r"[A-Z][a-z ]{0,30}\.", fullmatch=True)


@given(st.dictionaries(NAMES, BODIES, min_size=1, max_size=4))
def test_any_sections_come_back_as_they_were_sent(sections: dict[str, str]):
    reply = "\n\n".join(f"{name}.tex\n```latex\n{body}\n```" for name, body in sections.items())
    assert latex.Draft.parse(reply).named(list(sections)) == sections


@pytest.mark.parametrize(
    "body",
    [
        r"\documentclass{article}",
        r"\begin{document}x\end{document}",
        r"\input{/etc/passwd}",
        r"\include{x}",
        r"\write18{ls}",
        r"\newwrite\f\immediate\openout\f=x",
        r"\openin5=x",
        r"\catcode`\@=11",
        r"\csname input\endcsname",
        r"\def\val#1{3}",
        r"\renewcommand{\val}[1]{3}",
        r"\let\val\relax",
        r"\bibliography{x}",
        r"^^5cinput{x}",
        r"\begin{input}{/etc/passwd}\end{input}",
        r"\begin{filecontents*}{x}y\end{filecontents*}",
        r"\KitNumber{a}{1}",
        r"\gdef\x{}",
        r"\csdef{x}{}",
        r"\csletcs{x}{y}",
        r"\begin { input }{x}",
        "\\inp\u200but{x}",
        r"\\\input{x}",
        r"\pdfobj file{x}",
        r"\makeatletter",
    ],
)
def test_what_reaches_outside_of_a_section_is_refused_by_name(body: str):
    with pytest.raises(FormatError, match="cannot stand in a section"):
        latex.Section.parse(f"Some text. {body}")


@pytest.mark.parametrize(
    "body",
    [
        r"\includegraphics{dino.png}",
        r"A line.\\ Next \newline line.",
        r"$\csc x$, $\inf$, $\operatorname{argmax}$",
        r"\paragraph{Deflation} of \textbf{lettings}",
        "\\\\% \\input{x}\ntext",
        r"50\,\% of {a}",
        "\\begin{itemize}\n\\item[a] b\n\\end{itemize}",
    ],
)
def test_plain_latex_is_taken_as_it_is(body: str):
    assert latex.Section.parse(body).body == body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("a {b", "not closed"),
        ("a } b", "without its {"),
        (r"\begin{figure} a", r"\\begin{figure} is never ended"),
        (r"\begin{a}\begin{b}\end{a}\end{b}", r"\\end{a}"),
        ("", "empty"),
        (r"\section{Results}", "empty"),
        ("```latex\nhalf an answ", "fence is not closed"),
        ("漢字", "CJK UNIFIED IDEOGRAPH-6F22"),
        ("fine 🙂", "SLIGHTLY SMILING"),
    ],
)
def test_a_section_that_cannot_be_set_says_why(body: str, why: str):
    with pytest.raises(FormatError, match=why):
        latex.Section.parse(body)


@given(st.text())
def test_any_reply_is_a_section_of_known_letters_or_a_format_error(reply: str):
    try:
        body = latex.Section.parse(reply).body
    except FormatError:
        return
    assert body.strip() and latex.to_latex(body) == body
    assert latex.Section.parse(f"```latex\n{body}\n```").body.strip() == body.strip() or "\\section" in body


@given(st.text() | st.lists(st.sampled_from(["$", "`", "扩", "_", "x", " "])).map("".join))
def test_a_caption_holds_only_letters_that_can_be_set(text: str):
    assert latex.to_latex(prose(text)) == prose(text)


@given(st.text())
def test_escaped_text_holds_no_command_and_balances(text: str):
    escaped = latex.escape(text)
    assert uncommented(escaped) == escaped
    assert latex.Section.parse(f"x{escaped}").body


def test_letters_become_commands():
    assert latex.to_latex("α ≤ β → “x” – 5²…") == (
        r"\ensuremath{\alpha} \ensuremath{\leq} \ensuremath{\beta} \ensuremath{\rightarrow} ``x'' -- "
        r"5\ensuremath{^2}\ldots{}"
    )
    assert latex.escape("50 % of run_1 & {a}") == r"50 \% of run\_1 \& \{a\}"
    assert latex.escape("扩散 ％") == r"?? \%"


def test_a_caption_keeps_its_formulas_and_its_code():
    assert prose("Loss of $x_t$ in `eval_loss`, 5 %;\nit cost $5 and\n$6.") == (
        r"Loss of $x_t$ in \texttt{eval\_loss}, 5 \%; it cost \$5 and \$6."
    )


# --- the check ----------------------------------------------------------------------------------


def test_a_clean_paper_has_no_problems(tmp_path: Path):
    assert find(write_paper(tmp_path).read_text()) == []


@pytest.mark.parametrize(
    ("tex", "words"),
    [
        (r"\val{run_1/dino/kl_dov}", "run_1/dino/kl_div"),
        (r"\cmp{dino/kl_div}{run_2}{run_0}", "dino/kl_div run_1 run_0"),
        (r"\citep[see][]{ho2021, x}", "ho2020"),
        (r"\includegraphics[width=1cm]{dina.png}", "Close: dino.png"),
        (r"\ref{fig:x}\label{fig:y}", "No label is called 'fig:x'"),
        (r"\label{a} \label{a}", "given more than once"),
        (r"\includegraphics{dino.png}\includegraphics{dino.png}", "shown more than once"),
        ("\\kittable{results}\n\\kittable{results}", "table 'results' is shown more than once"),
        ("\\section{A}\nx\n\\section{A}\nx", "several sections called 'A'"),
        ("\\section{A}\n\\label{sec:a}\n\n\\section{B}\nx", "The section 'A' is empty"),
    ],
)
def test_the_check_names_what_is_wrong(tex: str, words: str):
    assert words in said(find(tex))


def test_what_is_commented_out_is_not_read():
    assert find("fine % \\val{x} \\ref{y} \\citep{z}\n50\\,\\% too") == []


def test_headings_that_share_a_word_are_different():
    assert find("\\section{Data, Models}\nx\n\\section{Data}\nx") == []


@pytest.mark.parametrize("text", ["10000 points", r"$10{,}000$ points", r"10\,000 points", "10,000 points"])
def test_a_setting_may_be_written_with_its_thousands_apart(text: str):
    tex = f"\\section{{Results}}\n{text}"
    assert find(tex, settings={"10000"}) == [] and "10000" in said(find(tex))


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "$-0.12$",
        ".5",
        "95",
        "5\\%",
        "1,000",
        "1e-3",
        "$p<10^{-3}$",
        "by 3x",
        "in 40s",
        "[0.1, 0.3]",
        "seed 0",
        "(12)",
    ],
)
@pytest.mark.parametrize("place", ["\\section{{Results}}\n{}", "\\begin{{abstract}}\n{}\n\\end{{abstract}}"])
def test_a_typed_number_is_found(text: str, place: str):
    problems = find(place.format(text))
    assert {p.kind for p in problems} == {"literal number"} and problems[0].line == 2


@pytest.mark.parametrize(
    "text",
    [
        "in 2020",
        "GPT-4",
        "2-D",
        "2D",
        r"run\_1",
        "$x_0$",
        "$R^2$",
        "$x_{12}$",
        r"\vspace{-2mm}",
        r"\hspace*{0.5em}",
        r"\begin{minipage}{0.5\linewidth}x\end{minipage}",
        r"\\[4pt]",
        "five",
        r"\includegraphics[width=0.9\linewidth]{dino.png}",
        r"\val{run_0/dino/kl_div}",
        r"\resizebox{0.5\textwidth}{!}{x}",
        r"\setlength{\tabcolsep}{4.5pt}",
        "256 units",
    ],
)
def test_a_number_that_is_no_result_may_stand(text: str):
    assert find(f"\\section{{Results}}\n{text}", settings={"256"}) == []


def test_numbers_are_free_outside_of_the_strict_sections():
    assert find("\\section{Results}\nx\n\\section{Method}\nWe use 3 layers.") == []


@given(st.text(alphabet=st.sampled_from("\\{}%$[] \n0123.-_ax") | st.characters()))
def test_the_check_takes_any_text(tex: str):
    assert all(p.line is None or p.line >= 1 for p in find(f"\\section{{Results}}\n{tex}\\val{{{tex}}}"))


def test_used_keys_come_once_and_in_order():
    assert latex.used_keys(r"\val{b} \val*{a} \val{b} \cmp{c}{d}{e}") == ["b", "a"]


# --- the log ------------------------------------------------------------------------------------


def test_what_is_at_hand_is_to_be_shown_and_spoken_of():
    tex = (
        "\\section{Results}\nSee it.\n\\kittable{results}\n\\includegraphics{dino.png}\n\\label{fig:dino} \\label{eq:a}"
    )
    found = latex.unseen(tex, ["dino.png", "line.png"], ["results", "timing"])
    assert [(p.line, p.fatal) for p in found] == [(None, False), (None, False), (3, False), (5, False)]
    for words in ("figure 'line.png' is at hand", "table 'timing' is at hand", r"\ref{tab:results}", r"\ref{fig:dino}"):
        assert words in said(found)
    assert latex.unseen(RESULTS, ["dino.png"], ["results"]) == []


SHARDS = [
    "./paper.tex:12: ",
    "! ",
    "l.7 \\foo",
    "LaTeX Warning: Reference `a' on page 1 undefined on input line ",
    "9" * 5000,
    "Package natbib Warning: Citation `b' on page 1 undefined",
    "Overfull \\hbox (",
    ".",
    "pt too wide) at lines 3--4",
    "Warning--",
    "---line 4 of file x.bib",
    "I couldn't open",
    "\n",
    "٣²",
]


@given(st.lists(st.sampled_from(SHARDS) | st.text()).map("".join))
def test_any_log_can_be_read(text: str):
    problems = latex.parse_log(text)
    assert len({(p.kind, p.message) for p in problems}) == len(problems)
    assert [p.fatal for p in problems] == sorted((p.fatal for p in problems), reverse=True)


def test_an_error_hides_the_warnings_of_the_unfinished_run():
    log = "LaTeX Warning: Reference `a' on page 1 undefined on input line 3.\n"
    log += "./paper.tex:7: Undefined control sequence.\nl.7 a \\foo\n"
    [problem] = latex.parse_log(log)
    assert (problem.kind, problem.file, problem.line) == ("error", "./paper.tex", 7)
    assert problem.message == "Undefined control sequence. — at: a \\foo"


def test_the_log_tells_bad_from_ugly():
    log = """Overfull \\hbox (3.1pt too wide) in paragraph at lines 5--6
Overfull \\hbox (30.7pt too wide) in paragraph at lines 8--9
LaTeX Warning: Label `a' multiply defined.
LaTeX Warning: Float too large for page by 45.6pt on input line 51.
Missing character: There is no Ω (U+03A9) in font ptmr8t!
Warning--empty journal in b
I was expecting a `,' or a `}'---line 4 of file references.bib
"""
    found = {(p.kind, p.fatal, p.line) for p in latex.parse_log(log)}
    assert found == {
        ("overfull", False, 8),
        ("overfull", False, 51),
        ("letter", False, None),
        ("label", True, None),
        ("bibtex", False, None),
        ("bibtex", True, 4),
    }


# --- real TeX -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Build]:
    folder = tmp_path_factory.mktemp("paper")
    write_paper(folder)
    return folder, latex.compile(folder)


@needs_tex
def test_a_paper_compiles(whole: tuple[Path, Build], tmp_path: Path):
    folder, build = whole
    assert build.ok and build.pages == 2, said(build.problems)
    text = latex.text(folder / "paper.pdf")
    for words in (
        "On 5 % & more",
        "A demo.",
        "Ho (2020)",
        "[−0.20, −0.04], better",
        "From 0.50 to 0.51",
        "run_0/dino/kl_div",
    ):
        assert words in text.replace("\r\n", " ").replace("\n", " ")
    assert "??" not in text
    old = tmp_path / "page_09.png"
    old.write_text("of a longer paper")
    files = latex.pages(folder / "paper.pdf", tmp_path, dpi=40)
    assert [file.name for file in files] == ["page_01.png", "page_02.png"] and not old.exists()
    with Image.open(files[0]) as page:
        assert page.size == (340, 440)


@needs_tex
def test_each_number_links_to_its_row(whole: tuple[Path, Build]):
    import pypdfium2.raw as pdfium
    from pypdfium2 import PdfDocument

    with PdfDocument(whole[0] / "paper.pdf") as pdf:
        names = [pdfium.FPDF_CountNamedDests(pdf), whole[0].joinpath("build", "paper.aux").read_text()]
    assert names[0] > 0 and all(rf"\KitHasSource{{{key}}}" in names[1] for key in KEYS)


@needs_tex
@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (r"We find \val{run_7/dino/kl_div}.", "error", "'run_7/dino/kl_div' is not in the ledger"),
        (
            r"We find \cmp{dino/kl_div}{run_0}{run_7}.",
            "error",
            "'dino/kl_div run_0 run_7' is not in the ledger",
        ),
        (r"We find \foo.", "error", r"\foo"),
        (r"$x", "error", "Missing $"),
        (r"\kittable{other}", "error", "other"),
        (r"See \ref{fig:none} and \citep{ho2020}.", "reference", "fig:none"),
        (r"See \citep{nobody2020}.", "citation", "nobody2020"),
        (r"\label{a}\citep{ho2020}\label{a}", "label", "'a'"),
        ("It cites nothing.", "citation", "cites nothing"),
        (r"\input{/etc/passwd}", "error", "/etc/passwd"),
        (r"\input{../secret}", "error", "secret"),
        (r"\newwrite\f\immediate\openout\f=../secret.txt", "error", ""),
        (r"\includegraphics{none.png}", "error", "none.png"),
    ],
)
def test_what_breaks_a_build_is_told_and_the_last_good_pdf_stays(tmp_path: Path, body: str, kind: str, words: str):
    (tmp_path / "secret.tex").write_text("the secret")
    paper = tmp_path / "paper"
    write_paper(paper, body)
    (paper / "paper.pdf").write_text("the last good one")
    build = latex.compile(paper)
    fatal = [p for p in build.problems if p.fatal]
    assert not build.ok and fatal[0].kind == kind and words in fatal[0].message, said(build.problems)
    assert (paper / "paper.pdf").read_text() == "the last good one"
    assert not (tmp_path / "secret.txt").exists()


@needs_tex
def test_an_error_names_its_line(tmp_path: Path):
    tex = write_paper(tmp_path, "One.\n\nTwo \\foo.").read_text().splitlines()
    [problem] = latex.compile(tmp_path).problems
    assert problem.line and tex[problem.line - 1] == "Two \\foo."


@needs_tex
def test_endless_tex_is_ended(tmp_path: Path):
    write_paper(tmp_path, r"See \ref{nowhere}, \citet{nobody}.\clearpage\loop\iftrue\repeat")
    start = time.monotonic()
    build = latex.compile(tmp_path, timeout=2)
    assert time.monotonic() - start < 20 and not build.ok
    said = [problem.message for problem in build.problems]
    assert said == ["TeX did not end within 6 seconds."], "what a pass that was cut has not resolved is no fault"


@pytest.mark.skipif(not shutil.which("latexmk"), reason="there is no latexmk on this machine")
def test_a_busy_machine_is_no_fault_of_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = tmp_path / "bin" / "latexmk"
    save(slow, f'#!/bin/sh\ntest -e {tmp_path}/once || {{ touch {tmp_path}/once; sleep 60; }}\n'
               f'exec {shutil.which("latexmk")} "$@"\n')  # fmt: skip
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    write_paper(tmp_path / "paper", r"All is well \citep{ho2020}.")
    build = latex.compile(tmp_path / "paper", timeout=15)
    assert build.ok and not build.problems and (tmp_path / "once").is_file()


@needs_tex
def test_a_pdf_that_was_not_finished_is_not_read(tmp_path: Path):
    write_paper(tmp_path, r"x\clearpage x\clearpage\loop\iftrue\repeat")
    assert not latex.compile(tmp_path, timeout=2).ok


@needs_tex
def test_overfull_lines_and_slips_are_shown_but_do_no_harm(tmp_path: Path):
    write_paper(tmp_path, rf"\citep{{ho2020}} \mbox{{{'wide ' * 60}}} and so on...")
    build = latex.compile(tmp_path)
    assert build.ok and "overfull" in {p.kind for p in build.problems}
    if shutil.which("chktex"):
        assert r"\ldots" in said([p for p in build.problems if p.kind == "chktex"])


@needs_tex
def test_every_letter_that_is_let_through_can_be_set(tmp_path: Path):
    from kit.letters import ABSENT, KNOWN, MATHS, TEXT

    letters = [chr(n) for n in range(0xC0, 0x180) if chr(n) not in ABSENT] + [*KNOWN, *MATHS, *TEXT]
    body = " ".join(latex.to_latex(letter) + "x" for letter in letters)
    maths = " ".join(f"$a{latex.to_latex(letter)}b$" for letter in MATHS)
    write_paper(tmp_path, latex.Section.parse(rf"\citet{{ho2020}} {body} {maths}").body)
    build = latex.compile(tmp_path)
    assert build.ok, said(build.problems)


@needs_tex
def test_a_foreign_template_gets_the_macros(tmp_path: Path):
    foreign = tmp_path / "foreign.tex"
    foreign.write_text(
        "\\documentclass{article}\n\\usepackage[usenames]{xcolor}\\usepackage{natbib,graphicx}\n\\begin{document}\n"
        "%%KIT:TITLE%% %%KIT:BODY%%\n\\bibliographystyle{plainnat}\\bibliography{references}\n"
        "%%KIT:APPENDIX%%\\end{document}\n"
    )
    paper = tmp_path / "paper"
    write_paper(paper)
    latex.assemble(
        paper,
        title="T",
        authors="A",
        notice="",
        abstract="",
        sections={"Results": RESULTS},
        appendix=SOURCES,
        template=foreign,
    )
    build = latex.compile(paper)
    assert build.ok, said(build.problems)


# --- putting together ---------------------------------------------------------------------------


def test_text_cannot_fill_another_place(tmp_path: Path):
    tex = write_paper(tmp_path, "%%KIT:APPENDIX%%").read_text()
    assert tex.count(r"\begin{kitsources}") == 1 and "%%KIT:TITLE%%" not in tex


def test_an_unknown_place_in_a_template_is_named(tmp_path: Path):
    template = tmp_path / "t.tex"
    template.write_text("%%KIT:VENUE%%")
    with pytest.raises(KitError, match="a place called VENUE"):
        latex.assemble(
            tmp_path,
            title="",
            authors="",
            notice="",
            abstract="",
            sections={},
            appendix="",
            template=template,
        )


def test_without_tex_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match="apt-get install latexmk"):
        latex.compile(tmp_path)
