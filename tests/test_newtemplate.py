"""`kit new-template`: a skeleton that runs, and a person's own script as a template."""

import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import conftest
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import newtemplate, workspace
from kit.__main__ import main
from kit.llm.chat import Unusable
from kit.newtemplate.source import find_script, read_source
from kit.offline.templates import direction, wrap
from kit.schemas import KitError
from kit.skeleton import each_seed
from kit.template import load_template

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
# As people write them: unseeded, with a module of their own, and numbers in the last lines.
TRAIN = '''\
#!/usr/bin/env python
"""Fit a line to noisy points by stochastic gradient descent.

More words.
"""
from __future__ import annotations

import random

from data import points

lr = 0.1
w = random.random()
for epoch in range(6):
    for x, y in points(50):
        w -= lr * 2 * x * (w * x - y)
    loss = sum((w * x - y) ** 2 for x, y in points(50)) / 50
    print(f"Epoch {epoch + 1}/6  train loss {loss:.6f}")


def test_accuracy():
    return sum(abs(w * x - y) < 0.1 for x, y in points(200))


print("Test set: Accuracy:", f"{test_accuracy()}/200")
'''
DATA = """\
import random


def points(n):
    xs = [random.gauss(0, 1) for _ in range(n)]
    return [(x, 3 * x + random.gauss(0, 0.1)) for x in xs]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A project of the test's own."""
    (tmp_path / "home" / "templates").mkdir(parents=True)
    monkeypatch.setenv("KIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A person's folder."""
    return write(tmp_path / "line fit", {"train.py": TRAIN, "data.py": DATA, "notes.txt": "Mine.", ".env": "KEY=sk-1"})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# --- the skeleton -------------------------------------------------------------------------------


def test_a_new_template_fits_and_goes_the_whole_way(home: Path, capsys):
    assert main(["new-template", "my_own"]) == 0 and "kit check my_own" in capsys.readouterr().out
    assert "my_template" not in (home / "templates" / "my_own" / "README.md").read_text()
    assert main(["check", "my_own"]) == 0
    said = capsys.readouterr().out
    assert "missing" not in said and "test_error on independent, correlated" in said and "curves.png" in said
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    shutil.copytree(ROOT / "templates" / "latex", home / "templates" / "latex")
    command = [PYTHON, "-m", "kit", "run", "--template", "my_own", "--model", "offline", "--num_ideas", "1",
               "--preset", "smoke", "--num_reviews_ensemble", "1", "--run_dir", "it"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (home / "outputs" / "it").glob("*/paper/build.json")
    assert json.loads(built.read_text())["ok"]


@pytest.mark.parametrize("name", ["my-own", "class", "../x", "", "latex", "taken"])
def test_a_name_that_cannot_be_is_refused(home: Path, name: str, capsys):
    write(home / "templates" / "taken", {"a": ""})
    before = contents(home)
    assert main(["new-template", name]) == 1 and contents(home) == before


# --- a script of one's own, without a model ------------------------------------------------------


def test_a_script_becomes_a_template(home: Path, theirs: Path, capsys):
    before = contents(theirs)
    assert main(["new-template", "line", "--from", str(theirs)]) == 0, capsys.readouterr().out
    said, made = capsys.readouterr().out, home / "templates" / "line"
    assert not workspace.all_runs(), "what the kit keeps for itself is no run of a person's"
    assert contents(theirs) == before and (made / "data.py").read_text() == DATA
    assert not (made / "train.py").exists() and not (made / ".env").exists() and "sk-1" not in said
    template = load_template("line")
    directions = {name: (metric.direction, metric.headline) for name, metric in template.metrics.items()}
    assert directions == {"train_loss": ("min", True), "accuracy": ("max", True)}
    assert "# a guess" in (made / "template.toml").read_text() and "guesses" in (made / "README.md").read_text()
    assert template.title == "Fit a line to noisy points by stochastic gradient descent"
    assert template.protected == ["experiment.py:test_accuracy"] and template.seed_ideas[0].Name == "range_of_lr"
    assert "template.toml" in said.partition("Next:")[2]
    patch = (home / "outputs" / "_new-line" / "adopted.diff").read_text()
    assert patch in said and "+import each_seed" in patch
    removed = [line for line in patch.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert not removed  # every line of the person's is there
    assert "two runs say the same" in said  # the script seeds nothing: each_seed does


def test_what_an_adopted_script_measures(home: Path, theirs: Path):
    room = write(theirs.parent / "room", {"experiment.py": wrap(TRAIN), "data.py": DATA})
    shutil.copy(each_seed.__file__, room)
    (room / "experiment.py").write_text(wrap(TRAIN) + "each_seed.report(slope=w)\n")
    (room / "each_seed.py").write_text(
        (room / "each_seed.py").read_text().replace("METRICS: list[str] = []", 'METRICS = ["accuracy", "train_loss"]')
    )
    env = os.environ | {"KIT_PRESET": "smoke"}
    for out in ("run_0", "else"):
        subprocess.run(
            [PYTHON, "experiment.py", f"--out_dir={out}"], cwd=room, env=env, check=True, capture_output=True
        )
    info = json.loads((room / "run_0" / "final_info.json").read_text())["data"]
    assert set(info["means"]) == {"accuracy", "train_loss", "slope"} and info["means"]["slope"] == pytest.approx(
        3, abs=0.2
    )
    values = info["seeds"]["train_loss"]
    assert len(values) == 2 and values[0] != values[1] and 0 < info["means"]["accuracy"] <= 1
    curves = json.loads((room / "run_0" / "curves.json").read_text())["data"]["train_loss"]
    assert [len(curve) for curve in curves] == [6, 6] and curves[1][-1] == values[1]
    assert (room / "run_0" / "final_info.json").read_text() == (room / "else" / "final_info.json").read_text()
    left = {entry.name for entry in room.iterdir()} - {"__pycache__"}  # some environments forbid it
    assert left == {"experiment.py", "data.py", "each_seed.py", "run_0", "else"}, "each seed cleans up"


def test_at_seed_0_a_seeded_script_is_what_it_was_and_other_seeds_differ(tmp_path: Path):
    code = "import random, numpy as np\nrandom.seed(5)\ngen = np.random.default_rng(7)\n" \
           "print('loss:', random.random() + gen.random())\n"  # fmt: skip
    room = write(tmp_path, {"alone.py": code, "experiment.py": wrap(code)})
    shutil.copy(each_seed.__file__, room)
    alone = subprocess.run([PYTHON, "alone.py"], cwd=room, capture_output=True, text=True, check=True).stdout
    subprocess.run([PYTHON, "experiment.py"], cwd=room, check=True, capture_output=True)
    first, *others = json.loads((room / "run_0" / "final_info.json").read_text())["data"]["seeds"]["loss"]
    assert first == float(alone.split()[1]) and len({first, *others}) == 3


@pytest.mark.parametrize("name, code", [
    ("results.json", "import json, random; json.dump({'test': {'f1': random.random()}, 'epochs': 3}, open(NAME, 'w'))"),
    ("log.csv", "import random; open(NAME, 'w').write(f'epoch,test_f1\\n1,0.1\\n2,{random.random()}\\n')"),
    ("out/log.jsonl",
     "import os, random as r; os.mkdir('out'); open(NAME, 'w').write('{\"test f1\": %s}' % r.random())"),
])  # fmt: skip
def test_numbers_may_be_in_a_file(tmp_path: Path, name: str, code: str):
    room = write(tmp_path, {"experiment.py": wrap(f"NAME = {name!r}\n{code}\n"), "old.json": '{"old_loss": 1}'})
    shutil.copy(each_seed.__file__, room)
    subprocess.run([PYTHON, "experiment.py"], cwd=room, check=True, capture_output=True)
    info = json.loads((room / "run_0" / "final_info.json").read_text())["data"]
    assert set(info["means"]) == {"test_f1"} and len(set(info["seeds"]["test_f1"])) == 3


@pytest.mark.parametrize("code, options, said", [
    ("print('done')", [], "Let it print"),
    ("import sys; sys.exit('no data')", [], "no data"),
    ("import time; print('loss: 1', flush=True); time.sleep(60)", ["--timeout", "1"], "--timeout"),
    ("import no_such_package", [], "line/.venv/bin/pip install numpy scipy torch matplotlib pandas no_such_package"),
    ("import urllib.request as u; u.urlopen('http://example.org')", [], "There is no network"),
])  # fmt: skip
def test_a_script_that_cannot_be_wrapped_says_why(
    home: Path, tmp_path: Path, code: str, options: list, said: str, capsys
):
    folder = write(tmp_path / "x", {"job.py": code})
    assert main(["new-template", "line", "--from", str(folder), *options]) == 1
    assert said in capsys.readouterr().err and not (home / "templates" / "line").exists()


def test_the_main_script_is_found_or_asked_for(tmp_path: Path):
    guard = "if __name__ == '__main__':\n    pass\n"
    one = write(tmp_path / "one", {"a.py": "", "tests/test_a.py": "", "setup.py": ""})
    assert find_script(read_source(one)) == "a.py"
    usual = write(tmp_path / "usual", {"a.py": guard, "src/train.py": "", "b.py": guard})
    assert find_script(read_source(usual)) == "src/train.py"
    guarded = write(tmp_path / "guarded", {"a.py": guard, "b.py": ""})
    assert find_script(read_source(guarded)) == "a.py"
    top = write(tmp_path / "top", {"a.py": "from b import x", "b.py": ""})
    assert find_script(read_source(top)) == "a.py"
    several = write(tmp_path / "several", {"a.py": guard, "b.py": guard, "c.py": ""})
    with pytest.raises(KitError, match=r"--script: a.py, b.py, c.py"):
        find_script(read_source(several))
    assert find_script(read_source(several), "./b.py") == "b.py"
    with pytest.raises(KitError, match=r"There are: a\.py"):
        find_script(read_source(several), "d.py")
    with pytest.raises(KitError, match="nbconvert"):
        find_script(read_source(write(tmp_path / "nb", {"a.ipynb": "{}"})))
    with pytest.raises(KitError, match=r"--script a\.py"):
        read_source(top / "a.py")


def test_a_script_in_a_folder_finds_its_modules_and_a_repository_is_cloned(home: Path, theirs: Path, tmp_path: Path):
    flat = "print('loss:', __import__('value').x)\n"
    repo = write(
        tmp_path / "work" / "repo", {"src/main.py": flat, "src/value.py": "import random\nx = random.random()\n"}
    )
    git = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    assert newtemplate.adopt("cloned", f"file://{repo}", say=lambda _: None)
    assert "each_seed.run('src')" in load_template("cloned").code
    assert load_template("cloned").metrics["loss"].direction == "min"
    with pytest.raises(KitError, match="could not be cloned"):
        newtemplate.adopt("lost", f"file://{repo}/nowhere", say=lambda _: None)


def test_an_environment_that_waits_there_is_used(home: Path, tmp_path: Path):
    place = home / "templates" / "line" / ".venv"
    venv.create(place, system_site_packages=True, symlinks=True)
    site = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "only_here.py").write_text("import random\nvalue = random.random")
    (site / "kit_test.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    folder = write(tmp_path / "x", {"job.py": "import only_here\nprint('loss:', only_here.value())\n"})
    assert newtemplate.adopt("line", str(folder), say=lambda _: None)
    assert load_template("line").has_own_python and "only_here" in load_template("line").code


# --- a folder that is a template already ----------------------------------------------------------


def test_a_template_by_the_contract_is_copied_as_it_is(home: Path, tmp_path: Path):
    files = {
        "experiment.py": 'import argparse\nfrom model import f\nargparse.ArgumentParser().add_argument("--out_dir")\n',
        "plot.py": "import os\n", "model.py": "def f():\n    return 1\n", "latex/template.tex": "\\documentclass{a}",
        "run_0/final_info.json": '{"a": {"means": {"loss_mean": 1}}}', "ideas.json": "[]",
        "prompt.json": '{"system": "You are.", "task_description": "A task."}', "notes.bin": "\0",
        "seed_ideas.json": '[{"Name": "an_idea", "Title": "T", "Experiment": "E", "Interestingness": 6, '
                           '"Feasibility": 4, "Novelty": 4}]',
    }  # fmt: skip
    folder, said = write(tmp_path / "theirs", files), []
    write(folder, {".git/HEAD": "x", "__pycache__/a.pyc": ""})
    assert newtemplate.adopt("copied", str(folder), say=said.append)
    assert contents(home / "templates" / "copied") == {name: text.encode() for name, text in files.items()}
    assert "write each metric's direction" in newtemplate.what_next("copied", adopted=True)
    assert "9 files" in said[-1] and load_template("copied").seed_ideas[0].Name == "an_idea"


# --- a model adopts ------------------------------------------------------------------------------

PROGRAM = """\
import argparse, json, os, random
from pathlib import Path

from data import points


def measure(w):
    return sum((w * x - y) ** 2 for x, y in points(50)) / 50


parser = argparse.ArgumentParser()
parser.add_argument("--out_dir")
out = Path(parser.parse_args().out_dir)
out.mkdir()
losses = []
for seed in range(2):
    random.seed(seed)
    losses.append(measure(random.random()))
info = {"line": {"means": {"loss": sum(losses) / 2}, "seeds": {"loss": losses}}}
(out / "final_info.json").write_text(json.dumps(info))
"""
BROKEN = PROGRAM.replace("sum(losses) / 2", "sum(loses) / 2")


def mending(old: str, new: str) -> str:
    line = 'info = {"line": {"means": {"loss": sum(NAME) / 2}, "seeds": {"loss": losses}}}'
    parts = ["A name was misspelt.\n\nexperiment.py\n<<<<<<< SEARCH", line.replace("NAME", old), "=======",
             line.replace("NAME", new), ">>>>>>> REPLACE\n"]  # fmt: skip
    return "\n".join(parts)


def adoption(**changes) -> str:
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('loss.png')\n"
    reply = {
        "experiment": BROKEN, "plot": plot, "title": 'A "line"', "about": "A line.\nFitted.",
        "task_description": "Fit.",
        "metrics": [{"name": "loss", "label": "Loss", "direction": "min", "headline": True}],
        "sizes": [{"name": "smoke", "seeds": 2, "about": "Two."}], "protected": ["experiment.py:measure"],
        "seed_ideas": [], "assumed": ["The slope is real."],
    }  # fmt: skip
    return json.dumps(reply | changes)


def test_a_model_adopts_a_script_and_mends_what_does_not_fit(home: Path, theirs: Path, script, capsys):
    write(theirs, {"plot.py": "raise SystemExit('mine')"})
    script += [adoption(protected=["weigh"]), adoption(), mending("loses", "losses")]
    command = ["new-template", "line", "--from", str(theirs), "--model", "test/any", "--budget", "90 calls"]
    assert main(command) == 0, capsys.readouterr().out
    said, (asked, again, mend) = capsys.readouterr().out, conftest.HEARD
    prompt = asked.messages[0]["content"]
    assert TRAIN.strip() in prompt and DATA.strip() in prompt and "train loss" in prompt and "sk-1" not in prompt
    assert str(theirs.parent) not in prompt and "weigh" in again.messages[-1]["content"]
    findings = mend.messages[0]["content"]
    assert "NameError" in findings and str(home) not in findings and "KIT_PRESET=smoke" in findings
    made = home / "templates" / "line"
    assert (made / "experiment.py").read_text() == PROGRAM and not (made / "each_seed.py").exists()
    about = tomllib.loads((made / "template.toml").read_text())
    assert about["title"] == 'A "line"' and about["about"] == "A line.\nFitted."
    assert "as test/any says: check it" in (made / "template.toml").read_text()
    assert "gives way to the template's own: plot.py" in said and "kit trace _new-line" in said
    assert "to check: The slope is real." in said and "+    losses.append(measure" in said

    shutil.rmtree(made)  # as if it had been killed before the end
    assert main(command) == 0 and len(conftest.HEARD) == 3, "what was asked is not asked again"
    assert (made / "experiment.py").read_text() == PROGRAM


def test_what_no_round_mends_is_put_there_and_said(home: Path, theirs: Path, script, capsys):
    script += [adoption(plot=""), mending("loses", "lost"), mending("lost", "gone")]
    assert main(["new-template", "line", "--from", str(theirs), "--model", "test/any"]) == 1
    said = capsys.readouterr().out
    assert "does not fit yet" in said and "Round 2" in said
    assert load_template("line").metrics["loss"].headline
    assert "curves.png" in (home / "templates" / "line" / "plot.py").read_text()


def test_a_reply_that_is_no_template_goes_back(home: Path, theirs: Path, script):
    script += [adoption(experiment="print(1)"), adoption(plot="draw it"), adoption(metrics=[])]
    with pytest.raises(Unusable, match="metrics"):
        newtemplate.adopt("line", str(theirs), "test/any", say=lambda _: None)
    troubles = [heard.messages[-1]["content"] for heard in conftest.HEARD[1:]]
    assert "--out_dir" in troubles[0] and "no Python" in troubles[1]


def test_what_a_model_is_shown_has_an_end(tmp_path: Path):
    files = {f"part_{n}.py": f"x = {n}\n" * 5000 for n in range(9)} | {"table.csv": "a,b\n" * 9000, "w.bin": "\0" * 99}
    source = read_source(write(tmp_path, {"main.py": "import part_1\n", "my_secret.txt": "s", "id.pem": "s"} | files))
    source.script = "main.py"
    shown = source.shown()
    assert shown[0].name == "main.py" and sum(len(part.text) for part in shown) < 200_000
    assert set(source.left_out) == {"my_secret.txt", "id.pem"} and {"part_8.py", "w.bin"} <= set(source.cut())
    assert "w.bin" in source.tree() and "may hold a secret" in source.tree()
    beginning = {part.name: part.text for part in shown}
    assert len(beginning.get("table.csv", "")) < 2000


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line, found", [
    ("loss: 0.31", {"loss": 0.31}),
    ("acc=0.9, f1=.5", {"acc": 0.9, "f1": 0.5}),
    ("Epoch 3/10: train loss 0.5000, val loss 4.3e-1 (12.5 s)", {"train_loss": 0.5, "val_loss": 0.43}),
    ("Test set: Average loss: 0.0297, Accuracy: 9903/10000 (99%)", {"average_loss": 0.0297, "accuracy": 0.9903}),
    ("Train Epoch: 14 [58880/60000 (98%)]\tLoss: 0.012", {"loss": 0.012}),
    ("Accuracy of the network on the 10000 test images: 54 %",
     {"accuracy_of_the_network_on_the_10000_test_images": 54}),
    ("step 1000 loss: 0.5", {"loss": 0.5}),
    ("test set accuracy 0.9 train set accuracy 0.95", {"test_set_accuracy": 0.9, "train_set_accuracy": 0.95}),
    ("Accuracy of the network: 54 %", {"accuracy_of_the_network": 54}),
    ("saved the best model with val_loss=0.25", {"val_loss": 0.25}),
    ("INFO:root:test/acc: 87.5%", {"test_acc": 87.5}),
    ("{'eval_loss': 0.31, 'epoch': 3.0}", {"eval_loss": 0.31}),
    ('{"test": {"acc": 0.9, "n": [1, 2]}, "step": 4, "ok": true}', {"test_acc": 0.9, "test_n": 2}),
    ("loss: tensor(0.5, device='cpu')", {"loss": 0.5}),
    ("loss: -1.5e-03", {"loss": -0.0015}),
    ("lr: 0.1, batch_size = 32, seed: 4, step 100", {}),
    ("Time: 12:30:11", {}),
    ("training time: 3.2s", {"training_time": 3.2}),
    ("gap: 0.25", {"gap": 0.25}),
    ("Saved 3 files to runs/2024", {}),
    ("measured: {\"slope\": 3.0}", {"slope": 3.0}),
])  # fmt: skip
def test_numbers_are_read_by_name(line: str, found: dict[str, float]):
    assert each_seed.numbers(line) == found


def test_a_number_that_is_none_is_seen():
    assert math.isnan(each_seed.numbers("loss: nan")["loss"]) and each_seed.numbers("loss: nanny") == {}


NAMES = st.sampled_from(["loss", "Test Loss", "val_acc", "eval/f1", "final test error", "gap", "MSE"])


@given(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1), st.data())
def test_what_is_printed_is_read(values: dict[str, float], data):
    sign, between = (
        data.draw(st.sampled_from([": ", "=", " = ", ":"])),
        data.draw(st.sampled_from([", ", "  ", " | ", "\t"])),
    )
    line = between.join(f"{name}{sign}{value!r}" for name, value in values.items())
    wanted = {each_seed.plain(name): value for name, value in values.items()}
    assert each_seed.numbers(line) == wanted and each_seed.numbers(json.dumps(values)) == wanted


@given(st.text(max_size=200) | st.from_regex(each_seed.NUMBER))
def test_any_line_is_read_without_a_complaint(line: str):
    assert all(isinstance(value, float) and name == each_seed.plain(name) != ""
               for name, value in each_seed.numbers(line).items())  # fmt: skip


@pytest.mark.parametrize("name, way", [
    ("test_loss", "min"), ("perplexity", "min"), ("train_time", "min"), ("wer", "min"), ("accuracy", "max"),
    ("mean_reward", "max"), ("f1", "max"), ("auc", "max"), ("gap", "none"), ("map_size", "max"), ("brier_score", "min"),
])  # fmt: skip
def test_a_direction_is_guessed_by_name(name: str, way: str):
    assert direction(name) == way


@pytest.mark.parametrize("code, first", [
    ("x = 1\n", 1), ('"""Doc."""\nx = 1\n', 3), ("#!/bin/sh\nx = 1\n", 3),
    ("from __future__ import annotations\nx = 1\n", 3),
    ('"""Doc\nmore."""\nfrom __future__ import annotations\n', 5), ("# a comment\nx = 1", 1), ("", 1),
])  # fmt: skip
def test_the_call_stands_before_everything_that_runs(code: str, first: int):
    lines = wrap(code).split("\n")
    assert lines[first - 1].startswith("import each_seed") and "each_seed.run()" in lines[first + 1]
    compile(wrap(code), "experiment.py", "exec")
