"""The whole way, with the scripted scientist: one path for demo, lesson and test."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit import workspace
from kit.__main__ import main
from kit.workspace import Run

ROOT = Path(__file__).parent.parent
TINY = ["--template", "tests/mini", "--model", "offline", "--num_ideas", "1", "--preset", "smoke", "--select", "all",
        "--num_reviews_ensemble", "2"]  # fmt: skip


def kit(*argv: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "kit", *argv], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **options)  # fmt: skip


def run_kit(*argv: str) -> tuple[int, str]:
    """The exit code of a command, and what it said."""
    with kit(*argv) as child:
        said = child.communicate(timeout=300)[0]
    return child.returncode, said


def finished_steps(run: Run) -> list[dict]:
    return [*run.calls.finished(), *run.steps.finished()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """One run from end to end."""
    path = tmp_path_factory.mktemp("whole") / "run"
    code, said = run_kit("run", *TINY, "--run_dir", str(path))
    assert code == 0, said
    (path / "said.txt").write_text(said)
    return Run(path)


def home(run: Run) -> Path:
    return run.path / run.archive().chosen()[0].idea.Name


def test_it_ends_with_a_paper_a_review_and_a_report(whole: Run):
    build = json.loads((home(whole) / "paper" / "build.json").read_text())
    assert build["ok"] and build["pages"] >= 4
    tex = (home(whole) / "paper" / "paper.tex").read_text()
    assert len(set(re.findall(r"\\includegraphics.*?{(.+?)}", tex))) >= 2
    review = json.loads((home(whole) / "review.json").read_text())
    assert review["Decision"] in ("Accept", "Reject") and len(review["reviews"]) == 2
    copies = [whole.path / "notebooks" / "01_ideas.ipynb", *(whole.path / "notebooks").glob("*/0*.ipynb")]
    assert len(copies) == 4
    assert "cost: $0.00 (offline)" in (whole.path / "said.txt").read_text()


def test_a_review_that_goes_back_gives_a_second_version_and_the_better_one_stands(whole: Run, tmp_path: Path):
    run = Run(Path(shutil.copytree(whole.path, tmp_path / "run")))
    before = {name: (home(run) / name).read_bytes() for name in ("review.json", "paper/paper.pdf")}
    assert json.loads((home(run) / "final.json").read_text())["paper"] == "paper/paper.pdf"
    code, said = run_kit("run", *TINY, "--run_dir", str(run.path), "--improve", "true")
    assert code == 0, said
    assert before == {name: (home(run) / name).read_bytes() for name in before}, "the first version stays as it was"
    sections = [{file.name: file.read_text() for file in (home(run) / folder / "sections").glob("*.tex")}
                for folder in ("paper", "paper_improved")]  # fmt: skip
    assert sections[0].keys() == sections[1].keys() and sections[0] != sections[1]
    final = json.loads((home(run) / "final.json").read_text())
    reviews = [json.loads((home(run) / name).read_text()) for name in ("review.json", "review_improved.json")]
    means = [review["spread"]["Overall"]["mean"] for review in reviews]
    assert [version["mean Overall"] for version in final["versions"].values()] == means
    assert (home(run) / final["paper"]).is_file() and str(home(run) / final["paper"]) in said
    page = (run.path / "report.html").read_text()
    assert "After the review" in page and "First version" in page


def test_references_are_cited_and_resolve(whole: Run):
    from kit import latex

    text = latex.text(home(whole) / "paper" / "paper.pdf")
    assert "??" not in text and "[?]" not in text and "(?)" not in text
    assert (home(whole) / "paper" / "references.bib").read_text().count("@") >= 8
    assert "scripted demo model" in " ".join(text[:4000].split())


def test_the_report_needs_nothing_outside_of_it(whole: Run):
    page = (whole.path / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 6
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page)
    assert "@import" not in page and "<script" not in page


def test_the_same_command_does_nothing_twice(whole: Run):
    before = [(s["file"], s["started"]) for s in finished_steps(whole)]
    assert run_kit("run", *TINY, "--run_dir", str(whole.path))[0] == 0
    assert [(s["file"], s["started"]) for s in finished_steps(whole)] == before


def test_the_same_seed_gives_the_same_words(whole: Run, tmp_path: Path):
    assert run_kit("run", *TINY, "--run_dir", str(tmp_path / "again"))[0] == 0
    again = Run(tmp_path / "again")
    for name in ("ideas.json", f"{home(whole).name}/plan.json", f"{home(whole).name}/history/run_1.0.patch",
                 f"{home(whole).name}/paper/paper.tex"):  # fmt: skip
        assert (again.path / name).read_text() == (whole.path / name).read_text(), name


def seen(run: Path, pattern: str) -> bool:
    return any(run.glob(pattern))


@pytest.mark.parametrize(
    "moment", ["calls/ideas.*.reflect*.json", "*/run_1/final_info.json", "*/paper/paper.tex"],
    ids=["ideas", "experiments", "paper"],
)  # fmt: skip
def test_killed_at_any_moment_nothing_is_done_twice(moment: str, tmp_path: Path):
    run = Run(tmp_path / "run")
    child = kit("run", *TINY, "--run_dir", str(run.path), start_new_session=True)
    deadline = time.monotonic() + 120
    while not seen(run.path, moment):
        assert child.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    time.sleep(1.5)  # the kernel notices that its parent is gone
    before = {s["file"]: s["started"] for s in finished_steps(run)}
    assert before
    code, said = run_kit("run", *TINY, "--run_dir", str(run.path))
    assert code == 0, said
    after = {s["file"]: s["started"] for s in finished_steps(run)}
    assert before.items() <= after.items(), "a finished step was done again"
    places = [re.sub(r"\.[0-9a-f]{8}\.json$", "", name) for name in after]
    assert len(places) == len(set(places)), "one place of the run was done twice"


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("argv, said", [
    (["--template", "difusion_2d"], "Known templates: .*diffusion_2d"),
    (["--model", "opnai/gpt-4o"], "Did you mean openai"),
    (["--model", "openai/gpt-4o"], "OPENAI_API_KEY"),
    (["--preset", "tiny"], "has no preset 'tiny'"),
    (["--sandbox", "jail"], "no sandbox level is called 'jail'"),
    (["--select", "nothing_of_that_name"], "names no idea"),
])  # fmt: skip
def test_bad_parameters_are_named_with_the_cure(argv: list[str], said: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    tiny = dict(zip(TINY[::2], TINY[1::2], strict=True)) | dict([argv])
    flat = [part for pair in tiny.items() for part in pair]
    assert main(["run", *flat, "--run_dir", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert "Traceback" not in error


def test_a_budget_that_the_shell_ate_is_no_unlimited_one(capsys):
    assert main(["run", *TINY, "--budget", ""]) == 1
    assert "single quotes" in capsys.readouterr().err


def test_a_misspelt_option_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--num_idea", "2"])
    assert "--num_idea" in capsys.readouterr().err


def test_a_misspelt_notebook_parameter_is_refused_by_name(tmp_path: Path):
    from kit import pipeline
    from kit.schemas import KitError

    with pytest.raises(KitError, match="Did you mean 'num_ideas'"):
        pipeline.run_stage("ideas", tmp_path / "copy.ipynb", num_idea=2)


def test_a_template_that_crashes_loses_nothing(tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "tests" / "mini", broken)
    (broken / "experiment.py").write_text("learning_rate = 0.1\nraise RuntimeError('no data here')\n")
    values = dict(zip(TINY[::2], TINY[1::2], strict=True)) | {"--template": str(broken)}
    flat = [part for pair in values.items() for part in pair]
    code, said = run_kit("run", *flat, "--run_dir", str(tmp_path / "run"))
    assert code == 1 and "no data here" in said and "baseline" in said
    assert Run(tmp_path / "run").archive().records, "the ideas are kept"
    assert list((tmp_path / "run" / "notebooks").glob("*/02_experiments.ipynb")), "so is the executed notebook"


def test_help_reads_as_a_manual(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert "--num_reflections" in text and "how often each idea is looked at again" in text
    for words in ("ideas (01_ideas.ipynb)", "review (04_review.ipynb)", "--fresh"):
        assert words in text


def test_cost_and_trace_show_the_calls(whole: Run, monkeypatch, capsys):
    monkeypatch.setattr(workspace, "outputs", lambda: whole.path.parent)
    assert main(["cost", whole.name]) == 0
    assert "judge" in (said := capsys.readouterr().out) and "$0.00 (offline)" in said
    assert main(["trace", whole.name]) == 0
    assert "1  ideas/propose" in capsys.readouterr().out
    assert main(["trace", "1"]) == 0, "of the latest run"
    said = capsys.readouterr().out
    assert "Propose idea 1" in said and "## reply" in said
    assert main(["trace", whole.name, "999"]) == 1
    assert "the run has 1 to" in capsys.readouterr().err


def test_a_run_builds_on_what_an_earlier_one_found(whole: Run, tmp_path: Path):
    from kit import pipeline

    pipeline.run_stage("ideas", tmp_path / "copy.ipynb", run_dir=str(tmp_path / "next"), template="tests/mini",
                       num_ideas=1, build_on=[str(whole.path)], max_runs=3)  # fmt: skip
    first = json.loads((tmp_path / "next" / "chats" / "ideas.jsonl").read_text().splitlines()[0])
    asked, review = first["messages"][0]["content"], json.loads((home(whole) / "review.json").read_text())
    assert first["prompt"] == "ideas/propose" and "for 3 beside the baseline" in asked
    assert f"`{home(whole).name}`" in asked and re.search(r"It came out: comparisons \d+ (better|worse|incon)", asked)
    assert f"reviewed {review['Overall']} out of 10, {review['Decision']}" in asked
    (record,) = Run(tmp_path / "next").archive().records
    assert record.idea.Name != home(whole).name


def test_your_own_idea_goes_the_whole_way(tmp_path: Path):
    wish = "Are 50% more noise & a_wider start, say, harmful?"
    own = [*TINY[:4], "--num_ideas", "0", "--own_ideas", wish, *TINY[6:]]
    code, said = run_kit("run", *own, "--run_dir", str(tmp_path / "run"))
    assert code == 0, said
    (record,) = Run(tmp_path / "run").archive().records
    assert (record.origin, record.wish, record.idea.Name) == ("person", wish, "sensitivity_to_noise")
    assert wish in record.idea.Experiment
    assert (tmp_path / "run" / "sensitivity_to_noise" / "paper" / "paper.pdf").is_file()


@pytest.mark.parametrize("text, values", [
    ("semanticscholar, openalex", ["semanticscholar", "openalex"]), ('["a.bib", "b"]', ["a.bib", "b"]), ("", []),
    ("[a,b]", ["a", "b"]), ("Is it so, or not?", ["Is it so, or not?"]), ("Is it so?; Or, say, so?",
    ["Is it so?", "Or, say, so?"]), ('["One; two, three.", "Four."]', ["One; two, three.", "Four."]),
])  # fmt: skip
def test_a_list_is_of_names_or_of_sentences(text: str, values: list[str]):
    from kit.__main__ import read_list

    assert read_list(text) == values


def test_runs_are_listed(whole: Run, monkeypatch, capsys):
    monkeypatch.setattr(workspace, "outputs", lambda: whole.path.parent)
    assert main(["runs"]) == 0
    assert "tests/mini" in capsys.readouterr().out
