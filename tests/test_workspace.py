"""The store and the run: done once, stored whole, safe against kills, second writers and full disks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import workspace
from kit.archive import Archive, Record
from kit.schemas import Idea, KitError
from kit.store import Key, Steps, digest, load_json, save, save_json
from kit.workspace import Run

KEY = Key("ideas", "propose", "my_idea", 3)


def test_a_step_is_done_once(tmp_path: Path):
    done = []

    def do(intent):
        done.append(1)
        return {"answer": 42}

    first = Steps(tmp_path).once(KEY, "content", do)
    again = Steps(tmp_path).once(KEY, "content", do)
    assert (first.result, first.replayed) == ({"answer": 42}, False)
    assert (again.result, again.replayed, again.seconds) == ({"answer": 42}, True, first.seconds)
    assert len(done) == 1


def test_another_content_or_place_is_another_step(tmp_path: Path):
    steps = Steps(tmp_path)
    results = [
        steps.once(key, content, lambda _, n=n: n).result
        for n, (key, content) in enumerate([(KEY, "a"), (KEY, "b"), (KEY._replace(index=4), "a"),
                                            (KEY._replace(attempt=1), "a"), (KEY, "a")])
    ]  # fmt: skip
    assert results == [0, 1, 2, 3, 0]


def test_a_step_that_raises_was_not_done(tmp_path: Path):
    steps = Steps(tmp_path)
    with pytest.raises(RuntimeError):
        steps.once(KEY, "", lambda _: (_ for _ in ()).throw(RuntimeError("no")))
    assert steps.finished() == [] and not list(tmp_path.glob("intents/*"))
    assert steps.once(KEY, "", lambda _: "now").result == "now"


def test_a_result_that_is_no_good_any_more_is_made_anew(tmp_path: Path):
    steps = Steps(tmp_path)
    steps.once(KEY, "", lambda _: "old")
    assert steps.once(KEY, "", lambda _: "new", still_good=lambda r: r != "old").result == "new"


STEP_PROGRAM = """
import sys, time
from pathlib import Path
from kit.store import Key, Steps
folder, what = Path(sys.argv[1]), sys.argv[2]
def do(intent):
    with open(folder / "done.txt", "a") as file: file.write(what + "\\n")
    if what == "slow": time.sleep(60)
    time.sleep(0.3)
    return what
print(Steps(folder).once(Key("s", "v"), "", do).result)
"""


def start_step(folder: Path, what: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", STEP_PROGRAM, str(folder), what], stdout=subprocess.PIPE, text=True)


def test_two_processes_do_a_step_once(tmp_path: Path):
    children = [start_step(tmp_path, f"p{i}") for i in range(4)]
    said = {child.communicate(timeout=30)[0] for child in children}
    assert len(said) == 1
    assert len((tmp_path / "done.txt").read_text().splitlines()) == 1


def test_a_killed_step_is_done_again_and_says_so(tmp_path: Path):
    child = start_step(tmp_path, "slow")
    while not (tmp_path / "done.txt").exists():
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert list(tmp_path.glob("intents/*"))
    assert start_step(tmp_path, "fast").communicate(timeout=30)[0] == "fast\n"
    (step,) = Steps(tmp_path).finished()
    assert step["after_interruption"] is True
    assert not list(tmp_path.glob("intents/*"))


ORPHAN_PROGRAM = """
import sys, subprocess
from pathlib import Path
from kit.store import Key, Steps
folder = Path(sys.argv[1])
def do(intent):
    child = subprocess.Popen(["sleep", "60"], start_new_session=True, pass_fds=[intent.lock])
    intent.child(child.pid)
    (folder / "pid.txt").write_text(str(child.pid))
    child.wait()
Steps(folder).once(Key("s", "v"), "", do)
"""


def test_the_child_of_a_killed_run_is_ended_not_waited_for(tmp_path: Path):
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN_PROGRAM, str(tmp_path)])
    while not (tmp_path / "pid.txt").exists():
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    started = time.monotonic()
    assert Steps(tmp_path).once(Key("s", "v"), "", lambda _: "again").result == "again"
    assert time.monotonic() - started < 10
    orphan = Path("/proc") / (tmp_path / "pid.txt").read_text() / "stat"
    assert not orphan.exists() or ") Z " in orphan.read_text()


@given(st.text(), st.text())
def test_a_file_is_saved_whole(tmp_path_factory, old: str, new: str):
    file = tmp_path_factory.mktemp("save") / "file.txt"
    save(file, old.encode("utf-8", "surrogatepass"))
    save(file, new.encode("utf-8", "surrogatepass"))
    assert file.read_bytes() == new.encode("utf-8", "surrogatepass")
    assert [f.name for f in file.parent.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_the_old_file_stands(tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        save(small / "results.json", "good")
        with pytest.raises(KitError, match=r"disk is full.*results\.json"):
            save(small / "results.json", "x" * 200_000)
        assert (small / "results.json").read_text() == "good"
        assert [f.name for f in small.iterdir()] == ["results.json"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_broken_json_is_named(tmp_path: Path):
    (tmp_path / "ideas.json").write_text("{")
    with pytest.raises(KitError, match=r"ideas\.json is not JSON"):
        load_json(tmp_path / "ideas.json")


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


def idea(name: str, score: int = 5) -> Record:
    return Record(idea=Idea(Name=name, Title=name, Experiment="x", Interestingness=score, Feasibility=5, Novelty=5))


def test_a_persons_choice_survives_a_rerun(tmp_path: Path):
    run = Run(tmp_path)
    run.save_archive(Archive(records=[idea("one"), idea("two")]).choose("all"))
    for chosen in (False, True, False):  # clicks
        archive = run.archive()
        archive.records[0].chosen, archive.records[0].chosen_by = chosen, "person"
        assert run.save_archive(archive).records[0].chosen is chosen
    again = run.save_archive(Archive(records=[idea("one"), idea("two")]).choose("all"))
    assert [r.chosen for r in again.records] == [False, True]


@pytest.mark.parametrize(
    "rule, names", [("all", "abc"), ("best:1", "b"), ("best:2", "bc"), ("c, a", "ac"), ("novel", "ac")]
)
def test_rules_choose(rule: str, names: str):
    archive = Archive(records=[idea("a1"), idea("b1", 9), idea("c1", 7)])
    archive.records[1].novelty.verdict = "not novel" if rule == "novel" else "novel"
    rule = rule.replace("c, a", "c1, a1")
    assert {r.idea.Name[0] for r in archive.choose(rule).chosen()} == set(names)


def test_an_unknown_rule_names_the_ideas():
    with pytest.raises(KitError, match="a1"):
        Archive(records=[idea("a1")]).choose("bst:1")


def test_a_folder_of_another_template_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KIT_HOME", str(tmp_path))
    workspace.start_run("mine", "diffusion_2d", "offline")
    with pytest.raises(KitError, match="another run_dir"):
        workspace.start_run("mine", "nanogpt", "offline")


def test_the_same_parameters_give_the_same_folder():
    name = workspace.run_name("diffusion_2d", "openai/gpt-4o", seed=1, num_ideas=2)
    assert name == workspace.run_name("diffusion_2d", "openai/gpt-4o", num_ideas=2, seed=1)
    assert name != workspace.run_name("diffusion_2d", "openai/gpt-4o", seed=2, num_ideas=2)
    assert name.startswith("diffusion_2d-gpt-4o-")


def test_setting_aside_deletes_nothing(tmp_path: Path):
    for n in range(2):
        save_json(tmp_path / "run" / "run.json", {"n": n})
        workspace.set_aside(tmp_path / "run")
    assert [json.loads((tmp_path / f"run.old-{n}" / "run.json").read_text())["n"] for n in (1, 2)] == [0, 1]
