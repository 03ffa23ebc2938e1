"""Models behind an API: the real SDKs over HTTP, against a server of our own on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from model_server import IDEA, ModelServer
from PIL import Image

from kit import workspace
from kit.archive import Archive
from kit.llm import call_table, connect, prices, total_cost, trace
from kit.llm.budget import BudgetError, parse
from kit.llm.faults import Unavailable
from kit.outcomes import Outcomes
from kit.schemas import Idea, KitError
from kit.template import Template
from kit.workspace import Run

ROOT = Path(__file__).parent.parent
KEY = "sk-very-secret-key-0123456789"
MODELS = ["openai/gpt-test", "anthropic/claude-test"]
COMMON = {"outcomes": Outcomes(), "max_runs": 5}  # beside the template, what stage 1 gives to all its prompts


@pytest.fixture
def server(monkeypatch):
    """A server, and an environment in which all providers are to be found there."""
    server = ModelServer()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def template(tmp_path: Path) -> Template:
    (tmp_path / "experiment.py").write_text("rate = 1\n")
    return Template(name="t", path=tmp_path, task_description="Do it.")


def own_prices(tmp_path: Path, monkeypatch, dollars_in: float = 10.0, dollars_out: float = 40.0) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f'["*/*-test"]\ninput = {dollars_in}\noutput = {dollars_out}\ncached = {dollars_in / 10}\n')
    monkeypatch.setenv("KIT_PRICES", str(file))


def propose(chat, index: int = 0, **more) -> Idea:
    return chat.ask("ideas/propose", Idea, archive=Archive(), number=1, **COMMON, index=index, **more)


def propose_many(chat, number: int) -> list[Idea]:
    return chat.ask_many("ideas/propose", Idea, [{"archive": Archive(), "number": 1, **COMMON}] * number)


@pytest.mark.parametrize("model", MODELS)
def test_a_reply_comes_with_its_tokens_and_cost(model, server, run, template, tmp_path, monkeypatch):
    own_prices(tmp_path, monkeypatch)
    server.cached = 100
    chat = connect(run, model, "ideas", template=template)
    assert [idea.Name for idea in propose_many(chat, 3)] == [IDEA["Name"]] * 3
    results = [step["result"] for step in run.calls.finished()]
    assert (sum(r["tokens_in"] for r in results), sum(r["tokens_out"] for r in results)) == server.tokens()
    assert [r["tokens_cached"] for r in results] == [100] * 3
    for result in results:
        read, cached, written = result["tokens_in"], result["tokens_cached"], result["tokens_out"]
        assert result["cost"] == pytest.approx(((read - cached) * 10 + cached * 1 + written * 40) / 1e6)
    assert total_cost(run) == f"${sum(r['cost'] for r in results):.4f}"
    assert "propose" in str(call_table(run))


@pytest.mark.parametrize("model", MODELS)
def test_the_schema_goes_along_and_a_model_without_one_is_asked_in_words(model, server, run, template):
    chat = connect(run, model, "ideas", template=template)
    propose(chat)
    assert "json_schema" in json.dumps(server.accepted[0]["body"])
    server.takes_schema = False
    other = connect(run, f"{model}-plain", "ideas", template=template)
    assert propose(other, 1).Name == propose(other, 2).Name == IDEA["Name"]
    assert server.seen == 4, "it is refused once and not offered again"
    assert "json_schema" not in json.dumps(server.accepted[-1]["body"])


def test_a_bare_server_needs_a_name_and_no_key(server, run, template, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert propose(connect(run, f"{server.url}/v1#some/model:7b", "ideas", template=template)).Name == IDEA["Name"]
    assert server.accepted[0]["body"]["model"] == "some/model:7b"
    assert propose(connect(run, "openai/local", "ideas", template=template)).Name == IDEA["Name"]
    assert KEY not in json.dumps(server.accepted[0]["headers"])


def test_a_reasoning_model_thinks_in_tokens_of_its_own(server, run, template):
    server.reasoning = 640
    propose(connect(run, "openai/o-test", "ideas", template=template))
    (step,) = run.calls.finished()
    assert step["result"]["tokens_reasoning"] == 640 and step["result"]["tokens_out"] > 640


@pytest.mark.parametrize("model", MODELS)
def test_pictures_are_shown_small_or_left_out_and_said(model, server, run, template, tmp_path):
    Image.new("RGB", (3000, 4000), "white").save(tmp_path / "page.png")
    chat = connect(run, model, "ideas", template=template)
    propose(chat, pictures=[tmp_path / "page.png"])
    assert "image" in json.dumps(server.accepted[0]["body"]) and len(json.dumps(server.accepted[0]["body"])) < 60_000
    server.takes_pictures = False
    propose(connect(run, f"{model}-blind", "ideas", template=template), 1, pictures=[tmp_path / "page.png"])
    assert "image" not in json.dumps(server.accepted[1]["body"])
    assert "1 pictures were left out" in total_cost(run)
    Image.new("RGB", (300, 400), "black").save(tmp_path / "page.png")
    server.takes_pictures = True
    propose(chat, pictures=[tmp_path / "page.png"])
    assert len(server.accepted) == 3, "another picture is another call"


# --- faults ---------------------------------------------------------------------------------------

FAULTS = ["429", "500", "drop", "garbage", "529", "hollow"]


@pytest.mark.parametrize("model", MODELS)
def test_two_hundred_calls_with_one_fault_in_five(model, server, run, template):
    server.fault = lambda n: FAULTS[(n // 5) % len(FAULTS)] if n % 5 == 0 else ""
    ideas = propose_many(connect(run, model, "ideas", template=template), 200)
    steps = run.calls.finished()
    assert len(ideas) == len(steps) == len(server.accepted) == 200
    faults = [fault for step in steps for fault in step["result"]["faults"]]
    assert len(faults) == server.seen - 200 >= 40
    assert {"429", "500", "529", "APIConnectionError"} <= set(faults)


CHILD = """
import sys
from pathlib import Path
from kit.archive import Archive
from kit.llm import connect
from kit.outcomes import Outcomes
from kit.schemas import Idea
from kit.template import Template
from kit.workspace import Run

folder = Path(sys.argv[1])
template = Template(name="t", path=folder, task_description="Do it.")
chat = connect(Run(folder / "run"), "openai/gpt-test", "ideas", template=template)
values = {"archive": Archive(), "number": 1, "outcomes": Outcomes(), "max_runs": 5}
chat.ask_many("ideas/propose", Idea, [values] * 200)
"""


def test_after_a_kill_only_calls_without_a_stored_reply_are_made(server, run, template, tmp_path):
    server.fault = lambda n: time.sleep(0.02) or ""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, start_new_session=True)
    while len(run.calls.finished()) < 90:
        assert child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    time.sleep(0.5)  # what was under way arrives at the server
    stored, before = len(run.calls.finished()), len(server.accepted)
    assert 90 <= stored <= before <= stored + 8, "at most those under way were paid and not stored"
    again = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len(run.calls.finished()) == 200 and len(server.accepted) - before == 200 - stored


@pytest.mark.parametrize("fault, said", [
    ("401", "OPENAI_API_KEY"), ("404", "no model 'gpt-test'"), ("429 insufficient_quota", "out of money"),
    ("403", "was refused"), ("413", "refused the request"),
])  # fmt: skip
def test_what_is_final_is_said_at_once_with_its_cure(fault, said, server, run, template):
    server.fault = lambda n: fault
    with pytest.raises(KitError, match=said) as error:
        propose(connect(run, "openai/gpt-test", "ideas", template=template))
    assert server.seen == 1 and KEY not in str(error.value)
    assert not run.calls.finished()


def test_silence_ends_at_the_deadline_and_the_call_can_be_made_later(server, run, template, monkeypatch):
    monkeypatch.setenv("KIT_TIMEOUT", "0.3")
    monkeypatch.setattr("kit.llm.faults.DEADLINE", 1.5)
    server.fault = lambda n: "silence"
    chat = connect(run, "openai/gpt-test", "ideas", template=template)
    with pytest.raises(Unavailable, match="Run the same command again"):
        propose(chat)
    server.fault = lambda n: ""
    assert propose(chat).Name == IDEA["Name"]


@pytest.mark.parametrize("cloud", ["bedrock", "vertex"])
def test_claude_on_other_clouds_says_what_it_needs(cloud, run, template):
    with pytest.raises(KitError, match=rf"pip install 'anthropic\[{cloud}\]'|is not set up"):
        propose(connect(run, f"{cloud}/claude-test", "ideas", template=template))


@pytest.mark.parametrize("model", MODELS)
def test_no_key_is_ever_written(model, server, run, template):
    server.reply = lambda body: json.dumps(IDEA)
    propose(connect(run, model, "ideas", template=template))
    server.fault = lambda n: "401"
    with pytest.raises(KitError):
        propose(connect(run, model, "ideas", template=template), 1)
    written = b"".join(file.read_bytes() for file in run.path.rglob("*") if file.is_file())
    assert written and KEY.encode() not in written


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_budget_stops_before_it_is_exceeded(at_once, server, run, template, tmp_path, monkeypatch):
    own_prices(tmp_path, monkeypatch)
    run.note(budget="$0.50", model="openai/gpt-test")
    each = [{"archive": Archive(), "number": 1, **COMMON}] * 400
    with pytest.raises(BudgetError, match=r"\$0\.5.*Raise `budget`"):
        connect(run, "", "ideas", template=template).ask_many("ideas/propose", Idea, each, at_once=at_once)
    spent = sum(step["result"]["cost"] for step in run.calls.finished())
    read, written = server.tokens()
    assert spent == pytest.approx((read * 10 + written * 40) / 1e6) and 0.15 < spent <= 0.5
    run.note(budget="0.60 dollars")
    before = len(server.accepted)
    with pytest.raises(BudgetError):
        connect(run, "", "ideas", template=template).ask_many("ideas/propose", Idea, each, at_once=at_once)
    assert len(server.accepted) > before
    assert spent < sum(step["result"]["cost"] for step in run.calls.finished()) <= 0.6


def test_an_unknown_price_refuses_a_budget_in_dollars(server, run, template):
    run.note(budget="$5")
    with pytest.raises(BudgetError, match="give it in tokens"):
        connect(run, "openai/gpt-test", "ideas", template=template)
    run.note(budget="30_000 tokens, 2 calls")
    chat = connect(run, "openai/gpt-test", "ideas", template=template)
    propose(chat, 1), propose(chat, 2)
    with pytest.raises(BudgetError, match="2 calls"):
        propose(chat, 3)
    assert len(server.accepted) == 2


def test_an_idea_has_a_budget_of_its_own(server, run, template):
    run.note(idea_budget="1 call")
    propose(connect(run, "openai/gpt-test", "ideas", "one", template=template))
    with pytest.raises(BudgetError, match="the idea one"):
        propose(connect(run, "openai/gpt-test", "ideas", "one", template=template), 1)
    propose(connect(run, "openai/gpt-test", "ideas", "two", template=template))


@pytest.mark.parametrize("text", ["five", "$", "$5 and a bit", "-3 calls", "5"])
def test_a_budget_that_cannot_be_read_says_how_to_write_one(text):
    with pytest.raises(KitError, match="cannot be read"):
        parse(text)


def test_published_prices_are_known_and_unknown_ones_are_none():
    million = prices.Tokens(10**6, 10**6)
    assert prices.cost("openai", "gpt-4o", "openai", million) == pytest.approx(12.5)
    assert prices.cost("openai", "gpt-9-of-tomorrow", "openai", million) is None
    assert prices.cost("ollama", "llama3", "", million) == 0.0


# --- a whole stage --------------------------------------------------------------------------------


@pytest.mark.parametrize("model, settings", [
    ("openai/gpt-test", {}), ("anthropic/claude-test", {}), ("{url}/v1#bare", {"takes_schema": False}),
    ("openai/o-test", {"reasoning": 64}),
])  # fmt: skip
def test_the_ideas_notebook_runs_with_every_kind_of_model(model, settings, server, tmp_path, monkeypatch):
    from kit import pipeline

    for name, value in settings.items():
        setattr(server, name, value)
    monkeypatch.setattr(workspace, "outputs", lambda: tmp_path)
    model = model.format(url=server.url)
    pipeline.run_stage("ideas", tmp_path / "copy.ipynb", run_dir=str(tmp_path / "run"), template="tests/mini",
                       model=model, num_ideas=2, num_reflections=1, num_novelty_rounds=2)  # fmt: skip
    run = Run(tmp_path / "run")
    assert [record.idea.Name for record in run.archive().records] == ["bigger_steps", "bigger_steps_2"]
    assert [record.novelty.verdict for record in run.archive().records] == ["novel", "novel"]
    read, written = server.tokens()
    results = [step["result"] for step in run.calls.finished()]
    assert (sum(r["tokens_in"] for r in results), sum(r["tokens_out"] for r in results)) == (read, written)
    calls = trace(run)
    assert len(calls) == len(server.accepted) and "Gradient descent on a noisy quadratic" in str(calls[0])
