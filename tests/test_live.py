"""The live view: numbers found in what programs print, a clock that goes on, and what is left when all is over."""

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.bench import Bench
from kit.live import LiveView
from kit.live.numbers import POINTS, Curve, read
from kit.schemas import Idea
from kit.template import load_template
from kit.workspace import Run


def wait_for(what: Callable[[], object], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "this did not come about in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "line, at, of, values",
    [
        ("step 200 loss 0.413 lr=1e-3", 200, None, {"loss": 0.413, "lr": 0.001}),
        ("step 50/3000  loss 0.4123  1.2 s", 50, 3000, {"loss": 0.4123}),
        ("iter 200: loss 0.41, time 12ms", 200, None, {"loss": 0.41}),
        ("epoch 3, val_loss: 0.2", 3, None, {"val_loss": 0.2}),
        ("Epoch [3/10] - 3s - Loss: -2.5e+1", 3, 10, {"Loss": -25}),
        ("step 0: train loss 4.2874, val loss 4.2823", 0, None, {"train loss": 4.2874, "val loss": 4.2823}),
        (" 45%|████▌   | 45/100 [00:10<00:12, 4.2it/s, loss=0.4]", 45, 100, {"loss": 0.4}),
        ('{"step": 1, "loss": .3, "seed": 2}', 1, None, {"loss": 0.3}),
        ("loss: 0.5", None, None, {"loss": 0.5}),
        ("circle  eval_loss 0.41", None, None, {}),
        ("Trained for 20 minutes on 4 cores, layer conv2d of v2.1", None, None, {}),
    ],
)
def test_numbers_in_a_line(line: str, at, of, values):
    assert read(line) == (at, of, values)


@given(st.text(max_size=200))
def test_any_line_can_be_heard(line: str):
    read(line)
    LiveView().hear("run_1", line)  # nothing of that name runs


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.floats()), max_size=60))
def test_any_points_can_be_drawn(points):
    view = LiveView()
    view.start("run_1", "a", 10)
    for at, value in points:
        view.programs[0].hear(f"loss={value}" if at is None else f"step {at} loss={value}")
    view.end("run_1", "ran")
    assert "nan" not in view.panels.value and "inf" not in view.panels.value


def test_a_long_curve_stays_short_and_keeps_its_ends():
    curve = Curve()
    for x in range(20_000):
        curve.add(x, float(x))
    (stroke,) = curve.drawn()
    assert len(stroke) <= POINTS + 1 and (stroke[0][0], stroke[-1][0]) == (0, 19_999)


def test_a_counter_that_starts_anew_is_another_stroke():
    curve = Curve()
    for x in [1, 2, 3, 1, 2, 2]:
        curve.add(x, x / 2)
    assert [len(stroke) for stroke in curve.drawn()] == [3, 2]


def test_what_runs_is_shown_and_is_a_row_when_it_is_over():
    view = LiveView()
    assert "No program has run yet" in view.past.value
    view.start("run_2", "cosine <schedule>", 7200)
    for step in range(5):
        view.hear("run_2", f"step {step}/5 loss {1 / (step + 1)}")
    wait_for(lambda: "step 4/5" in view.now.value)
    assert "cosine &lt;schedule&gt;" in view.now.value and "4 of 5" in view.now.value
    assert "1:59:5" in view.now.value, "the time that is left"
    assert view.panels.value.count("<polyline") == 1 and "<h4>loss</h4>" in view.panels.value
    view.end("run_2", "ran in 1.0 s")
    assert "run_2" not in view.now.value and "ran in 1.0 s" in view.past.value


def test_the_clock_goes_on_while_a_program_is_silent():
    view = LiveView()
    view.start("run_1", "silent", 100)
    wait_for(lambda: "0:02" in view.now.value)
    view.end("run_1", "ran")
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "live view"])


def test_several_at_once_from_threads_of_their_own():
    view = LiveView()

    def run(number: int) -> None:
        view.start(f"run_{number}", f"arm {number}", 60)
        for step in range(200):
            view.hear(f"run_{number}", f"step {step} loss {number + step / 200}")
        view.end(f"run_{number}", "ran")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.run for p in view.programs) == [f"run_{n}" for n in range(6)]
    assert all(p.seconds is not None and len(p.curves["loss"].strokes[0]) == 200 for p in view.programs)
    assert view.panels.value.count("<polyline") == 6 and view.past.value.count("<tr>") == 6


def test_a_second_attempt_takes_the_place_of_the_first_in_the_curves():
    view = LiveView()
    for top in (100, 1):
        view.start("run_1", "a", 60)
        view.hear("run_1", f"step 1 loss {top}")
        view.hear("run_1", f"step 2 loss {top / 2}")
        view.end("run_1", "ended with code 1")
    assert view.past.value.count("<tr>") == 2 and ">100<" not in view.panels.value and ">1<" in view.panels.value


def test_few_messages_however_much_is_printed():
    view, sent = LiveView(), []
    view.now.observe(lambda change: sent.append(change["new"]), "value")
    view.start("run_1", "a", 60)
    started = time.monotonic()
    while time.monotonic() - started < 1.6:
        view.hear("run_1", f"step {len(sent)} loss 1")
    view.end("run_1", "ran")
    assert len(sent) <= 6


def test_the_bench_tells_it_what_runs(run: Run):
    idea = Idea(Name="steps", Title="S", Experiment="x", Interestingness=5, Feasibility=5, Novelty=5)
    bench = Bench(run, load_template("tests/mini"), idea, "smoke")
    view = bench.watch(LiveView())
    bench.baseline(60)
    (program,) = view.programs
    assert (program.run, program.title) == ("run_0", "Baseline") and program.outcome.startswith("ran in")
    assert list(program.curves) == ["flat_loss", "steep_loss"] and (program.at, program.of) == (60, 60)


def test_without_a_browser_there_is_a_table():
    view = LiveView()
    view.start("run_1", "cosine schedule", 60)
    view.end("run_1", "ended with code 1")
    data = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and "<table>" in data["text/html"]
    assert data["text/plain"].split("\n") == ["run_1 · cosine schedule  ended with code 1"]


def test_the_executed_notebook_keeps_the_table(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    cells = ["from kit.live import LiveView\nview = LiveView()\nview",
             "view.start('run_1', 'cosine', 60)\nfor n in (1, 2):\n    view.hear('run_1', f'step {n} loss {1 / n}')",
             "import threading\nlast = threading.Thread(target=view.end, args=('run_1', 'ran in 3 s'))\n"
             "last.start()\nlast.join()"]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "ran in 3 s" in output.data["text/html"] and "<polyline" in output.data["text/html"]
    assert "ran in 3 s" in output.data["text/plain"]
