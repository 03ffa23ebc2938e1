"""The picker: the parameter is the truth, the widget edits it, and a click is on disk at once."""

import json
from pathlib import Path

import pytest
from conftest import HEARD

from kit.archive import Archive, Record
from kit.llm import connect
from kit.outcomes import Outcomes
from kit.schemas import Idea, Novelty
from kit.template import Template
from kit.widgets import CallView, IdeaPicker
from kit.workspace import Run

COMMON = {"outcomes": Outcomes(), "max_runs": 5}


def idea(name: str, interest: int = 5) -> Idea:
    return Idea(Name=name, Title=f"On <{name}>", Experiment="x", Interestingness=interest, Feasibility=5, Novelty=5)


def proposed(rule: str = "all") -> Archive:
    """What the notebook makes of its model each time that it runs."""
    records = [Record(idea=idea(name, score), novelty=Novelty(verdict="novel")) for name, score in
               [("one", 3), ("two", 8), ("three", 5)]]  # fmt: skip
    return Archive(records=records).choose(rule)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.save_archive(proposed())
    return run


def on_disk(run: Run) -> dict[str, dict]:
    return {r["idea"]["Name"]: r for r in json.loads((run.path / "ideas.json").read_text())["records"]}


def listed(picker: IdeaPicker) -> list[str]:
    return [name for row in picker.listing.children for name, known in picker.rows.items() if known is row]


def choices(run: Run) -> dict[str, tuple[bool, str]]:
    return {name: (r["chosen"], r["chosen_by"]) for name, r in on_disk(run).items()}


def test_showing_it_changes_nothing(run: Run):
    before = (run.path / "ideas.json").read_bytes()
    picker = IdeaPicker(run)
    for name in ("two", "three", "one"):
        picker.look_at(name)
    assert (run.path / "ideas.json").read_bytes() == before


def test_a_tick_is_saved_at_once_and_kept(run: Run):
    IdeaPicker(run).rows["one"].box.value = False
    assert choices(run) == {"one": (False, "person"), "two": (True, "all"), "three": (True, "all")}
    run.save_archive(proposed())  # the notebook runs again
    assert {name: row.box.value for name, row in IdeaPicker(run).rows.items()} == {
        "one": False, "two": True, "three": True}  # fmt: skip


def test_select_and_reject(run: Run):
    picker = IdeaPicker(run)
    picker.rows["two"].title.click()
    picker.reject.click()
    assert choices(run)["two"] == (False, "person") and not picker.rows["two"].box.value
    picker.select.click()
    assert choices(run)["two"] == (True, "person") and choices(run)["one"] == (True, "all")


def test_what_changed_on_disk_is_shown_and_not_taken_for_a_click(run: Run):
    picker = IdeaPicker(run)
    run.save_archive(proposed("two"))
    picker.draw()
    assert not picker.rows["one"].box.value and choices(run)["one"] == (False, "two")


def test_sorted_and_filtered(run: Run):
    picker = IdeaPicker(run)
    assert listed(picker) == ["one", "two", "three"]
    picker.sort.value = "most interesting"
    assert listed(picker) == ["two", "three", "one"]
    picker.least["Interestingness"].value = 5
    assert listed(picker) == ["two", "three"]
    picker.words.value = "THREE on"
    assert listed(picker) == ["three"]
    picker.words.value = "nothing like it"
    assert listed(picker) == [] and "No idea fits" in picker.listing.children[0].value


def test_an_edit_is_saved_with_who_made_it_and_survives(run: Run):
    picker = IdeaPicker(run)
    picker.fields["Title"].value = "A better title"
    picker.fields["Feasibility"].value = 9
    record = on_disk(run)["one"]
    assert (record["idea"]["Title"], record["idea"]["Feasibility"], record["edited_by"]) == (
        "A better title",
        9,
        "person",
    )
    assert record["novelty"]["verdict"] == "unchecked", "the verdict was on other words"
    again = run.save_archive(proposed())
    assert again.get("one").idea.Title == "A better title" and again.get("two").edited_by == ""
    picker.fields["Title"].value = "Better still"  # the latest edit wins
    assert on_disk(run)["one"]["idea"]["Title"] == "Better still"


def test_a_score_that_is_moved_leaves_the_verdict(run: Run):
    IdeaPicker(run).fields["Novelty"].value = 2
    assert on_disk(run)["one"]["novelty"]["verdict"] == "novel" and on_disk(run)["one"]["idea"]["Novelty"] == 2


def test_an_idea_cannot_be_without_a_title(run: Run):
    picker = IdeaPicker(run)
    picker.fields["Title"].value = ""
    assert on_disk(run)["one"]["idea"]["Title"] == "On <one>" == picker.fields["Title"].value


def test_your_own_idea_survives_and_gives_way_to_no_other(run: Run):
    picker = IdeaPicker(run)
    picker.wish.value = "Does the learning rate of the *first* step matter?"
    picker.add.click()
    name = "does_the_learning_rate_of_the_first_step"
    assert on_disk(run)[name]["origin"] == "person" and choices(run)[name] == (True, "person")
    assert picker.here == name and picker.wish.value == "" and name in listed(picker)
    assert name in [r.idea.Name for r in run.save_archive(proposed()).records]
    rival = proposed()
    rival.put(Record(idea=idea(name)))
    kept = run.save_archive(rival)
    assert kept.get(name).origin == "model" and kept.get(f"{name}_2").idea.Title.startswith("Does the learning")
    assert len(run.save_archive(rival).records) == 5


ADOPTED = idea("horizon").model_copy(update={"Title": "How Long a Memory?", "Experiment": "Double it."})
WISH = "Does a longer memory help?"


@pytest.fixture
def asking(run: Run, tmp_path: Path, script) -> IdeaPicker:
    """A picker that has a model to ask."""
    (tmp_path / "experiment.py").write_text("rate = 1\n")
    return IdeaPicker(run, connect(run, "test/any", "ideas", template=Template(name="t", path=tmp_path), **COMMON))


def test_a_model_brings_your_sentence_into_form(run: Run, asking: IdeaPicker, script):
    script.append(ADOPTED.model_dump_json())
    asking.wish.value = WISH
    asking.add.click()
    record = run.archive().records[-1]
    assert (record.idea, record.wish, record.origin) == (ADOPTED, WISH, "person")
    assert choices(run)["horizon"] == (True, "person") and len(run.archive().records) == 4
    assert asking.here == "horizon" and not asking.said.value and not asking.add.disabled
    assert listed(asking)[-1] == "horizon" and WISH in HEARD[0].messages[0]["content"]
    assert [r.wish for r in run.save_archive(proposed()).records] == ["", "", "", WISH], "it survives"


def test_the_sentence_is_on_disk_and_the_wait_announced_before_the_model_is_asked(run: Run, asking, monkeypatch):
    seen = []

    def look(prompt, reply, **values):
        seen.append((run.archive().records[-1].idea.Experiment, asking.said.value, asking.add.disabled))
        return ADOPTED

    monkeypatch.setattr(asking.chat, "ask", look)
    asking.add_own(WISH)
    ((saved, said, waits),) = seen
    assert saved == WISH and "test/any is bringing" in said and waits


def test_where_the_model_fails_the_sentence_stays_and_the_reason_is_shown(run: Run, asking: IdeaPicker, script):
    script += ["no", "no <b>", "no"]
    asking.add_own(WISH)
    assert run.archive().records[-1].idea.Experiment == WISH and choices(run)["does_a_longer_memory_help"][0]
    assert "saved as it stands" in asking.said.value and "3 times" in asking.said.value and not asking.add.disabled
    script.append(ADOPTED.model_dump_json())
    run.calls.folder.rename(run.path / "calls-of-then")  # the model has recovered
    asking.add_own(WISH)
    assert [r.idea.Name for r in run.archive().records] == ["one", "two", "three", "horizon"]


def test_the_sliders_start_at_the_thresholds(run: Run):
    picker = IdeaPicker(run, least=(5, 1, 1))
    assert picker.least["Interestingness"].value == 5 and listed(picker) == ["two", "three"]
    picker.least["Novelty"].value = 6
    picker.add_own("Is mine shown?")
    assert listed(picker) == ["is_mine_shown"], "one's own idea does not vanish as it is added"


@pytest.mark.parametrize("sentence", ["学習率は重要か。", "?", "A" * 300])
def test_any_sentence_makes_an_idea(run: Run, sentence: str):
    IdeaPicker(run).add_own(sentence)
    assert len(run.archive().records) == 4 and run.archive().records[-1].idea.Title.startswith(sentence[:5].rstrip("."))


def test_details_are_escaped(run: Run):
    assert "On &lt;one&gt;" in IdeaPicker(run).detail.value


def test_without_a_browser_there_is_a_table(run: Run):
    data = IdeaPicker(run)._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert "<table>" in data["text/html"] and "application/vnd.jupyter.widget-view+json" in data


def test_an_empty_archive_shows(tmp_path: Path):
    picker = IdeaPicker(Run(tmp_path))
    picker.select.click()
    assert picker.rows == {} and "No ideas" in picker.listing.children[0].value and not list(tmp_path.iterdir())


def test_a_call_can_be_picked_and_read(tmp_path: Path, script):
    (tmp_path / "experiment.py").write_text("rate = '<b>'\n")
    run, template = Run(tmp_path / "run"), Template(name="t", path=tmp_path)
    script.append(idea("one").model_dump_json())
    connect(run, "test/any", "ideas", template=template).ask(
        "ideas/propose", Idea, archive=Archive(), number=1, **COMMON
    )
    view = CallView(run)
    assert len(view.pick.options) == 2 and not view.said.value
    view.pick.value = 0
    assert "On &lt;one&gt;" in view.said.value and "Propose idea 1" in view.said.value
    assert "rate = &#x27;&lt;b&gt;&#x27;" in view.said.value
    bundle = view._repr_mimebundle_()
    assert "propose" in (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
