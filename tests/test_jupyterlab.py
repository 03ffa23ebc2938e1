"""The picker under a real hand: JupyterLab in a browser, one notebook, a few clicks, and what is on disk then."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).parent.parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "this did not come about in time"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves the test's own folder."""
    quiet = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    env = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "spaces"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "IPYTHONDIR": str(tmp_path / "ipython"),
        "KIT_HOME": str(ROOT),
    }  # fmt: skip
    port = free_port()
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
               "--IdentityProvider.token=word", f"--ServerApp.root_dir={tmp_path}"]  # fmt: skip
    with (tmp_path / "lab.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: answers(port), 40)
            yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token=word"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def page(lab: str) -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1600})
        page.set_default_timeout(60_000)  # ms; a busy machine is slow to draw
        yield page
        browser.close()


def run_all(page, done: Callable[[], object]) -> None:
    """Run all cells; a kernel that has just started may drop some, and to resume is to run again."""
    for _ in range(3):
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        with contextlib.suppress(AssertionError):
            return wait_for(done, 10)
    raise AssertionError("the notebook did not run to its end")


def take_picture(page, name: str) -> None:
    if folder := os.environ.get("KIT_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_what_a_hand_does_is_on_disk_at_once_and_stays(lab: str, page, tmp_path: Path):
    import papermill

    run = tmp_path / "run"
    given = {"template": "tests/mini", "num_ideas": 2, "select": "all", "run_dir": str(run)}
    papermill.execute_notebook(str(ROOT / "notebooks" / "01_ideas.ipynb"), str(tmp_path / "01.ipynb"), given,
                               prepare_only=True, progress_bar=False, kernel_name="python3")  # fmt: skip

    def records() -> list[dict]:
        return json.loads((run / "ideas.json").read_text())["records"]

    page.goto(lab.format("01.ipynb"))
    picker = page.locator(".kit-picker")
    run_all(page, picker.count)
    assert [r["chosen_by"] for r in records()] == ["all", "all"], "showing it is no choice"

    picker.locator(".kit-row input[type=checkbox]").nth(1).click()  # a tick in the list
    wait_for(lambda: (records()[1]["chosen"], records()[1]["chosen_by"]) == (False, "person"))
    picker.locator('button:has-text("select")').click()  # the idea that was ticked is the one looked at
    wait_for(lambda: records()[1]["chosen"])
    picker.locator(".kit-row .kit-name").nth(0).click()
    picker.locator(f".kit-title:has-text({json.dumps(records()[0]['idea']['Title'])})").wait_for()
    picker.locator('button:has-text("reject")').click()
    wait_for(lambda: (records()[0]["chosen"], records()[0]["chosen_by"]) == (False, "person"))
    picker.locator(".kit-row .kit-name").nth(1).click()
    picker.locator(f".kit-title:has-text({json.dumps(records()[1]['idea']['Title'])})").wait_for()

    picker.locator('.jupyter-widget-Collapse-header, .lm-Widget:has-text("Edit:") >> nth=-1').first.click()
    title = picker.locator("textarea").first
    title.fill("A title of my own")
    title.blur()
    wait_for(lambda: (records()[1]["idea"]["Title"], records()[1]["edited_by"]) == ("A title of my own", "person"))
    picker.locator('input[placeholder^="your own idea"]').fill("Does momentum help?")
    picker.locator('button:has-text("add")').click()
    wait_for(lambda: len(records()) == 3 and records()[2]["origin"] == "person")
    take_picture(page, "picker")

    run_all(page, lambda: records()[2]["novelty"]["verdict"] != "unchecked")
    wait_for(lambda: len(records()) == 3 and records()[0]["chosen_by"] == "person")
    assert [(r["chosen"], r["chosen_by"]) for r in records()] == [(False, "person"), (True, "person"), (True, "person")]
    assert records()[1]["idea"]["Title"] == "A title of my own"
    assert page.locator('.jp-OutputArea-output[data-mime-type*="error"]').count() == 0


def test_the_live_view_moves_while_the_kernel_is_busy(lab: str, page, tmp_path: Path):
    import nbformat

    cells = [
        "from pathlib import Path\nimport math, time\nfrom kit.live import LiveView\nview = LiveView()\nview",
        PLAY,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "live.ipynb")
    page.goto(lab.format("live.ipynb"))
    view = page.locator(".kit-live")
    run_all(page, lambda: page.locator(".kit-live polyline").count() >= 2)
    first = view.nth(0).inner_text()
    wait_for(lambda: view.nth(0).inner_text() != first)  # the kernel is busy with the next cell, and says nothing
    assert "cosine schedule" in first and "left" in first and "3000" in first
    take_picture(page, "live_busy")
    (tmp_path / "go_on").touch()
    page.locator(".kit-live td:has-text('ended with code 1')").first.wait_for()
    wait_for(lambda: page.locator(".kit-live pre").count() == 0)
    take_picture(page, "live_over")
    page.click('.lm-MenuBar-itemLabel:text-is("Settings")')
    page.locator('.lm-Menu-itemLabel:text-is("Theme")').hover()
    page.click('.lm-Menu-itemLabel:text-is("JupyterLab Dark")')
    colour = "e => getComputedStyle(e).stroke"
    wait_for(lambda: page.locator(".kit-live polyline").first.evaluate(colour) == "rgb(75, 163, 219)")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    take_picture(page, "live_dark")
    assert page.locator('.jp-OutputArea-output[data-mime-type*="error"]').count() == 0


PLAY = """
view.start("run_0", "Baseline", 7200)
for step in range(50, 3001, 50):
    view.hear("run_0", f"step {step}/3000  loss {0.35 + math.exp(-step / 500) + 0.02 * math.sin(step):.4f}  lr=5e-3")
view.end("run_0", "ran in 14.0 s")
view.start("run_1", "cosine schedule", 7200)
view.start("run_2", "linear, twice as many timesteps", 7200)
for step in range(50, 2001, 50):
    lr = 5e-3 * (1 + math.cos(math.pi * step / 3000)) / 2
    view.hear("run_1", f"step {step}/3000  loss {0.3 + math.exp(-step / 400) + 0.02 * math.sin(step):.4f}  lr={lr:.2e}")
    if step < 1200:
        view.hear("run_2", f"step {step}/3000  loss {0.4 + math.exp(-step / 800):.4f}  lr=5e-3")
view.hear("run_2", "Traceback (most recent call last):")
while not Path("go_on").exists():
    time.sleep(0.1)
view.end("run_2", "ended with code 1 in 9.0 s")
view.end("run_1", "ran in 13.1 s")
"""
