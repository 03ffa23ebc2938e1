"""The report: one page that needs nothing, says what is missing, and believes no title."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kit import pipeline, show
from kit.archive import Archive, Record
from kit.bench import Bench
from kit.report import Expense, IdeaReport, Overview, build_report, duration
from kit.schemas import Arm, Build, Caption, Captions, Conclusion, Idea, Plan, Probed, Problem, Review
from kit.store import save, save_json
from kit.template import load_template
from kit.workspace import Run, start_run

HOSTILE = """<script>alert("1")</script> & 'two' <img src=x onerror=alert(3)>"""
PNG = b"\x89PNG\r\n\x1a\n, as far as the page is concerned"
VOID = {"meta", "img", "input", "br", "wbr", "hr", "link"}


class Page(HTMLParser):
    """What a browser would see: every tag with its attributes; an end that fits no beginning is an error."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data if "style" not in self.open else ""


def believes_nothing(html: str) -> Page:
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    return page


def idea(name: str, title: str = "A title") -> Idea:
    return Idea(Name=name, Title=title, Hypothesis=f"It is so: {title}", Experiment=title, Interestingness=5,
                Feasibility=6, Novelty=7)  # fmt: skip


def review(decision: str = "Reject", overall: int = 4, words: str = "few") -> Review:
    four = dict.fromkeys(["Originality", "Quality", "Clarity", "Significance", "Soundness", "Presentation",
                          "Contribution"], 2)  # fmt: skip
    return Review.model_validate(four | {
        "Summary": words, "Strengths": [words], "Weaknesses": [], "Questions": [words], "Limitations": [],
        "Ethical Concerns": False, "Overall": overall, "Confidence": 3, "Decision": decision})  # fmt: skip


@pytest.fixture
def begun(run: Run) -> Run:
    """A run that stopped after its ideas."""
    start_run(str(run.path), "tests/mini", "offline")
    run.save_archive(Archive(records=[Record(idea=idea("one"), chosen=True, chosen_by="all")]))
    return run


def measure(run: Run, name: str) -> None:
    """Leave what 02_experiments leaves, by running the baseline and one arm."""
    bench = Bench(run, load_template("tests/mini"), idea(name), "smoke", "limits")
    bench.baseline(60)
    arms = [
        Arm(name=name, title=f"The {name} one", change="nothing", prediction="nothing") for name in ("same", "late")
    ]
    bench.adopt(Plan(question="Is it so?", arms=arms), 60)
    shutil.copytree(bench.folder / "run_0", bench.folder / "run_1", dirs_exist_ok=True)
    bench.runs["run_1"] = bench.runs["run_0"].model_copy(update={"run": "run_1", "title": "same"})
    bench.probes.done.append(Probed(name="probe_1", question="Why is it so?", ok=True, numbers={"gap": [0.5, 1.5]}))
    bench.ledger()
    said = Conclusion(answer="It is not.", mispredicted=["That it would be."], lesson="Look twice.")
    save_json(bench.folder / "conclusion.json", said)
    save(bench.folder / "figures" / "loss.png", PNG)
    save_json(bench.folder / "captions.json", Captions(figures=[Caption(file="loss.png", caption="How it fell")]))


def test_only_ideas_is_a_page_that_says_what_is_missing(begun: Run):
    text = build_report(begun).read_text(encoding="utf-8")
    page = believes_nothing(text)
    assert "A title" in page.words and "none yet" in page.words and "not reviewed yet" in page.words
    for stage in ("02_experiments", "03_paper", "04_review"):
        assert f"Not there yet: {stage} makes it." in page.words
    assert text.count(show.STYLE) == 1, "the style stands once on the page"
    assert "execut" not in page.words and "Out[" not in page.words, "the page is not about its notebook"


def test_stopped_after_the_experiments(begun: Run):
    measure(begun, "one")
    html = IdeaReport(begun, begun.pick())._repr_html_()
    words = believes_nothing(html).words
    assert "02_experiments makes it" not in words and "03_paper makes it" in words and "04_review makes it" in words
    assert "The late one" in words, "a planned run that was not made is on record"
    assert "How it fell" in words and html.count("data:image/png;base64,") == 1
    assert words.index("predicted") < words.index("Curves") < words.index("Numbers") < words.index("The review")
    assert "= 2 identical" in words and "Final loss" in words
    assert "It is not." in words and "That it would be." in words and "Why is it so?" in words and "gap 1" in words


def test_nothing_at_all(run: Run):
    start_run(str(run.path), "tests/mini", "offline")
    assert "No ideas yet: 01_ideas makes them." in believes_nothing(Overview(run)._repr_html_()).words
    believes_nothing(Expense(run)._repr_html_())


def test_several_ideas_get_a_table_of_contents(begun: Run):
    ideas = [idea("one"), idea("two", "A second"), idea("three", "Set aside")]
    begun.save_archive(Archive(records=[Record(idea=each, chosen=each.Name != "three") for each in ideas]))
    save_json(begun.path / "one" / "review.json", {**review("Accept", 7).model_dump(by_alias=True), "reviews": []})
    page = believes_nothing("".join(shown._repr_html_() for shown in [Overview(begun), *Overview(begun).ideas()]))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    places = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert links == ["#one", "#two"] and places == ["one", "two"]
    assert "2 of 3 chosen" in page.words and "Accept · 7/10" in page.words and "not chosen" in page.words


def test_no_words_of_a_model_become_part_of_the_page(begun: Run):
    record = Record(idea=idea("one", HOSTILE), chosen=True, chosen_by=HOSTILE)
    record.novelty.reason, record.novelty.papers = HOSTILE, [HOSTILE]
    archive = Archive(records=[record, Record(idea=idea("two", HOSTILE))])
    begun.save_archive(archive)
    begun.note(model=HOSTILE, parameters={HOSTILE: HOSTILE}, stages={HOSTILE: {"seconds": 1, "kit": 1}})
    home = begun.path / "one"
    arm = Arm(name="arm", title=HOSTILE, change=HOSTILE, prediction=HOSTILE)
    save_json(home / "plan.json", Plan(question=HOSTILE, arms=[arm]))
    save_json(home / "captions.json", Captions(figures=[Caption(file="a.png", caption=HOSTILE)]))
    save(home / "figures" / "a.png", PNG)
    save(home / "notes.md", HOSTILE)
    save(home / "history" / "run_1.0.patch", f"--- a\n+++ b\n+{HOSTILE}\n")
    form = review(words=HOSTILE).model_dump(by_alias=True)
    save_json(home / "review.json", {**form, "reviews": [form]})
    build = Build(ok=False, problems=[Problem(kind=HOSTILE, message=HOSTILE)])
    shown = [begun, Overview(begun), IdeaReport(begun, record), Expense(begun), archive, record, build,
             Plan(question=HOSTILE, arms=[arm]), review(words=HOSTILE)]  # fmt: skip
    for each in shown:
        page = believes_nothing(each._repr_html_())
        assert HOSTILE in page.words, type(each).__name__


def test_a_whole_run_needs_nothing_outside_of_its_page(begun: Run):
    measure(begun, "one")
    save(begun.path / "one" / "paper" / "paper.pdf", b"%PDF-1.5 a paper")
    save(begun.path / "one" / "paper" / "pages" / "page_01.png", PNG)
    form = review("Accept", 6).model_dump(by_alias=True)
    save_json(begun.path / "one" / "review.json", {**form, "reviews": [form, form]})
    text = build_report(begun).read_text(encoding="utf-8")
    page = believes_nothing(text)
    addresses = [a[name] for _, a in page.tags for name in ("src", "href", "srcset", "action") if name in a]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"@import|url\(|https?://|<link|<iframe", text)
    assert "prefers-color-scheme" in text and "@media print" in text
    first = page.words[: page.words.index("Model") + 20]
    for part in ("Ideas", "Verdicts", "Decision", "Accept · 6/10", "Time", "Cost", "$0.00", "offline"):
        assert part in first, f"{part} stands at the top"
    assert page.words.index("The review") < page.words.index("What it took")


def test_a_text_reader_gets_words(begun: Run):
    from IPython.lib.pretty import pretty

    save(begun.path / "a.png", PNG)
    table = show.table(["a", "b", "empty"], [["x", 1, ""], ["`code`", 2, ""]], caption="both")
    assert pretty(table) == "both\na  b\nx  1\ncode  2" and "<code>code</code>" in table
    assert "base64" not in pretty(show.gallery([begun.path / "a.png"]))


@pytest.mark.parametrize(
    "values, side",
    [([1, 2.5], "right"), (["$0.10", ""], "right"), (["0.3542 ± 0.0003 ▲", "−0.01 ± 0.2"], "right"),
     (["(1.2 ± 0.1)·10^−5 ○", 3], "right"), (["run_1", 2], "left"), (["6/10"], "left")],
)  # fmt: skip
def test_numbers_stand_to_the_right(values: list, side: str):
    html = show.table(["x", "y"], [[value, "w"] for value in values])
    assert html.partition("<th style='text-align:")[2].startswith(side)


def test_the_notebook_of_the_report_runs_with_no_chosen_idea(begun: Run):
    begun.save_archive(Archive(records=[Record(idea=idea("one")), Record(idea=idea("two"))]))
    words = believes_nothing(build_report(begun).read_text(encoding="utf-8")).words
    assert "0 of 2 chosen" in words and Path(begun.path / "notebooks" / "report.ipynb").is_file()
    assert pipeline.parameters("report").keys() == {"run_dir"}
    assert json.loads((begun.path / "notebooks" / "report.ipynb").read_text())["metadata"]["papermill"]


def test_what_went_on_at_the_same_time_is_counted_once(begun: Run):
    for number, started in enumerate(("10:00:00", "10:00:30", "11:00:00")):
        step = {"stage": "review", "verb": "review", "started": f"2026-01-01T{started}+00:00", "seconds": 60.0}
        save_json(begun.path / "calls" / f"review.one.review.00{number}.0.abcdef01.json", step)
    assert duration(begun) == "2 min 30 s"
