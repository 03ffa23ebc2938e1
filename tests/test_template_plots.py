"""plots_vs_text: its questions have the answers they say, its pictures are true, its batch is many models, its quiz."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks.plots_speed import PlainReader, load_program, train_plain
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from model_server import ModelServer
from numpy.testing import assert_allclose
from test_notebook_style import FORBIDDEN_TEXT, code_cells, source
from worked_code import worked_code

from kit import quiz
from kit.llm import call_table, connect
from kit.offline.worked import worked_ideas
from kit.results import protected_changes
from kit.schemas import QuizAnswer
from kit.template import load_template
from kit.workspace import Run

ROOT = Path(__file__).parent.parent
TEMPLATE = load_template("plots_vs_text")
PROGRAM = load_program(TEMPLATE.path / "experiment.py", "plots_vs_text_as_it_is")
CPU = torch.device("cpu")
SHORT = replace(PROGRAM.PRESETS["smoke"], num_train=100, num_steps=6, batch_size=16)
pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = [f"{idea}/{arm}" for idea, worked in worked_ideas(TEMPLATE).items() for arm in worked.edits]


# --- the questions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAM.DATASETS)
def test_questions_are_scaled_balanced_and_drawn_anew_for_every_use(name: str):
    values, labels, noise = PROGRAM.make_questions(name, 2000, seed=1)
    assert values.shape[0] == 2000 and values.shape[2] == PROGRAM.NUM_POINTS
    assert values.min() >= 0 and values.max() <= 1
    counts = np.bincount(labels)
    assert len(counts) == len(PROGRAM.CHOICES[name]) and counts.min() > 0.8 * 2000 / len(counts)
    assert [np.isclose(noise, level).mean() for level in PROGRAM.NOISE_LEVELS] == [0.25] * 4
    again = PROGRAM.make_questions(name, 2000, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(again, (values, labels, noise), strict=True))
    noisy = noise > 0  # without noise, all straight lines are one
    other = PROGRAM.make_questions(name, 2000, seed=2)[0]
    assert not np.isclose(other[noisy], values[noisy]).all((1, 2)).any()


def test_a_task_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="'trend'; known: function"):
        PROGRAM.make_questions("trend", 1, 1)


def test_curves_correlate_as_their_labels_say():
    values, labels, _ = PROGRAM.make_questions("correlation", 600, seed=5, levels=(0.0,))
    found = [np.corrcoef(pair)[0, 1] for pair in values]
    assert_allclose(found, 0.6 * (labels - 1), atol=1e-6)


def test_the_right_choice_is_the_derivative():
    values, labels, _ = PROGRAM.make_questions("derivative", 300, seed=5, levels=(0.0,))
    for series, label in zip(values, labels, strict=True):
        slope = np.gradient(series[0], edge_order=2)
        likeness = [np.corrcoef(slope, choice)[0, 1] for choice in series[1:]]
        assert np.argmax(likeness) == label and likeness[label] > 0.98


def test_clusters_without_noise_are_as_many_as_the_label_says():
    values, labels, _ = PROGRAM.make_questions("clusters", 300, seed=5, levels=(0.0,))
    for points, label in zip(values, labels, strict=True):
        near = np.linalg.norm(points[:, :, None] - points[:, None], axis=0) < 0.1
        reached = np.linalg.matrix_power(near.astype(float), PROGRAM.NUM_POINTS) > 0
        assert len(np.unique(reached, axis=0)) == label + 1


def test_functions_are_of_their_kind():
    values, labels, _ = PROGRAM.make_questions("function", 500, seed=5, levels=(0.0,))
    t = np.linspace(-1, 1, PROGRAM.NUM_POINTS)
    for degree in (1, 2, 3):
        rest = np.array([np.ptp(y - np.polyval(np.polyfit(t, y, degree), t)) for y in values[:, 0]])
        assert rest[labels < degree].max() < 1e-8 and rest[labels >= degree].min() > 1e-3


# --- the two ways to show them -----------------------------------------------------------------------


def by_matplotlib(values: np.ndarray, size: int, dots: bool) -> np.ndarray:
    """The darkness of a plot that matplotlib draws, in as many pixels."""
    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    edge = 1.5 / size  # the middle of the second pixel
    axes = figure.add_axes((edge, edge, 1 - 2 * edge, 1 - 2 * edge))
    look = {"marker": "s", "ls": "", "ms": 2 * 0.72, "mew": 0} if dots else {"lw": 1.5 * 0.72}
    axes.plot(
        *(values if dots else (np.linspace(0, 1, len(values[0])), values[0])),
        color="k",
        clip_on=False,
        snap=False,
        **look,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return 1 - np.asarray(canvas.buffer_rgba())[..., 0] / 255


@pytest.mark.parametrize("name", ["function", "clusters"])
@pytest.mark.parametrize("preset", ["demo", "full"])
def test_a_picture_is_what_matplotlib_would_draw(name: str, preset: str):
    config = PROGRAM.PRESETS[preset]
    values, _, _ = PROGRAM.make_questions(name, 12, seed=3)
    pictures = PROGRAM.draw_plot(name, values, config)[:, 0] / 255
    for picture, series in zip(pictures, values, strict=True):
        expected = by_matplotlib(series, config.picture_size, name == "clusters")
        likeness = np.corrcoef(picture.ravel(), expected.ravel())[0, 1]
        assert likeness > (0.88 if name == "clusters" else 0.99)  # matplotlib moves a dot to the nearest pixel


def test_series_have_colours_of_their_own_and_text_has_the_numbers():
    values, _, _ = PROGRAM.make_questions("derivative", 3, seed=3)
    config = PROGRAM.PRESETS["demo"]
    pictures = PROGRAM.draw_plot("derivative", values, config)
    assert pictures.shape == (3, 5, 32, 32)
    assert_allclose(pictures[:, 2:3], PROGRAM.draw_plot("function", values[:, 2:3], config))
    for line, series in zip(PROGRAM.write_text("derivative", values, config), values, strict=True):
        text = "".join(PROGRAM.CHARACTERS[place] for place in line)
        rows = [[int(number) for number in row.split()] for row in text.rstrip(";").split(";")]
        assert_allclose(np.array(rows).T / 99, series, atol=0.5 / 99 + 1e-9)


def test_more_digits_make_longer_and_finer_text():
    values, _, _ = PROGRAM.make_questions("function", 1, seed=3)
    line = PROGRAM.write_text("function", values, replace(SHORT, num_digits=3))[0]
    text = "".join(PROGRAM.CHARACTERS[place] for place in line)
    assert [int(n) for n in text.rstrip(";").split(";")] == np.round(999 * values[0, 0]).astype(int).tolist()


# --- one batch of models is many models --------------------------------------------------------------


@pytest.mark.parametrize("reader", PROGRAM.READERS)
def test_a_seed_learns_alone_what_it_learns_in_a_batch(reader: str):
    together, losses = PROGRAM.train(reader, "correlation", SHORT, PROGRAM.Draw([0, 1, 2], CPU))
    alone, alone_losses = PROGRAM.train(reader, "correlation", SHORT, PROGRAM.Draw([1], CPU))
    assert_allclose(losses[1:2], alone_losses, rtol=1e-4)
    assert not np.allclose(losses[0], losses[1], rtol=1e-2), "another seed gives other numbers"
    assert_allclose(together.weight[1].detach(), alone.weight[0].detach(), atol=SHORT.learning_rate / 50)


@pytest.mark.parametrize("reader", PROGRAM.READERS)
@pytest.mark.parametrize("name", ["clusters", "derivative"])
def test_a_batch_learns_what_a_plain_loop_learns(reader: str, name: str):
    seed, config = 7, SHORT
    trained, losses = PROGRAM.train(reader, name, config, PROGRAM.Draw([3, seed], CPU))
    values, labels, _ = PROGRAM.make_questions(name, config.num_train, seed=1)
    shown, answers = PROGRAM.show(reader, name, values, config), torch.tensor(labels)
    draw = PROGRAM.Draw([seed], CPU)
    start = PROGRAM.Reader(reader, shown[:1], len(PROGRAM.CHOICES[name]), config, draw)
    rows = [(draw(config.batch_size)[0] * config.num_train).long() for _ in range(config.num_steps)]
    plain = PlainReader(start, 0)
    expected = train_plain(plain, config, [(shown[r], answers[r]) for r in rows])
    assert_allclose(losses[1], expected, rtol=1e-3)
    with torch.no_grad():
        found = trained(shown[:20].expand(2, *shown[:20].shape))[1]
        assert_allclose(found, plain(shown[:20]), atol=0.02)


# --- the program as it is run ------------------------------------------------------------------------


def run_program(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, TEMPLATE.path / "experiment.py", f"--out_dir={folder}"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """A folder in which the smoke preset was run."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run_program(folder / "run_0", KIT_PRESET="smoke", KIT_SEEDS="", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "step 20/20  plot_loss" in done.stdout and "text_loss" in done.stdout
    return folder


def read_info(folder: Path) -> dict:
    return json.loads((folder / "final_info.json").read_text(encoding="utf-8"))


def test_every_task_has_means_seeds_and_stderrs(smoke: Path):
    info = read_info(smoke / "run_0")
    assert set(info) == set(PROGRAM.DATASETS)
    for row in info.values():
        assert set(row["means"]) == set(TEMPLATE.metrics)
        assert set(row["seeds"]) == set(row["stderrs"]) == {"plot_accuracy", "text_accuracy", "plot_advantage"}
        for metric, values in row["seeds"].items():
            assert len(values) == TEMPLATE.presets["smoke"].seeds == 2
            assert row["means"][metric] == pytest.approx(statistics.mean(values))
        assert row["means"]["plot_pixels"] % 1024 == 0 and row["means"]["text_characters"] % 72 == 0


def test_the_same_run_gives_the_same_numbers(smoke: Path, tmp_path: Path):
    found, first = run_inside(PROGRAM, tmp_path, seeds="2"), read_info(smoke / "run_0")
    assert found == {name: row["seeds"] for name, row in first.items()}


def test_the_figures_are_drawn_for_one_run_and_for_several(smoke: Path):
    command = [sys.executable, TEMPLATE.path / "plot.py"]
    for number in (0, 1):
        if number:
            shutil.copytree(smoke / "run_0", smoke / "run_1")
        done = subprocess.run(command, cwd=smoke, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
    assert {file.name for file in smoke.glob("*.png")} == {"questions.png", "accuracy.png", "noise.png"}


def test_plot_py_knows_how_many_choices_there_are():
    drawing = load_program(TEMPLATE.path / "plot.py", "plots_vs_text_drawing")
    assert {name: len(choices) for name, choices in PROGRAM.CHOICES.items()} == drawing.CHOICES


@pytest.mark.parametrize(("name", "value", "said"), [
    ("KIT_PRESET", "huge", "KIT_PRESET='huge' is no preset; choose one of smoke, demo, full"),
    ("KIT_SEEDS", "0", "KIT_SEEDS='0' is no number of seeds"),
    ("KIT_SEEDS", "two", "a whole number from 1 up"),
])  # fmt: skip
def test_a_wrong_size_is_named(name: str, value: str, said: str, monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said):
        PROGRAM.read_sizes()


@pytest.mark.parametrize(("preset", "seeds"), [(name, preset.seeds) for name, preset in TEMPLATE.presets.items()])
def test_the_program_has_the_sizes_that_are_announced(preset: str, seeds: int, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", preset)
    monkeypatch.delenv("KIT_SEEDS", raising=False)
    assert PROGRAM.read_sizes()[:2] == (preset, seeds) and preset in PROGRAM.PRESETS


# --- worked ideas ------------------------------------------------------------------------------------


def run_inside(program: ModuleType, folder: Path, seeds: str = "1") -> dict:
    """Run a program's main() in this process, smoke preset: the values of its seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_PRESET", "smoke")
        patch.setenv("KIT_SEEDS", seeds)
        program.main(folder / "run_1")
    return {name: row["seeds"] for name, row in read_info(folder / "run_1").items()}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> dict:
    return run_inside(PROGRAM, tmp_path_factory.mktemp("untouched"))


@pytest.mark.parametrize("arm", ARMS)
def test_a_worked_idea_changes_one_way_of_showing_alone(arm: str, tmp_path: Path):
    assert protected_changes(TEMPLATE, TEMPLATE.code, worked_code(TEMPLATE.name, arm)) == []
    file = tmp_path / "experiment.py"
    file.write_text(worked_code(TEMPLATE.name, arm), encoding="utf-8")
    program = load_program(file, f"plots_vs_text_{arm.replace('/', '_')}")
    changed = set()
    for preset in PROGRAM.PRESETS:
        for name in PROGRAM.DATASETS:
            values, _, _ = PROGRAM.make_questions(name, 8, seed=3)
            for reader in PROGRAM.READERS:
                before, after = (p.show(reader, name, values, p.PRESETS[preset]) for p in (PROGRAM, program))
                if before.shape != after.shape or not torch.equal(before, after):
                    changed.add((preset, reader))
    assert len({reader for _, reader in changed}) == 1, "the other way of showing is a control"
    assert len(changed) == 3, "no preset hides the change"


@pytest.mark.parametrize("idea", worked_ideas(TEMPLATE))
def test_a_worked_idea_runs_and_leaves_the_other_reader_as_it_was(idea: str, tmp_path: Path, untouched: dict):
    arm = next(iter(worked_ideas(TEMPLATE)[idea].edits))
    file = tmp_path / "experiment.py"
    file.write_text(worked_code(TEMPLATE.name, f"{idea}/{arm}"), encoding="utf-8")
    found = run_inside(load_program(file, f"plots_vs_text_{idea}"), tmp_path)
    same = {"plot_accuracy", "text_accuracy"} - {worked_ideas(TEMPLATE)[idea].idea.Metric}
    assert found != untouched
    assert all(found[name][metric] == untouched[name][metric] for metric in same for name in found)


@pytest.mark.parametrize("idea", worked_ideas(TEMPLATE))
def test_a_worked_idea_has_a_control(idea: str):
    assert "control" in {arm.role for arm in worked_ideas(TEMPLATE)[idea].arms}


# --- the same questions for a model that reads and sees ------------------------------------------------

NOTEBOOK = TEMPLATE.path / "ask_a_model.ipynb"
NUM_QUESTIONS = 8  # of each task: two at each level of noise


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[quiz.Question]:
    return quiz.set_questions(Run(tmp_path_factory.mktemp("drawn")), TEMPLATE, NUM_QUESTIONS).questions


@pytest.fixture
def asked(run, drawn) -> quiz.Quiz:
    return quiz.Quiz(run, drawn)


def ask(quiz_asked: quiz.Quiz, model: str) -> quiz.Marks:
    chats = {shown: connect(quiz_asked.run, model, "quiz", shown) for shown in ("plot", "text")}
    return quiz_asked.mark(**{shown: chat.ask_many("quiz/answer", QuizAnswer, quiz_asked.each(shown))
                              for shown, chat in chats.items()})  # fmt: skip


def test_the_script_calculates_from_numbers_and_says_that_it_sees_nothing(asked: quiz.Quiz):
    marks = ask(asked, "offline")
    assert sum(marks.right("text")) > 0.8 * 32 and not any(marks.right("plot"))
    assert {answer.choice for answer in marks.answers["plot"]} == {"none"}
    assert marks.verdict.startswith("Not comparable") and "Nothing seen" in marks._repr_html_()
    stored = json.loads((asked.run.path / "quiz.json").read_text(encoding="utf-8"))
    assert len(stored) == 32 and stored[0]["text"]["choice"] == marks.answers["text"][0].choice


def test_the_script_answers_rightly_where_there_is_no_noise(asked: quiz.Quiz):
    clean = [
        right for q, right in zip(asked.questions, ask(asked, "offline").right("text"), strict=True) if not q.noise
    ]
    assert all(clean) and len(clean) == 8


def test_both_ways_ask_the_same_and_only_one_shows_numbers(asked: quiz.Quiz, script):
    script += ['{"reason": "r", "choice": "A"}'] * 64
    ask(asked, "test/any")
    files = asked.run.path.glob("*/chats/quiz.jsonl")
    turns = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = {(t["call"].split(".")[1], t["index"]): t["messages"][0]["content"] for t in turns}
    for number, question in enumerate(asked.questions):
        plot, text = texts["plot", number], texts["text", number]
        assert plot.partition("The picture")[0] == text.partition("The data")[0]
        numbers = " ".join(map(str, next(iter(question.series.values()))))
        assert numbers in text and numbers not in plot


def test_a_letter_that_is_no_choice_goes_back(asked: quiz.Quiz, script):
    number = next(n for n, question in enumerate(asked.questions) if question.task == "correlation")
    script += ['{"reason": "r", "choice": "E"}', '{"reason": "r", "choice": "C"}']
    chat = connect(asked.run, "test/any", "quiz", "text")
    assert chat.ask("quiz/answer", QuizAnswer, **asked.each("text")[number]).choice == "C" and not script


def test_the_verdict_is_that_of_paired_questions(asked: quiz.Quiz):
    right = [QuizAnswer(reason="", choice=question.right) for question in asked.questions]
    wrong = [QuizAnswer(reason="", choice="B" if q.right == "A" else "A") for q in asked.questions]
    none = QuizAnswer(reason="", choice="none")
    assert "the plot is better" in asked.mark(plot=right, text=wrong).verdict
    assert "the text is better" in asked.mark(plot=wrong, text=right).verdict
    assert "agree on all of 32" in asked.mark(plot=right, text=right).verdict
    said = asked.mark(plot=right, text=right[:29] + wrong[29:]).verdict
    assert "3 were answered rightly from the plot alone" in said and "inconclusive" in said
    assert "Of 4 questions" in asked.mark(plot=right[:4] + [none] * 28, text=wrong).verdict


def test_a_model_with_eyes_is_shown_pictures(asked: quiz.Quiz, monkeypatch):
    server = ModelServer(reply=lambda body: json.dumps({"reason": "seen", "choice": "A"}))
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    few = quiz.Quiz(asked.run, asked.questions[::8])
    marks = ask(few, "openai/gpt-test")
    server.shutdown()
    server.server_close()
    shown = ["image" in json.dumps(accepted["body"]) for accepted in server.accepted]
    assert shown == [True] * 4 + [False] * 4
    rows = marks.rows()
    assert [row[:2] for row in rows[:2]] == [["function", "plot"], ["function", "text"]]
    tokens = call_table(few.run).frame().set_index("Idea")["Tokens in"]
    assert tokens["plot"] == sum(row[4] for row in rows[::2]) > 0 < sum(row[4] for row in rows[1::2]) == tokens["text"]


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source += f'\nnum_questions = 2\nrun_dir = "{tmp_path / "asked"}"'
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(TEMPLATE.path)}}).execute()
    shown = "".join(o["data"].get("text/html", "") for c in notebook.cells for o in c.get("outputs", []) if "data" in o)
    assert "Not comparable" in shown and "8 questions" in shown and "Tokens in" in shown
    assert len(list((tmp_path / "asked" / "quiz").glob("*.png"))) == 8
    assert len(json.loads((tmp_path / "asked" / "quiz.json").read_text())) == 8


def test_the_notebook_is_in_the_style_of_the_house():
    for cell in code_cells(NOTEBOOK):
        assert not [word for word in FORBIDDEN_TEXT if word in source(cell)] and len(source(cell).splitlines()) <= 15
        assert not cell["outputs"] and cell["execution_count"] is None
