"""The picker: the parameter is the truth, the widget edits it, and a click is on disk at once."""

from pathlib import Path

from kit.archive import Archive, Record
from kit.schemas import Idea
from kit.widgets import IdeaPicker
from kit.workspace import Run


def archive(*names: str) -> Archive:
    ideas = [
        Idea(Name=n, Title=f"On <{n}>", Experiment="x", Interestingness=5, Feasibility=5, Novelty=5) for n in names
    ]
    return Archive(records=[Record(idea=idea) for idea in ideas])


def test_a_click_is_saved_at_once_and_kept(tmp_path: Path):
    run = Run(tmp_path)
    run.save_archive(archive("one", "two").choose("all"))
    picker = IdeaPicker(run)
    picker.rows[0].children[0].value = False
    assert [(r.chosen, r.chosen_by) for r in run.archive().records] == [(False, "person"), (True, "all")]
    run.save_archive(archive("one", "two").choose("all"))  # the notebook runs again
    assert [box.children[0].value for box in IdeaPicker(run).rows] == [False, True]


def test_details_are_escaped(tmp_path: Path):
    run = Run(tmp_path)
    run.save_archive(archive("one"))
    assert "On &lt;one&gt;" in IdeaPicker(run).detail.value


def test_without_a_browser_there_is_a_table(tmp_path: Path):
    run = Run(tmp_path)
    run.save_archive(archive("one"))
    data = IdeaPicker(run)._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert "<table>" in data["text/html"] and "application/vnd.jupyter.widget-view+json" in data


def test_an_empty_archive_shows(tmp_path: Path):
    assert IdeaPicker(Run(tmp_path)).rows == []
