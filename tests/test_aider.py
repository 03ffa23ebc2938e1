"""aider as the other hand: what it leaves in the file comes back as Edits, and is paid for once."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_server import ModelServer

from kit import aider, editor
from kit.bench import Bench, task
from kit.editor import Edits
from kit.llm import call_table, connect, trace
from kit.llm.budget import BudgetError
from kit.llm.chat import Unusable
from kit.llm.faults import Unavailable
from kit.llm.providers import PROVIDERS
from kit.results import build_ledger
from kit.schemas import Arm, FormatError, Idea, KitError, Note, Plan
from kit.template import Template, load_template
from kit.workspace import Run

CODE = "rate = 1\nsteps = 10\n\n\ndef main():\n    print(rate, steps)\n"
IDEA = Idea(Name="faster", Title="Faster", Experiment="Raise it.", Interestingness=5, Feasibility=5, Novelty=5)
ARM = Arm(name="high", title="High rate", change="Raise the rate to 2.", prediction="Better.")
TRUE_AIDER = os.environ.get("KIT_AIDER") or shutil.which("aider")
# Behaves as aider does: asks the model at its address, edits the file, logs exact tokens. The reply is a Python
# expression that says what becomes of the text.
STAND_IN = """#!{python}
import json, os, sys, urllib.request
from pathlib import Path

options = dict(zip(sys.argv[1:], sys.argv[2:]))
message = Path(options["--message-file"]).read_text()
settings = json.loads(Path(options["--model-settings-file"]).read_text())[0]
body = {{"model": options["--model"], "messages": [{{"role": "user", "content": message}}],
         "settings": settings, "environment": dict(os.environ), "files": sorted(os.listdir())}}
request = urllib.request.Request(os.environ["OPENAI_API_BASE"] + "/chat/completions", json.dumps(body).encode())
try:
    answer = json.load(urllib.request.urlopen(request))
except OSError as error:
    sys.exit(print(f"litellm says: {{error}}, key {{os.environ['OPENAI_API_KEY']}}"))
text = answer["choices"][0]["message"]["content"]
file = Path(sys.argv[-1])
file.write_text(eval(text, {{"code": file.read_text()}}))
Path("plot.py").write_text("spoiled")
sent = {{"prompt_tokens": 1234, "completion_tokens": 56, "cost": 9}}
log = [{{"event": "launched", "properties": {{}}}}] + 2 * [{{"event": "message_send", "properties": sent}}]
Path(options["--analytics-log"]).write_text("".join(json.dumps(line) + "\\n" for line in log))
Path(options["--llm-history-file"]).write_text("TO LLM now\\nUSER do\\nLLM RESPONSE now\\nASSISTANT I did it.\\n")
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    server = ModelServer(reply=lambda body: "code.replace('rate = 1', 'rate = 2')")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch) -> Path:
    program = tmp_path / "aider"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("KIT_AIDER", str(program))
    return program


@pytest.fixture
def hand(run: Run, server: ModelServer, stand_in: Path):
    return take(run, server)


def take(run: Run, server: ModelServer) -> aider.Chat:
    (run.path.parent / "experiment.py").write_text(CODE)
    template = Template(name="t", path=run.path.parent, task_description="Descend.")
    model = f"{server.url}/v1#m"
    return aider.take("aider", connect(run, model, "experiments", "faster", template=template, idea=IDEA))


def trial_of(code: str, number: int = 1, trouble: str = "") -> SimpleNamespace:
    """What a prompt asks of a trial on the bench."""
    file, index = f"run_{number}/experiment.py", 100 * number
    about = {"file": file, "index": index, "waits": False}
    return SimpleNamespace(arm=ARM, number=number, kind="run", code=code, trouble=trouble, **about)


def edit(hand, code: str = CODE, index: int = 100, **values) -> str:
    """What experiment.py becomes."""
    trial = trial_of(code, trouble=values.pop("trouble", ""))
    edits = hand.ask("experiments/edit", Edits, trials=[trial], metrics=[], index=index, **values)
    return editor.apply(edits.edits, {"experiment.py": code}, allowed=["experiment.py"])["experiment.py"]


def test_what_aider_wrote_comes_back_as_edits(hand, server, run):
    assert edit(hand) == CODE.replace("rate = 1", "rate = 2")
    (asked,) = (request["body"] for request in server.accepted)
    message = asked["messages"][0]["content"]
    assert "Raise the rate to 2." in message and "Descend." in message
    assert "SEARCH" not in message and "def main" not in message, "aider says these itself"
    (step,) = run.calls.finished()
    result = step["result"]
    assert (result["tokens_in"], result["tokens_out"], result["turns"]) == (2468, 112, 2)
    assert result["text"].startswith("I did it.\n\nexperiment.py\n<<<<<<< SEARCH\nrate = 1\n")


def test_nothing_is_paid_twice_and_another_program_is_another_call(hand, server, run):
    edit(hand)
    assert edit(take(run, server)) == edit(hand) and len(server.accepted) == 1
    edit(hand, code=CODE.replace("10", "20"))
    assert len(server.accepted) == 2
    assert "aider" in str(call_table(run)) and "4936" in str(call_table(run))
    assert "def main" in str(trace(run)[0]), "the file is shown with the call that read it"


def test_several_programs_one_after_the_other(hand, server, run):
    trials = [trial_of(f"{CODE}n = {n}\n", n) for n in range(1, 5)]
    later = trial_of("", 5)
    later.waits = True  # its program is not there yet
    edits = hand.ask("experiments/edit", Edits, trials=[*trials, later], metrics=[], index=100, check=None)
    assert not any(edit.path == later.file for edit in edits.edits)
    for trial in trials:
        own = [edit for edit in edits.edits if edit.path == trial.file]
        assert editor.apply(own, {trial.file: trial.code})[trial.file] == trial.code.replace("rate = 1", "rate = 2")
    assert len((run.path / "faster" / "chats" / "experiments.jsonl").read_text().splitlines()) == 4


def test_the_trouble_of_the_last_attempt_is_told(hand, server):
    edit(hand, trouble="ZeroDivisionError, line 3")
    assert "ZeroDivisionError, line 3" in server.accepted[0]["body"]["messages"][0]["content"]


def test_a_file_left_as_it_was_goes_back_and_then_raises(hand, server):
    replies = iter(["code", "code.replace('10', '20')"])
    server.reply = lambda body: next(replies)
    assert "steps = 20" in edit(hand)
    again = server.accepted[1]["body"]["messages"][0]["content"]
    assert "> experiment.py is as it was before." in again and "could not be used" in again
    server.reply = lambda body: "code"
    with pytest.raises(Unusable, match="3 times"):
        edit(hand, index=200)


def test_what_check_refuses_goes_back(hand, server):
    replies = iter(["code + 'x ='", "code + 'x = 1'"])
    server.reply = lambda body: next(replies)

    def check(edits: Edits) -> None:
        editor.apply(edits.edits, {"experiment.py": CODE})

    assert edit(hand, check=check).endswith("x = 1\n")
    assert "is no Python" in server.accepted[1]["body"]["messages"][0]["content"]


def test_other_prompts_go_the_usual_way(hand, server, run):
    server.reply = lambda body: json.dumps({"text": "It held.", "settled": False})
    template = hand.common["template"]
    values = {"question": "?", "arm": ARM, "number": 1, "run": "run_1", "remaining": [], "notes": ""}
    ledger = build_ledger(run.folder("faster"), {}, template)
    assert hand.ask("experiments/note", Note, ledger=ledger, **values).text == "It held."
    assert "environment" not in server.accepted[0]["body"]


def test_it_knows_the_models_key_and_no_other(run, server, stand_in, monkeypatch):
    for name in ("SERVER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "S2_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"the secret of {name}")
    edit(take(run, server))
    body = server.accepted[0]["body"]
    assert body["environment"]["OPENAI_API_KEY"] == "the secret of SERVER_API_KEY"
    assert "\n".join(body["environment"].values()).count("the secret") == 1
    assert body["environment"]["HOME"] not in (os.environ["HOME"], "") and "experiment.py" in body["files"]
    assert body["model"] == "openai/m" and body["settings"]["extra_params"] == {}


def test_where_nothing_was_said_nothing_is_stored(hand, server, run, monkeypatch):
    server.fault = lambda n: "401"
    with pytest.raises(Unavailable, match=r"litellm says.*401"):
        edit(hand)
    assert run.calls.finished() == []
    server.fault = lambda n: "silence"
    monkeypatch.setenv("KIT_TIMEOUT", "0.2")
    with pytest.raises(Unavailable, match="stopped"):
        edit(hand)


def test_the_budget_holds_every_turn_that_it_may_take(run, server, stand_in):
    run.note(budget="60_000 tokens")
    with pytest.raises(BudgetError, match=r"60000 tokens.*could take 10\d{4} tokens, 4 calls"):
        edit(take(run, server))
    run.note(budget="200_000 tokens, 5 calls")
    hand = take(run, server)
    edit(hand)
    assert server.accepted[0]["body"]["settings"]["extra_params"] == {"max_tokens": 8192}
    with pytest.raises(BudgetError, match="2 calls are spent"):
        edit(hand, index=200)


def test_what_cannot_be_had_is_said_with_its_cure(run, server, monkeypatch):
    template = Template(name="t", path=run.path)
    offline = connect(run, "offline", "experiments", template=template, idea=IDEA)
    assert aider.take("blocks", offline) is offline
    with pytest.raises(KitError, match="real model"):
        aider.take("aider", offline)
    with pytest.raises(KitError, match='editor="blocks" or editor="aider"'):
        aider.take("vim", offline)
    for named in ("", "/nowhere/aider"):
        monkeypatch.setenv("KIT_AIDER", named)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(KitError, match=r"uv tool install --python 3\.12 aider-chat"):
            take(run, server)


@pytest.mark.parametrize(
    "name, base_url, engine",
    [
        ("openai", "", ("openai/m", {"OPENAI_API_KEY": "none"})),
        ("deepseek", "https://d", ("openai/m", {"OPENAI_API_KEY": "none", "OPENAI_API_BASE": "https://d"})),
        ("anthropic", "https://a", ("anthropic/m", {"ANTHROPIC_API_KEY": "none", "ANTHROPIC_API_BASE": "https://a"})),
    ],
)
def test_providers_in_its_words(name, base_url, engine, monkeypatch):
    monkeypatch.delenv(PROVIDERS[name].key, raising=False)
    assert aider.engine(PROVIDERS[name]._replace(name=name, base_url=base_url), "m") == engine


def test_a_cloud_that_it_cannot_reach_is_named():
    with pytest.raises(KitError, match="Bedrock"):
        aider.engine(PROVIDERS["bedrock"]._replace(name="bedrock"), "m")


LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "", "    c()", "=======", "==========", "# é", "\tx"]), max_size=12)


@given(LINES, LINES)
def test_blocks_lead_from_any_text_to_any_other(old: list[str], new: list[str]):
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    if before.strip() and after.strip() and before != after:
        edits = Edits.parse(aider.as_blocks(before, after, "notes.txt")).edits
        assert editor.apply(edits, {"notes.txt": before})["notes.txt"] == after


def test_blocks_grow_only_until_their_place_is_unique():
    long = "".join(f"x{n} = {n}\n" for n in range(50))
    assert len(aider.as_blocks(long, long.replace("x7 = 7", "x7 = 8"), "a.py").splitlines()) == 10
    assert len(aider.as_blocks(CODE * 3, CODE * 3 + "end = 1\n", "a.py").splitlines()) > 40


def test_blocks_that_give_no_python_are_for_the_bench_to_refuse():
    edits = Edits.parse(aider.as_blocks(CODE, CODE.replace("def main", "def main("), "experiment.py"))
    with pytest.raises(FormatError, match="is no Python"):
        editor.apply(edits.edits, {"experiment.py": CODE})


def test_a_run_on_the_bench_is_edited_by_it(run: Run, server: ModelServer, stand_in: Path):
    server.reply = lambda body: "code.replace('learning_rate = 0.05', 'learning_rate = 0.3')"
    template = load_template("tests/mini")
    chat = connect(run, f"{server.url}/v1#m", "experiments", "faster", template=template, idea=IDEA)
    bench, hand = Bench(run, template, IDEA, "smoke").baseline(60), aider.take("aider", chat)
    bench.adopt(Plan(question="Does it help?", arms=[ARM]), 60)
    wave = next(bench.waves(2))
    edits = hand.ask("experiments/edit", Edits, **task(wave))
    (trial,) = bench.carry_out(wave, edits, 60)
    assert "learning_rate = 0.3" in trial.code and "run_1" in bench.labels()


@pytest.mark.skipif(not TRUE_AIDER, reason="aider is not installed")
def test_the_true_aider(run: Run, server: ModelServer, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KIT_AIDER", str(TRUE_AIDER))
    outside = tmp_path / "outside.txt"
    block = "{}\n```python\n<<<<<<< SEARCH\n{}=======\n{}>>>>>>> REPLACE\n```\n"
    slip = block.format(outside, "", "hello\n") + block.format("experiment.py", "rate = 7\n", "rate = 2\n")
    mended = block.format("experiment.py", "rate = 1\n", "rate = 2\n")
    replies = iter([f"Two edits.\n\n{slip}", f"I raise it.\n\n{mended}"])
    server.reply = lambda body: next(replies)
    assert edit(take(run, server)) == CODE.replace("rate = 1", "rate = 2")
    assert not outside.exists(), "it was asked, and the answer was no"
    (step,) = run.calls.finished()
    result = step["result"]
    assert (result["tokens_in"], result["tokens_out"]) == server.tokens() and result["turns"] == 2
    assert result["text"].startswith("I raise it.") and "temperature" not in server.accepted[0]["body"]
