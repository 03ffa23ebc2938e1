"""The scripted scientist's prose for whatever comes out, and the pictures around it."""

import importlib.util
import itertools
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageDraw

from kit import latex, offline, results
from kit.letters import prose
from kit.offline import paper, revision
from kit.paper import title
from kit.schemas import Arm, Caption, Captions, Idea, KitError, Margin, Number, Plan, Problem, Reference
from kit.store import save_json
from kit.template import Metric, Template, load_template

HAS_TEX = bool(shutil.which("tectonic") or (shutil.which("latexmk") and shutil.which("pdflatex")))
SECTIONS = ["abstract", "introduction", "related_work", "background", "method", "experimental_setup", "results",
            "conclusion"]  # fmt: skip
UP, DOWN, SAME, LITTLE = 0.2, -0.2, 0.0, 1e-4  # shifts of a run; the lower the better
BASES = {"eval_loss": 0.5, "kl_divergence": 0.3}
BARE = Template(name="nano_gpt", path=Path(), task_description="We train a small transformer. It is quick. Be bold!")
ARMS = [
    Arm(name="half", title="Half the rate", change="Steps are shorter", prediction="Loss rises & stays"),
    Arm(name="double", title="Double the rate", change="Steps are longer.", prediction="The loss falls."),
    Arm(name="control", title="Shuffled_rates", role="control", start_from="half", change="The same mean.",
        prediction="Nothing happens."),
]  # fmt: skip
# A name for what came out → the shifts of each run on each dataset; None is a run that failed.
OUTCOMES: dict[str, list[tuple[float, ...] | None]] = {
    "better": [(DOWN, DOWN), (DOWN, SAME), (SAME, SAME)],
    "control_better": [(DOWN, DOWN), (DOWN, DOWN), (DOWN, DOWN)],
    "worse": [(UP, UP), (UP, SAME), (SAME, UP)],
    "mixed": [(UP, DOWN), (DOWN, DOWN), (UP, SAME)],
    "inconclusive": [(LITTLE, SAME), (SAME, LITTLE), (SAME, SAME)],
    "barely": [(DOWN, SAME), (SAME, SAME), (SAME, SAME)],
    "one_failed": [(DOWN, UP), None, (SAME, SAME)],
    "one_run": [(DOWN, DOWN)],
    "one_dataset": [(DOWN,), (UP,), (SAME,)],
}


class Scene:
    """An idea whose runs came out in some way, as the writer of its paper finds it."""

    def __init__(self, folder: Path, shifts: list[tuple[float, ...] | None], template: Template | None = None,
                 seeds: int = 4, seeds_of_baseline: int = 4, margins: Sequence[Margin] = (), **more: Any):  # fmt: skip
        self.template = template or load_template("diffusion_2d")
        arms = ARMS[: len(shifts)]
        plan = Plan(question="Does the rate matter?", arms=arms, margins=list(margins))
        self.labels = {"run_0": "Baseline"}
        width = len(next(shift for shift in shifts if shift))
        self.write(folder / "run_0", (SAME,) * width, seeds_of_baseline)
        for number, (arm, shift) in enumerate(zip(arms, shifts, strict=True), 1):
            if shift:
                self.write(folder / f"run_{number}", shift, seeds)
                self.labels[f"run_{number}"] = arm.title
        self.ledger = results.build_ledger(folder, self.labels, self.template, plan=plan, **more)
        figures = [Caption(file=f"{name}.png", caption=prose(f"{name} & all.")) for name in ("loss_curves", "metrics")]
        self.values: dict[str, Any] = {
            "template": self.template, "plan": plan, "ledger": self.ledger,
            "idea": Idea(Name="rate", Title="The Rate", Hypothesis="The rate decides_all", Experiment="Vary it.",
                         Metric="kl_divergence", Interestingness=5, Feasibility=5, Novelty=5),
            "notes": "".join(f"## run_{n}: {arm.title}\n" for n, arm in enumerate(arms, 1)),
            "probes": {}, "figures": figures, "tables": list(results.tables(self.ledger)),
            "references": [Reference(key="henderson2018deep", title="Deep Reinforcement Learning that Matters",
                                     purpose="Shows how far results move with the random seed alone.")],
        }  # fmt: skip

    @staticmethod
    def write(run: Path, shifts: tuple[float, ...], seeds: int) -> None:
        info, number = {}, int(run.name[-1])
        wobble = (
            0.01 * np.resize([1, -1, 0.5, -0.5], seeds) * (-1) ** number * (1 + number)
        )  # even: no shift of its own
        for dataset, shift in zip(("dino", "two_moons"), shifts, strict=False):
            values = {m: (base + shift + wobble).tolist() for m, base in BASES.items()}
            times = {"train_time": 3.25, "inference_time": 1.5}
            info[dataset] = {"means": {m: float(np.mean(v)) for m, v in values.items()} | times, "seeds": values}
        save_json(run / "final_info.json", info)

    def sections(self, names: list[str] = SECTIONS) -> dict[str, str]:
        """Every section, as it comes out of a chat."""
        made: dict[str, str] = {}
        for name in names:
            reply = paper.draft({**self.values, "together": [name], "written": made}, random.Random(0))
            made |= latex.Draft.parse(str(reply)).named([name])
        return made

    def problems(self, made: dict[str, str]) -> list[Problem]:
        """What the build would say, with no number allowed but those of the ledger."""
        heads = {name: rf"\section{{{title(name)}}}" for name in made}
        tex = "\n".join(f"{heads[name]}\n{body}" for name, body in made.items())
        pairs = {(f"{c.dataset}/{c.metric}", *ends) for c in self.ledger.comparisons
                 for ends in ((c.run, c.baseline), (c.baseline, c.run))}  # fmt: skip
        verdicts = {(f"{c.dataset}/{c.metric}", c.run, c.baseline): c.verdict for c in self.ledger.comparisons}
        files, tables = [figure.file for figure in self.values["figures"]], self.values["tables"]
        found = latex.check(tex, keys={n.key for n in self.ledger.numbers}, comparisons=pairs, figures=files,
                            tables=tables, citations={r.key for r in self.values["references"]})  # fmt: skip
        unseen = latex.unseen(tex, files, tables) if "results" in made else []
        return [*found, *latex.claims(tex, verdicts), *unseen]


def must_read_well(made: dict[str, str]) -> None:
    """No slip that a script makes and a person does not."""
    for name, text in made.items():
        plain = re.sub(r"\$[^$]*\$|\\begin\{equation\}.*?\\end\{equation\}", "x", text, flags=re.DOTALL)
        slips = re.findall(
            r".{0,30}(?:\b1 times|\b0 times|\bNone\b|<<|>>|<%|%>|data sets?\b|[^.]\.\.[^.]|\s[,;.]\s|,,|\(\)|"
            r"\bone are\b|\bdatasets? is\b|(?<!\be\.g)[.?!]\s+[a-z]|[.!?][A-Z]|\bis and\b|\bno planned).{0,30}",
            re.sub(r"\\(?:val|cmp|ref|label|includegraphics)\*?(?:\[[^\]]*\])?(?:\{[^{}]*\})+", "X", plain),
        )
        assert not slips, (name, slips)
        assert all(line == line.rstrip() for line in text.splitlines())


# --- prose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_can_be_told(outcome: str, tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES[outcome])
    made = scene.sections()
    assert scene.problems(made) == []
    must_read_well(made)


@pytest.mark.parametrize("kind", ["no_direction", "one_seed", "flagged", "all_flagged", "welch"])
def test_what_cannot_be_compared_is_told_as_well(kind: str, tmp_path: Path):
    shifts = OUTCOMES["mixed"]
    scene = {
        "no_direction": lambda: Scene(tmp_path, shifts, BARE),
        "one_seed": lambda: Scene(tmp_path, shifts, seeds=1, seeds_of_baseline=1),
        "flagged": lambda: Scene(tmp_path, shifts, flagged={"run_2": ["experiment.py:evaluate"]}),
        "all_flagged": lambda: Scene(tmp_path, shifts[:1], flagged={"run_1": ["experiment.py:evaluate"]}),
        "welch": lambda: Scene(tmp_path, shifts, seeds=5),
    }[kind]()
    made = scene.sections()
    assert scene.problems(made) == []
    must_read_well(made)
    said = " ".join(made.values())
    reason = {"no_direction": "no direction is declared", "one_seed": "fewer than two seeds", "welch": "Welch",
              "flagged": "changed what measures it", "all_flagged": "changed what measures it"}[kind]  # fmt: skip
    assert reason in said
    assert (r"\cmp{" in said) == (kind in ("flagged", "welch"))
    assert ("seed by seed" in said) == (kind == "flagged")


def test_a_run_that_was_not_needed_did_not_fail(tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES["one_failed"])
    made = scene.sections()
    assert "One further run could not be made to work." in made["abstract"]
    assert "Of three planned runs two ended well." in made["experimental_setup"]
    scene.values["notes"] = ""
    made = scene.sections()
    assert "had settled the question" in made["method"] and "made to work" not in " ".join(made.values())


def test_a_probe_is_told_with_its_numbers(tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES["mixed"])
    scene.ledger.numbers.append(
        Number(key="probe_1/run_2_beats_run_0/eval_loss", value=0.75, run="probe_1", dataset="", metric="",
               statistic="probe", file="probes/probe_1/probe.json", pointer="/run_2_beats_run_0~1eval_loss")
    )  # fmt: skip
    scene.values["probes"] = {"probe_1": "On what share of seeds?"}
    made = scene.sections()
    assert scene.problems(made) == []
    must_read_well(made)
    told = (
        r"On what share of seeds? We find: Double the rate beats Baseline by evaluation loss, \val{probe_1/run_2_beats"
    )
    assert told in made["results"]
    assert "{0.7500}{--}" in results.provenance(scene.ledger, ["probe_1/run_2_beats_run_0/eval_loss"])


def test_sections_stand_without_the_others(tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES["mixed"])
    scene.values |= {"figures": [], "references": []}
    for name in SECTIONS:
        assert scene.problems(scene.sections([name])) == []
    with pytest.raises(KitError, match=r"no words for a section 'poem'\. It knows: abstract"):
        scene.sections(["poem"])


def test_a_reader_is_told_once_what_the_experiment_is(tmp_path: Path):
    said = " ".join(Scene(tmp_path, OUTCOMES["better"]).sections().values())
    about = load_template("diffusion_2d").about
    assert said.count(about[:60]) == 1 and "every edit" not in said and "Good questions" not in said
    said = " ".join(Scene(tmp_path, OUTCOMES["better"], BARE).sections().values())
    assert said.count("We train a small transformer. It is quick.") == 1 and "Be bold" not in said


def test_counts_and_outcomes_are_told_in_words(tmp_path: Path):
    story = paper.Story(Scene(tmp_path, OUTCOMES["mixed"]).values)
    assert story.cast() == "two variants and one control" and story.claim == r"The rate decides\_all."
    assert story.tally("run_1") == "Of four comparisons with the baseline, two are better and two are worse."
    assert story.tally("run_2") == "All four comparisons with the baseline are better."
    assert story.by_metric("run_1") == (
        r"By evaluation loss it is better on two\_moons and worse on dino; "
        r"by KL divergence it is better on two\_moons and worse on dino."
    )
    assert story.by_metric("run_2").startswith("By evaluation loss it is better on both datasets")
    ahead, both, behind = sorted(story.standing())
    assert ahead == r"\emph{Double the rate} is ahead of the baseline wherever a difference can be told"
    assert "Half the rate" in both and "ahead of the baseline in some comparisons" in both, behind


def test_the_clearest_difference_is_in_the_metric_that_decides(tmp_path: Path):
    story = paper.Story(Scene(tmp_path, OUTCOMES["mixed"]).values)
    clearest = story.clearest()
    assert clearest and clearest.metric == "kl_divergence" and clearest.verdict != "inconclusive"
    nothing = paper.Story(Scene(tmp_path, OUTCOMES["inconclusive"]).values)
    nearest = nothing.clearest("run_1")
    assert nearest and nearest.verdict == "inconclusive" and nothing.by_chance()


def test_what_is_equivalent_is_called_so_and_not_a_null_result(tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES["inconclusive"], margins=[Margin(metric=m, size=40) for m in BASES])
    assert {c.verdict for c in scene.ledger.comparisons if c.low is not None} == {"equivalent"}
    made = scene.sections()
    assert not [p for p in scene.problems(made) if p.kind != "citation"]
    assert r"\val{summary/equivalent} equivalent" in made["abstract"] and "null result" not in made["abstract"]
    assert "as good as the baseline, up to the margin" in made["abstract"]
    assert r"\val{plan/margin/kl_divergence}" in made["experimental_setup"]
    some = Scene(tmp_path / "some", OUTCOMES["mixed"], margins=[Margin(metric=m, size=40) for m in BASES])
    assert not [p for p in some.problems(some.sections()) if p.kind != "citation"]
    assert "one is equivalent" in paper.Story(some.values).tally("run_3") or "equivalent" in some.sections()["results"]


def test_a_control_that_is_ahead_is_held_against_the_claim(tmp_path: Path):
    made = Scene(tmp_path, OUTCOMES["control_better"]).sections()
    assert "is a control, and it is ahead all the same" in made["results"]
    assert "has not been shown to be the cause" in made["conclusion"]


def test_few_verdicts_are_held_against_chance(tmp_path: Path):
    assert "no surprise if nothing has an effect" in Scene(tmp_path, OUTCOMES["barely"]).sections()["abstract"]
    scene = Scene(tmp_path, OUTCOMES["better"])
    assert not paper.Story(scene.values).by_chance() and "no surprise" not in scene.sections()["abstract"]


def test_a_number_in_a_plan_is_mended_into_words():
    text = r"Rate 0.1 on \val{run_1/mod 0.1/loss}, 12 of 12 steps, version_12 and 250."
    mended = text
    for number in ("0.1", "12", "250"):
        mended = revision.mend(mended, "literal number", f"The number {number} in Results is typed, not")
    assert mended == (
        r"Rate zero point one on \val{run_1/mod 0.1/loss}, twelve of twelve steps, version_12 and two five zero."
    )


@pytest.mark.skipif(not HAS_TEX, reason="there is no TeX on this machine")
@pytest.mark.parametrize("kind", ["mixed", "no_direction"])
def test_the_paper_compiles(kind: str, tmp_path: Path):
    scene = Scene(tmp_path, OUTCOMES["mixed"], BARE if kind == "no_direction" else None)
    made, folder = scene.sections(), tmp_path / "paper"
    for name, table in results.tables(scene.ledger).items():
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "tables" / f"{name}.tex").write_text(table)
    for figure in scene.values["figures"]:
        (folder / "figures").mkdir(exist_ok=True)
        Image.new("RGB", (400, 200), "navy").save(folder / "figures" / figure.file)
    (folder / "numbers.tex").write_text(results.macros(scene.ledger))
    (folder / "references.bib").write_text("@misc{henderson2018deep, title={T}, author={A}, year={2018}}")
    sections = {title(name): body for name, body in made.items() if name != "abstract"}
    used = latex.used_keys("\n".join(made.values()))
    latex.assemble(folder, title="T", authors="A", notice="", abstract=made["abstract"], sections=sections,
                   appendix=results.provenance(scene.ledger, used))  # fmt: skip
    build = latex.compile(folder)
    assert build.ok and not [p for p in build.problems if p.kind != "chktex"], build.problems


# --- captions and figures -----------------------------------------------------------------------


def test_a_caption_says_what_the_code_says(tmp_path: Path):
    ledger = Scene(tmp_path, OUTCOMES["one_run"]).ledger
    code = (load_template("diffusion_2d").path / "plot.py").read_text(encoding="utf-8")
    drawing = SimpleNamespace(code=code, figures=["samples.png", "loss_x.png"])
    ask: dict[str, Any] = {"labels": ledger.runs, "drawing": drawing, "probes": []}
    reply = offline.experiments.caption(ask, random.Random(0))
    samples, loss = Captions.model_validate(reply).figures
    assert samples.caption.startswith("The data in the first column") and "Runs:" not in samples.caption
    assert loss.caption == "Loss x. The loss along training, for each run."
    foreign = offline.experiments.caption(
        ask | {"drawing": SimpleNamespace(code="def f(:", figures=["samples.png"])}, random.Random(0)
    )
    assert foreign.figures[0].caption.endswith("Runs: run_0 is Baseline and run_1 is Half the rate.")


@pytest.fixture(scope="module")
def plot() -> ModuleType:
    """plot.py of the diffusion template."""
    spec = importlib.util.spec_from_file_location("plot", load_template("diffusion_2d").path / "plot.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_ticks_do_not_touch(plot: ModuleType, seed: int):
    rng = np.random.default_rng(seed)
    fig, axes = plt.subplots(1, 4, figsize=(5.5, 1), sharey=True, layout="constrained")
    fig.draw_without_rendering()
    for ax in axes:
        low = rng.normal() * 10.0 ** rng.integers(-3, 3)
        ax.set_xlim(low, low + abs(low) * 10.0 ** rng.integers(-4, 2))
        plot.place_ticks(ax)
    fig.canvas.draw()
    boxes = [label.get_window_extent() for ax in axes for label in ax.get_xticklabels()]
    counts = [len(ax.get_xticks()) for ax in axes]
    plt.close(fig)
    assert max(counts) <= 2, counts
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes)), boxes


def test_pages_keep_their_colours(tmp_path: Path):
    colours = ["#0072B2", "#009E73", "#CC79A7", "#D55E00", "#1c4878"]
    page = Image.new("RGB", (850, 1100), "white")
    pen = ImageDraw.Draw(page)
    for place, colour in enumerate(colours):
        pen.rectangle((100, 100 * place, 180, 100 * place + 60), fill=colour)
    for x in range(400):  # many more colours than a palette holds
        pen.line((300 + x, 600, 300 + x, 900), fill=(x % 256, (3 * x) % 256, (7 * x) % 256))
    page.save(tmp_path / "page.pdf", resolution=100, quality=100)
    [file] = latex.pages(tmp_path / "page.pdf", tmp_path / "pages", dpi=100)
    with Image.open(file) as shown:
        found = [shown.convert("RGB").getpixel((140, 100 * place + 30)) for place in range(len(colours))]
    for colour, seen in zip(colours, found, strict=True):
        wanted = tuple(bytes.fromhex(colour[1:]))
        assert max(abs(a - b) for a, b in zip(wanted, seen, strict=True)) < 20, (colour, seen)


def test_metrics_are_called_by_their_labels(tmp_path: Path):
    made = Scene(tmp_path, OUTCOMES["better"]).sections()
    assert "evaluation loss and KL divergence" in made["abstract"]
    prose = re.sub(r"\\(?:val|cmp)(?:\{[^{}]*\})+", "", " ".join(made.values()))
    assert not re.search(r"eval.{1,2}loss|kl.{1,2}div", prose)
    template = Template(name="t", path=tmp_path, metrics={"eval_loss": Metric(direction="min", headline=True)})
    assert "by eval loss" in Scene(tmp_path, OUTCOMES["better"], template).sections()["abstract"]
