"""The archive: ideas that ask the same, sentences of a person, and who chooses what."""

from pathlib import Path

from model_server import ModelServer

from kit.archive import Archive, Record
from kit.llm import trace
from kit.offline.worked import worked_ideas
from kit.pipeline import run_stage
from kit.schemas import Idea
from kit.template import load_template
from kit.workspace import Run


def idea(name: str, score: int = 5) -> Record:
    return Record(idea=Idea(Name=name, Title=name, Experiment="x", Interestingness=score, Feasibility=5, Novelty=5))


def test_no_rule_chooses_a_twin_but_all():
    archive = Archive(records=[idea("a1"), idea("b1", 9)])
    archive.records[1].twin_of = "a1"
    for rule, names in {
        "novel": ["a1"],
        "threshold": ["a1"],
        "best:2": ["a1"],
        "all": ["a1", "b1"],
        "b1": ["b1"],
    }.items():
        assert [r.idea.Name for r in archive.choose(rule).chosen()] == names, rule
    assert "twin" in archive._repr_html_() and "asks nearly the same as a1" in archive.records[1]._repr_html_()


def test_thresholds_choose_and_are_on_record():
    archive = Archive(records=[idea("a1", 4), idea("b1", 6), idea("c1", 9), idea("d1", 9)])
    archive.records[2].novelty.verdict = "not novel"
    assert [r.idea.Name for r in archive.choose("threshold", (6, 5, 5)).chosen()] == ["b1", "d1"]
    assert archive.records[0].chosen_by == "threshold (Interestingness ≥ 6, Feasibility ≥ 5, Novelty ≥ 5)"
    assert archive.choose("threshold", (6, 6, 5)).chosen() == []


def test_the_best_are_first_of_all_not_old():
    archive = Archive(records=[idea("a1", 9), idea("b1", 2), idea("c1", 3)])
    archive.records[0].novelty.verdict = "not novel"
    assert [r.idea.Name for r in archive.choose("best:2").chosen()] == ["b1", "c1"]
    assert len(archive.choose("best:3").chosen()) == 3


def in_other_words() -> tuple[list[Idea], list[Idea]]:
    """Ideas of the real template, and the same ones as another would put them."""
    worked = [worked.idea for worked in worked_ideas(load_template("diffusion_2d")).values()]
    told = {
        "noise_budget": ("Cosine or Linear? How the Noise Schedule Shapes Low-Dimensional Diffusion",
            "Replace the linear schedule by the cosine schedule of Nichol and Dhariwal, with the same number of steps, "
            "network and budget; then one that is linear in log SNR, and a control with a smaller first step."),
        "prediction_target": ("Velocity Prediction for Tiny Denoisers",
            "Train the network to predict v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0, turn it into noise for "
            "sampling, and compare with the prediction of noise and of the clean point x_0."),
        "loss_weighting": ("Weighting the Denoising Loss by Signal-to-Noise Ratio",
            "Weight each example by min(SNR, 5) / SNR and compare with equal weights; a control reverses the weights "
            "in time, an ablation takes the threshold 1."),
    }  # fmt: skip
    again = [Idea(Name=f"my_{n}", Title=title, Experiment=what, Interestingness=5, Feasibility=5, Novelty=5)
             for n, (title, what) in enumerate(told.values())]  # fmt: skip
    return [idea for name in told for idea in worked if idea.Name == name], again


def test_the_same_idea_in_other_words_is_a_twin():
    ideas, again = in_other_words()
    archive, known = Archive(), load_template("diffusion_2d").seed_ideas
    for one in ideas:
        assert archive.add(one, known=known).twin_of == ""
    for one, other in zip(again, ideas, strict=True):
        assert archive.add(one, known=known).twin_of == other.Name


def test_the_ideas_that_ship_are_no_twins_of_each_other():
    template = load_template("diffusion_2d")
    archive = Archive()
    for one in [*template.seed_ideas, *(worked.idea for worked in worked_ideas(template).values())]:
        assert not archive.add(one).twin_of


def test_an_idea_is_no_twin_of_itself_and_has_one_in_its_copy():
    one = idea("warmup").idea
    archive = Archive()
    archive.add(one)
    assert archive.twin(one) is None
    assert archive.twin(one.model_copy()) == one == Archive().twin(one.model_copy(), [one])


def test_a_wish_is_known_again_in_other_words():
    former = Archive()
    former.add(idea("does_it_help").idea, wish="Does it help?")
    former.records[0].chosen, former.records[0].chosen_by = True, "person"
    now = Archive()
    now.add(idea("helpfulness").idea, wish="Does it help?")
    now.keep_choices(former)
    assert [(r.idea.Name, r.chosen, r.chosen_by) for r in now.records] == [("helpfulness", True, "person")]


def test_a_twin_goes_back_to_the_model_and_stays_marked_if_it_stays_one(tmp_path: Path):
    server = ModelServer()  # it knows one idea only, and is always done
    try:
        run_stage("ideas", tmp_path / "copy.ipynb", run_dir=str(tmp_path / "run"), template="tests/mini",
                  model=f"{server.url}/v1#stubborn", num_ideas=2, num_reflections=3, num_novelty_rounds=1)  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    run = Run(tmp_path / "run")
    records = run.archive().records
    assert [(r.twin_of, r.chosen) for r in records] == [("", True), ("bigger_steps", False)]
    looks = [str(call) for call in trace(run) if call.title.startswith("ideas/reflect")]
    assert len(looks) == 4, "the first idea ends when the model is done, its twin after the last look"
    assert ["It is close to `bigger_steps`" in look for look in looks] == [False, True, True, True]
    assert ["the last, so" in look for look in looks] == [False, False, False, True]
