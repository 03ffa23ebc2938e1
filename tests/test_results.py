"""From final_info.json to numbers that a paper may use: read, compared, printed, and traced."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdfium2 import PdfDocument
from scipy import stats

from kit import latex, results
from kit.results.numbers import digits, plain, show_comparison, show_effect, show_measured, show_number
from kit.results.statistics import judge, paired_t, welch
from kit.schemas import Arm, Comparison, KitError, Margin, NewMetric, Plan, Weight, Yardstick
from kit.store import save_json
from kit.template import Metric, Preset, Template

HAS_TEX = bool(shutil.which("tectonic") or (shutil.which("latexmk") and shutil.which("pdflatex")))
needs_tex = pytest.mark.skipif(not HAS_TEX, reason="there is no TeX on this machine")

OURS = [0.312, 0.287, 0.334, 0.301, 0.295]
THEIRS = [0.352, 0.341, 0.349, 0.330, 0.367]
LOSS = Metric(direction="min", label="Loss", headline=True)


def sample(values: list[float]) -> results.measured.Sample:
    found = measured(values).sample("loss")
    assert found is not None
    return found


def measured(values: list[float], **more: Any) -> results.Measured:
    return results.Measured(means={"loss": sum(values) / len(values)}, seeds={"loss": values}, **more)


def compare(ours: results.Measured, theirs: results.Measured, about: Metric = LOSS) -> Comparison:
    return results.compare(ours, theirs, "loss", about, dataset="d", run="run_1", baseline="run_0")


# --- statistics ---------------------------------------------------------------------------------


def test_the_paired_interval_is_that_of_scipy():
    reference = stats.ttest_rel(OURS, THEIRS)
    interval = reference.confidence_interval(0.9)
    low, high, effect, p = paired_t(OURS, THEIRS, 0.9) or ()
    assert (low, high, p) == pytest.approx((interval.low, interval.high, reference.pvalue), rel=1e-10)
    differences = [a - b for a, b in zip(OURS, THEIRS, strict=True)]
    assert effect == pytest.approx(reference.statistic / math.sqrt(5)) == sum(differences) / 5 / stats.tstd(differences)


@pytest.mark.parametrize("theirs", [THEIRS, [*THEIRS, 0.5, 0.2, 0.4]])
def test_the_interval_of_welch_is_that_of_scipy(theirs: list[float]):
    reference = stats.ttest_ind(OURS, theirs, equal_var=False)
    interval = reference.confidence_interval(0.95)
    low, high, _, p = welch(sample(OURS), sample(theirs), 0.95) or ()
    assert (low, high, p) == pytest.approx((interval.low, interval.high, reference.pvalue), rel=1e-10)


def test_means_with_standard_errors_are_compared_where_the_number_of_seeds_is_declared():
    known = {"means": {"loss": 0.30}, "stderrs": {"loss": 0.02}, "num_seeds": 4}
    other = {"means": {"loss": 0.40}, "stderrs": {"loss": 0.03}, "num_seeds": 6}
    c = compare(results.Measured(**known), results.Measured(**other))
    reference = stats.ttest_ind_from_stats(0.30, 0.02 * 2, 4, 0.40, 0.03 * 6**0.5, 6, equal_var=False)
    assert c.p_value == pytest.approx(reference.pvalue) and (c.method, c.n, c.verdict) == ("Welch", 4, "better")
    c = compare(results.Measured(**known | {"num_seeds": 1}), results.Measured(**other))
    assert c.verdict == "not comparable" and "number of seeds" in c.reason


@pytest.mark.parametrize(
    ("low", "high", "direction", "verdict"),
    [
        (-2, -1, "min", "better"), (-2, -1, "max", "worse"), (1, 2, "min", "worse"), (1, 2, "max", "better"),
        (-1, 2, "min", "inconclusive"), (0, 1, "max", "inconclusive"), (-1, 0, "min", "inconclusive"),
        (0, 0, "min", "identical"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_interval_and_direction(low: float, high: float, direction: str, verdict: str):
    assert judge(low, high, direction) == verdict


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (-1, 2, 2.1, "equivalent"), (-1, 2, 2, "inconclusive"), (-3, 2, 2.1, "inconclusive"), (0, 1, 2, "equivalent"),
        (1, 2, 3, "worse"), (0, 0, 3, "identical"), (-1, 2, 0, "inconclusive"),
    ],
)  # fmt: skip
def test_what_is_not_decided_is_equivalent_within_a_margin(low: float, high: float, margin: float, verdict: str):
    assert judge(low, high, "min", margin) == judge(-high, -low, "max", margin) == verdict


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=3, max_size=9), st.floats(0.01, 0.5))
def test_equivalent_is_what_two_one_sided_tests_say(pairs: list[tuple[float, float]], share: float):
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    place = {"dataset": "d", "run": "run_1", "baseline": "run_0"}
    margin = Margin(metric="loss", size=100 * share)
    c = results.compare(measured(ours), measured(theirs), "loss", LOSS, margin=margin, **place)
    if c.low is None or not c.margin or min(abs(abs(end) - c.margin) for end in (c.low, c.high)) < 1e-9:
        return
    differences = [a - b for a, b in pairs]
    above = stats.ttest_1samp(differences, -c.margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, c.margin, alternative="less").pvalue
    near = max(above, below) < (1 - results.CONFIDENCE) / 2
    assert (c.verdict == "equivalent") == (near and c.low <= 0 <= c.high and c.low < c.high)


def test_pairs_decide_what_separate_runs_do_not():
    close = [value + shift for value, shift in zip(THEIRS, (-0.006, -0.005, -0.007, -0.006, -0.005), strict=True)]
    assert compare(measured(close), measured(THEIRS)).method == "paired t"
    assert compare(measured(close), measured(THEIRS)).verdict == "better"
    assert compare(measured(close), measured(THEIRS[:4])).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("ours", "theirs", "about", "reason"),
    [
        ([0.3], [0.4], LOSS, "fewer than two seeds"),
        ([0.3, 0.4], [0.4], LOSS, "fewer than two seeds"),
        (OURS, THEIRS, Metric(), "declares no direction"),
        ([0.3] * 3, [0.4] * 3, LOSS, "do not vary"),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], LOSS, "do not vary"),  # the same difference, up to rounding
        ([0.3] * 3, [0.4] * 2, LOSS, "do not vary"),
    ],
)
def test_without_direction_or_spread_there_is_no_verdict(ours: list, theirs: list, about: Metric, reason: str):
    c = compare(measured(ours), measured(theirs), about)
    assert c.verdict == "not comparable" and reason in c.reason
    assert (c.low, c.high, c.p_value, c.method) == (None, None, None, "none")
    assert c.difference == pytest.approx(sum(ours) / len(ours) - sum(theirs) / len(theirs))


def test_what_did_not_change_at_all_is_identical():
    c = compare(measured(OURS), measured(OURS))
    assert (c.verdict, c.low, c.high, c.p_value) == ("identical", 0, 0, 1)
    missing = results.compare(measured(OURS), measured(OURS), "other", LOSS, dataset="d", run="run_1", baseline="run_0")
    assert "missing" in missing.reason


# --- final_info.json ----------------------------------------------------------------------------


def write(folder: Path, run: str, info: Any) -> Path:
    (folder / run).mkdir(parents=True, exist_ok=True)
    text = info if isinstance(info, str) else json.dumps(info)
    (folder / run / "final_info.json").write_text(text)
    return folder / run


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no datasets"),
        ({"d": {"stderrs": {}}}, "'d' has no means"),
        ({"d": {"means": [1]}}, "'d' has no means"),
        ('{"d": {"means": {"loss": NaN}}}', "d/means/loss is nan; the run diverged"),
        ('{"d": {"means": {"loss": -Infinity}}}', "d/means/loss is -inf"),
        ({"d": {"means": {"loss": "0.3"}}}, "d/means/loss is '0.3'; expected a number"),
        ({"d": {"means": {"loss": True}}}, "d/means/loss is True"),
        ({"d": {"means": {"loss": 1}, "stderrs": {"loss": None}}}, "d/stderrs/loss is None"),
        ({"d": {"means": {"loss": 1}, "seeds": {"loss": 1}}}, "d/seeds/loss is not a list"),
        ({"d": {"means": {"loss": 1}, "seeds": [1, 2]}}, "d/seeds is no object"),
        ('{"d": {"means": {"loss": 1}, "seeds": {"loss": [1, NaN]}}}', "d/seeds/loss is nan"),
        ({"d": {"means": {"loss": 1}, "seeds": {"loss": [1, 2]}}}, "the values of its seeds average to 1.5"),
        ({"d→": {"means": {"loss": 1}}, "d←": {"means": {"loss": 1}}}, "differ in signs alone"),
    ],
)
def test_what_is_wrong_with_a_result_is_named(tmp_path: Path, info: Any, words: str):
    folder = write(tmp_path, "run_0", info)
    with pytest.raises(KitError) as error:
        results.read_final_info(folder)
    assert words in str(error.value) and "final_info.json" in str(error.value)


def test_a_missing_result_is_named(tmp_path: Path):
    with pytest.raises(KitError, match="was not written"):
        results.read_final_info(tmp_path)


def test_the_variants_of_the_public_templates_are_read(tmp_path: Path):
    info = {"enwik8": {
        "means": {"val_loss_mean": 1.0, "time_mean": 60.0}, "stderrs": {"val_loss_stderr": 0.03, "time_stderr": 1.0},
        "final_info_dict": {"val_loss": [0.9, 1.0, 1.1], "time": [0.1, 0.2]},
    }}  # fmt: skip
    found = results.read_final_info(write(tmp_path, "run_0", info))["enwik8"]
    assert found.means == {"val_loss": 1.0, "time": 60.0}
    assert found.seeds == {"val_loss": [0.9, 1.0, 1.1]}, "a list that does not average to the mean is no list of seeds"
    assert found.stderrs == pytest.approx({"val_loss": 0.1 / 3**0.5, "time": 1.0}), "computed, not std/n as written"
    assert found.places["means/val_loss"] == "/enwik8/means/val_loss_mean"
    assert found.places["stderrs/val_loss"] == "/enwik8/final_info_dict/val_loss"


def test_names_become_keys_that_tex_can_read(tmp_path: Path):
    info = {"10% naïve/{a}_b~": {"means": {"f#1_mean": 1.0, "acc": 0.5}, "stderrs": {}}}
    [(name, found)] = results.read_final_info(write(tmp_path, "run_0", info)).items()
    assert name == "10- naive/-a-_b-" and set(found.means) == {"f-1_mean", "acc"}
    assert found.places["means/acc"] == "/10% naïve~1{a}_b~0/means/acc", "a JSON pointer into the file as it is"


# --- protected code -----------------------------------------------------------------------------

CODE = '''
"""An experiment."""
import math

LEVELS = (1, 2)


def evaluate(model, k=2):
    """Measure."""
    return [model(level) / k for level in LEVELS]


class Score:
    """A score."""

    def value(self):
        return 1


def train(rate=0.1):
    evaluations = 3
    return lambda x: rate * x * evaluations


if __name__ == "__main__":
    info = {"evaluate": evaluate(train()), "score": Score().value()}
    print(info)
'''


def protected(after: str, before: str = CODE, parts: tuple[str, ...] = ("LEVELS", "Score", "evaluate")) -> list[str]:
    template = Template(name="t", path=Path(), protected=[f"experiment.py:{part}" for part in parts])
    return [entry.removeprefix("experiment.py:") for entry in results.protected_changes(template, before, after)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate=0.1", "rate=0.2"),
        ("    return [model", "\n    # divided by k\n    return [ model"),
        ('"""Measure."""', '"""Measure it well."""'),
        ('    """A score."""\n', ""),
        ("class Score:", "# a comment\nclass Score:"),
        ("(1, 2)", "(1,\n          2)"),
        ("    evaluations = 3", "    evaluations, LEVEL = 3, 4"),
        (
            "    return lambda x:",
            "    class Helper:\n        def evaluate(self):\n            pass\n    return lambda x:",
        ),
    ],
)
def test_other_edits_are_not_flagged(old: str, new: str):
    assert old in CODE and protected(CODE.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "flagged"),
    [
        ("k=2", "k=3", ["evaluate"]),
        ("(1, 2)", "(1,)", ["LEVELS"]),
        ("return 1", "return 2", ["Score"]),
        ("def evaluate", "@math.cache\ndef evaluate", ["evaluate"]),
        ("def evaluate", "def measure", ["evaluate"]),
        ("evaluate(train())", "other(train())", ["evaluate"]),
    ],
)
def test_an_edit_of_what_measures_is_flagged(old: str, new: str, flagged: list[str]):
    assert old in CODE and protected(CODE.replace(old, new)) == flagged


@pytest.mark.parametrize(
    "added",
    [
        "evaluate = lambda *a: [0]",
        "if True:\n    def evaluate(*a):\n        return [0]",
        "try:\n    pass\nfinally:\n    evaluate = print",
        "from math import fsum as evaluate",
        "import math as evaluate",
        "del evaluate",
        "globals()['evaluate'] = print",
        "globals().update(evaluate=print)",
        "vars()['evaluate'] = print",
        "space = globals()\nspace['evaluate'] = print",
        "import sys\nsetattr(sys.modules['__main__'], 'evaluate', print)",
        "import __main__\n__main__.evaluate = print",
        "exec('evaluate = print')",
        "evaluate.__code__ = print.__code__",
        "evaluate.__defaults__ = (3,)",
        "setattr(evaluate, '__defaults__', (3,))",
        "def patch():\n    global evaluate\n    evaluate = print",
        "def main(evaluate=print):\n    evaluate()",
        "for evaluate in [print]:\n    pass",
        "with open('x') as evaluate:\n    pass",
        "(evaluate := print)",
        "[0 for evaluate in [print]]",
        "try:\n    pass\nexcept OSError as evaluate:\n    pass",
        "evaluate: object = print",
        "evaluate += 1",
    ],
)
def test_a_name_given_another_meaning_from_anywhere_is_flagged(added: str):
    start = CODE.index("if __name__")
    assert protected(CODE[:start] + added + "\n\n" + CODE[start:]) == ["evaluate"]
    assert protected(CODE + added + "\n") == ["evaluate"]


@pytest.mark.parametrize("added", ["LEVELS.append(3)", "LEVELS[0] = 3", "LEVELS += (3,)", "del LEVELS[0]"])
def test_a_constant_changed_in_place_is_flagged(added: str):
    assert protected(CODE + f"{added}\n") == ["LEVELS"]


def test_code_that_cannot_be_read_flags_all():
    assert protected("def evaluate(:") == ["LEVELS", "Score", "evaluate"]


def test_a_template_that_protects_nothing_real_is_told():
    with pytest.raises(KitError, match=r"protects experiment\.py:evalute, which is not there"):
        protected(CODE, parts=("evalute",))


# --- the ledger ---------------------------------------------------------------------------------

SHIFTS = {"run_0": (0.0, 0.001, -0.001, 0.0), "run_1": (-0.10, -0.11, -0.09, -0.105), "run_2": (0.05, 0.06, 0.05, 0.04)}
LABELS = {"run_0": "Baseline", "run_1": "Faster → better", "run_2": "Slower & 50% more"}


def make_plan(number: int, run_2: str = "run_0", run_3: str = "run_0", **more: Any) -> Plan:
    """A plan of that many runs, in which the second and the third may have a reference of their own."""
    references = {"run_2": run_2, "run_3": run_3}
    arms = [Arm(name=name, title=name, change="", prediction="", compare_with=references.get(name, "run_0"))
            for name in (f"run_{n}" for n in range(1, number + 1))]  # fmt: skip
    return Plan(question="?", arms=arms, **more)


def make_ledger(folder: Path, template: Template | None = None, **more: Any) -> results.Ledger:
    for run, shifts in SHIFTS.items():
        info = {}
        for dataset, base in {"flat": 0.5, "steep_one": 0.9}.items():
            values = [base + shift * (dataset == "flat") + wobble for shift, wobble in
                      zip(shifts, (0.01, 0.02, 0.0, 0.03), strict=True)]  # fmt: skip
            info[dataset] = {"means": {"loss": sum(values) / 4, "seconds": 12.5}, "seeds": {"loss": values}}
        write(folder, run, info)
    known = {"loss": LOSS, "seconds": Metric(direction="min", unit="s", timing=True)}
    template = template or Template(name="t", path=folder, metrics=known)
    return results.build_ledger(folder, LABELS, template, **more)


def test_what_is_identical_on_all_datasets_is_told_once_and_has_no_rows(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    before = results.tables(ledger)["comparisons"]
    assert before.count("identical") == 2 and "has no row" not in before, "beside a dataset on which something differs"
    for c in ledger.comparisons:
        if c.run == "run_2" and c.metric == "loss":
            c.verdict = "identical"
    after = results.tables(ledger)["comparisons"]
    assert after.count("steep") == 1 < before.count("steep") and "identical in every seed, or" in after
    assert "run_2 against run_0, loss: identical in every seed of every dataset" in ledger.for_prompt()
    for c in ledger.comparisons:
        c.verdict = "identical" if c.low is not None else c.verdict
    tables = results.tables(ledger)
    assert list(tables) == ["results", "timing"] and tables["results"].count(r"\pm") == 3, "one row, and the caption"
    assert "the baseline, and all runs & " in tables["results"] and "Variant" not in tables["results"]


def test_a_margin_of_the_plan_tells_equivalent_from_inconclusive(tmp_path: Path):
    for run, losses in {"run_0": [1.0, 1.1, 1.2], "run_1": [1.01, 1.09, 1.2], "run_2": [1.02, 1.12, 1.21]}.items():
        write(tmp_path, run, {"d": {"means": {"loss": sum(losses) / 3}, "seeds": {"loss": losses}}})
    template = Template(name="t", path=tmp_path, metrics={"loss": LOSS})
    labels = {"run_0": "Baseline", "run_1": "Near", "run_2": "A little worse"}
    open_ones = results.build_ledger(tmp_path, labels, template, plan=make_plan(2))
    assert [c.verdict for c in open_ones.comparisons] == ["inconclusive", "worse"]
    plan = make_plan(2, margins=[Margin(metric="loss", size=5)])
    ledger = results.build_ledger(tmp_path, labels, template, plan=plan)
    assert [c.verdict for c in ledger.comparisons] == ["equivalent", "worse"]
    assert "≈ 1 equivalent" in "".join(ledger.badges()) and "≈" in ledger._repr_html_()
    counts = {n.key: n.value for n in ledger.numbers}
    assert counts["summary/num_comparisons"] == 2 and counts["summary/equivalent"] == 1
    assert counts["summary/expected_by_chance"] == pytest.approx(0.1), "chance could have decided both"
    assert "summary/equivalent" not in {n.key for n in open_ones.numbers}
    said = ledger.for_prompt()
    assert "worse, within the margin" in said and "5 % of the reference for loss (`plan/margin/loss`)" in said
    assert r"\KitNumber{plan/margin/loss}{5}" in results.macros(ledger)
    assert r"equivalent}" in results.macros(ledger).partition(r"{run_0}{run_1}")[2], "told either way round"
    table = results.tables(ledger)["comparisons"]
    assert r"\kitnear\,equivalent" in table and r"(5 \% of the reference for Loss)" in table
    absolute = make_plan(2, margins=[Margin(metric="loss", size=0.055, unit="absolute")])
    ledger = results.build_ledger(tmp_path, labels, template, plan=absolute)
    assert [c.verdict for c in ledger.comparisons] == ["equivalent", "worse"]
    assert "(0.055 for Loss)" in results.tables(ledger)["comparisons"]
    assert {c.margin for c in ledger.comparisons} == {0.055}
    if HAS_TEX:
        body = r"\kittable{results}\kittable{comparisons} Within \val{plan/margin/loss}\,\%."
        build, _ = compile_paper(tmp_path / "paper", ledger, body)
        assert build.ok and not build.problems, build.problems


def fifth(*held: str, **more: Any) -> Yardstick:
    """A fifth of what run_1 does to the baseline."""
    weights = [Weight(run="run_0", weight=0.8), Weight(run="run_1", weight=0.2)]
    return Yardstick(name="fifth", title="A fifth of the harm", weights=weights, held=list(held), **more)


def test_a_yardstick_is_held_against_runs_seed_by_seed(tmp_path: Path):
    for run, losses in {"run_0": [1.0, 1.1, 1.2], "run_1": [2.0, 2.3, 2.1], "run_2": [1.05, 1.16, 1.27]}.items():
        write(tmp_path, run, {"d": {"means": {"loss": sum(losses) / 3, "time": 3.0}, "seeds": {"loss": losses}}})
    metrics = {"loss": LOSS, "time": Metric(direction="min", timing=True)}
    template = Template(name="t", path=tmp_path, metrics=metrics)
    labels = {"run_0": "Baseline", "run_1": "All of it", "run_2": "A part"}
    ledger = results.build_ledger(tmp_path, labels, template, plan=make_plan(2, yardsticks=[fifth("run_2")]))
    [c] = [c for c in ledger.comparisons if c.baseline == "fifth"]
    differences = [1.05 - 1.2, 1.16 - 1.34, 1.27 - 1.38]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (c.run, c.metric, c.verdict, c.method) == ("run_2", "loss", "better", "paired t")
    assert (c.difference, c.low, c.high) == pytest.approx((sum(differences) / 3, interval.low, interval.high))
    assert {n.key: n.value for n in ledger.numbers}["run_2/summary/num_comparisons"] == 2
    assert "run_2 against fifth, loss: d -0.147" in (said := ledger.for_prompt())
    assert "`fifth` is computed seed by seed: 0.8 run_0 + 0.2 run_1 (A fifth of the harm)." in said
    assert "run_1/d/" in results.tell_numbers(ledger, "run_2").replace("`", ""), "what it is made of is told with it"
    table = results.tables(ledger)["comparisons"]
    assert "A part vs. A fifth of the harm" in table and r"$0.2\,\times$ All of it, seed by seed." in table
    assert r"\KitComparison{d/loss}{run_2}{fifth}" in results.macros(ledger)
    if HAS_TEX:
        body = r"\kittable{results}\kittable{comparisons} It is \cmp{d/loss}{run_2}{fifth}."
        build, _ = compile_paper(tmp_path / "paper", ledger, body)
        assert build.ok and not build.problems, build.problems
    changed = {"run_1": ["evaluate"]}
    for lost in ({"flagged": changed}, {"labels": {"run_0": "Baseline", "run_2": "A part"}}):
        made = {"labels": labels} | lost
        plan = make_plan(2, yardsticks=[fifth("run_2")])
        ledger = results.build_ledger(tmp_path, template=template, plan=plan, **made)
        assert not ledger.yardsticks and "fifth" not in {c.baseline for c in ledger.comparisons}, lost


@given(st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4), min_size=2, max_size=4), st.data())
def test_a_mix_has_the_mean_of_its_seeds(runs: list[list[float]], data: st.DataObject):
    weights = {f"run_{n}": data.draw(st.floats(-3, 3)) for n in range(len(runs))}
    mixed = results.measured.mix(weights, {run: {"d": measured(v)} for run, v in zip(weights, runs, strict=True)})
    assert mixed["d"].means["loss"] == pytest.approx(sum(mixed["d"].seeds["loss"]) / 4)
    alone = results.measured.mix({"run_0": 1.0}, {"run_0": {"d": measured(runs[0]), "e": measured(runs[1])}})
    assert alone["d"].seeds["loss"] == pytest.approx(runs[0]) and set(alone) == {"d", "e"}
    uneven = {"run_0": {"d": measured(runs[0])}, "run_1": {"d": measured(runs[1][:3]), "e": measured(runs[1])}}
    half = results.measured.mix({"run_0": 0.5, "run_1": 0.5}, uneven)
    assert set(half) == {"d"} and "loss" not in half["d"].seeds, "seeds that cannot be paired are not added"


@pytest.mark.parametrize(
    ("sticks", "said"),
    [
        ([fifth("run_9")], "'fifth' names 'run_9'; the arms are run_1, run_2"),
        ([fifth("run_0")], "'fifth' names 'run_0'"),
        ([fifth("run_2"), fifth("run_1")], "'fifth' is taken"),
        ([fifth("run_2").model_copy(update={"name": "run_1"})], "'run_1' is taken"),
    ],
)
def test_a_yardstick_that_names_nothing_goes_back(sticks: list[Yardstick], said: str):
    with pytest.raises(ValueError, match=said):
        make_plan(2, yardsticks=[stick.model_dump() for stick in sticks])
    arms = [Arm(name=name, title=name, change="", prediction="") for name in ("one", "two")]
    weights = [Weight(run="run_0", weight=2), Weight(run="one", weight=-1)]
    stick = Yardstick(name="run_2", title="", held=["two"], weights=weights)
    with pytest.raises(ValueError, match="'run_2' is taken"):
        Plan(question="?", arms=arms, yardsticks=[stick])
    with pytest.raises(ValueError, match=r"weighs a run more than once: 0.5 one \+ 0.5 one"):
        Yardstick(name="twice", title="", held=["two"], weights=[Weight(run="one", weight=0.5)] * 2)
    with pytest.raises(ValueError, match=r"do not add up to 1: 0.5 run_0 - 0.2 run_1"):
        Yardstick(name="off", title="", held=["run_1"],
                  weights=[Weight(run="run_0", weight=0.5), Weight(run="run_1", weight=-0.2)])  # fmt: skip


def test_the_ledger_counts_verdicts(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    counts = {n.key: n.value for n in ledger.numbers if n.statistic == "count"}
    assert [c.verdict for c in ledger.comparisons if c.metric == "loss"] == [
        "better", "identical", "worse", "identical"]  # fmt: skip
    assert counts["summary/better"] == counts["summary/worse"] == 1 and counts["summary/inconclusive"] == 0
    assert counts["summary/num_comparisons"] == 4 and counts["summary/identical"] == 2, "which chance cannot decide:"
    assert counts["summary/expected_by_chance"] == pytest.approx(0.1)
    assert counts["run_1/summary/better"] == 1 and counts["run_1/summary/worse"] == 0
    assert counts["summary/num_seeds"] == counts["run_2/num_seeds"] == 4 and counts["summary/num_runs"] == 3
    assert ledger.headline() == ["loss"] and ledger.datasets() == ["flat", "steep_one"]


def test_a_reference_that_repeats_the_baseline_is_not_a_second_comparison(tmp_path: Path):
    losses = {"run_0": [1.0, 1.1, 1.2], "run_1": [1.0, 1.1, 1.2], "run_2": [1.0, 1.1, 1.21], "run_3": [0.9, 1.0, 1.05]}
    for run, loss in losses.items():
        seeds = {"loss": loss} | ({} if run == "run_0" else {"gap": [x / 2 for x in loss]})
        means = {name: sum(values) / 3 for name, values in seeds.items()}
        save_json(tmp_path / run / "final_info.json", {"flat": {"means": means, "seeds": seeds}})
    metric = Metric(direction="min", headline=True)
    template = Template(name="t", path=tmp_path, metrics={"loss": metric})
    labels = {run: run for run in losses}
    for reference, made in (("run_1", [("loss", "run_0"), ("gap", "run_1")]),
                            ("run_2", [("loss", "run_0"), ("loss", "run_2"), ("gap", "run_2")])):  # fmt: skip
        plan = make_plan(3, run_3=reference, metrics=[NewMetric(name="gap", label="Gap", direction="min")])
        ledger = results.build_ledger(tmp_path, labels, template, plan=plan)
        assert [(c.metric, c.baseline) for c in ledger.comparisons if c.run == "run_3"] == made


def test_each_number_says_where_it_stands(tmp_path: Path):
    for n in make_ledger(tmp_path).numbers:
        if n.pointer:
            value = json.loads((tmp_path / n.file).read_text())
            for part in n.pointer.split("/")[1:]:
                value = value[part.replace("~1", "/").replace("~0", "~")]
            expected = stats.sem(value) if n.statistic == "stderr" else value
            assert n.value == pytest.approx(expected), n.key


def test_a_model_is_told_a_run_with_its_seeds_and_all_runs_without(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    for run, told in (("run_1", ledger.for_prompt("run_1")), ("", ledger.for_prompt())):
        assert "`run_0/flat/`: loss 0.515 ± 0.0067; seconds 12.5\n`run_0/steep_one/`: loss 0.915 ± 0.0065\n" in told
        assert "run_1 against run_0, loss: flat -0.101 [-0.116, -0.0864] better" in told
        seeds = "(by seed: -0.1, -0.111, -0.089, -0.105; in % of run_0: -20 [-23, -17])"
        assert (seeds in told) == bool(run) != ("run_2" in told)
        assert "steep_one identical in every seed" in told
        assert "Not comparable (fewer than two seeds: no spread to judge by): seconds of run_1 against run_0" in told
    many = ledger.numbers[0].model_copy(
        update={"key": "probe_1/x", "seeds": [float(n) for n in range(20)], "value": 9.5}
    )
    ledger.numbers.append(many)
    assert "`probe_1/`: x 9.5 (20 values, 0 to 19)" in ledger.for_prompt()


def test_an_unknown_key_gets_close_ones(tmp_path: Path):
    with pytest.raises(KitError, match="run_1/flat/loss"):
        make_ledger(tmp_path).value("run_1/flat/los")


def test_a_run_that_changed_what_measures_it_is_compared_with_nothing(tmp_path: Path):
    ledger = make_ledger(tmp_path, flagged={"run_1": ["experiment.py:evaluate"]})
    mine = [c for c in ledger.comparisons if c.run == "run_1"]
    assert {c.verdict for c in mine} == {"not comparable"} and {c.p_value for c in mine} == {None}
    assert "experiment.py:evaluate" in mine[0].reason
    caption = results.tables(ledger)["results"]
    assert "changed the code that measures it" in caption and r"\,$^\dagger$ &" in caption
    assert results.Ledger.model_validate_json(ledger.model_dump_json()) == ledger


def test_a_template_without_directions_is_described_and_not_compared(tmp_path: Path):
    ledger = make_ledger(tmp_path, Template(name="t", path=tmp_path))
    assert {c.verdict for c in ledger.comparisons} == {"not comparable"}
    assert list(results.tables(ledger)) == ["results"] and ledger.headline() == ["loss", "seconds"]


def test_the_preset_says_how_many_seeds_stand_behind_a_standard_error(tmp_path: Path):
    for run, mean in {"run_0": 0.5, "run_1": 0.4}.items():
        write(tmp_path, run, {"d": {"means": {"loss": mean}, "stderrs": {"loss": 0.01}}})
    template = Template(name="t", path=tmp_path, metrics={"loss": LOSS}, presets={"demo": Preset(seeds=5)})
    labels = {"run_0": "Baseline", "run_1": "Other"}
    [c] = results.build_ledger(tmp_path, labels, template, preset="demo").comparisons
    assert (c.method, c.n, c.verdict) == ("Welch", 5, "better")
    [c] = results.build_ledger(tmp_path, labels, template).comparisons
    assert c.verdict == "not comparable"


# --- numbers in print ---------------------------------------------------------------------------

FORM = re.compile(r"(?:\\ensuremath\{)?(-?\d+(?:\.\d+)?)(?:\\times 10\^\{(-?\d+)\}\})?\}?")
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, st.none() | st.floats(0, allow_infinity=False))
def test_a_printed_number_is_the_number_to_its_last_digit(value: float, spread: float | None):
    text = show_number(value, spread)
    match = FORM.fullmatch(text)
    assert match, text
    places, exponent = len(match[1].partition(".")[2]), int(match[2] or 0)
    assert abs(float(match[1]) - value / 10.0**exponent) <= 0.5000001 * 10.0**-places if abs(exponent) < 300 else True
    assert not re.fullmatch(r"-0(\.0*)?", match[1]), "no minus zero"
    if spread is None and 1e-300 < abs(value) < 1e300:
        assert float(f"{match[1]}e{exponent}") == pytest.approx(value, rel=6e-3)


@given(finite, st.floats(1e-300, 1e300))
def test_value_and_spread_have_the_same_decimals(value: float, spread: float):
    texts, _ = digits([value, spread], spread)
    assert len({len(text.partition(".")[2]) for text in texts}) == 1


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [
        (0.353519, 0.000279, r"0.35352\,$\pm$\,0.00028"),
        (0.289197, 5.5e-5, r"0.28920\,$\pm$\,0.00006"),
        (0.2894541, 2.7e-6, r"0.289454\,$\pm$\,0.000003"),
        (-0.0121, 0.0015, r"\ensuremath{-0.0121}\,$\pm$\,0.0015"),
        (2e-5, 3e-7, r"(2.000\,$\pm$\,0.030)\,\ensuremath{\times 10^{-5}}"),
        (1234567.8, 1234, r"(1.2346\,$\pm$\,0.0012)\,\ensuremath{\times 10^{6}}"),
        (0.8412, 0.0, r"0.8412\,$\pm$\,0"),
        (0.8412, 5e-17, r"0.8412\,$\pm$\,\ensuremath{5.0\times 10^{-17}}"),
        (58.539, None, "58.54"),
        (3.0, None, "3"),
        (-0.0, None, "0"),
    ],
)
def test_numbers_as_a_paper_prints_them(value: float, spread: float | None, shown: str):
    assert show_measured(value, spread) == shown


def test_numbers_as_a_notebook_prints_them():
    assert plain(-0.353519, 0.000279) == "−0.35352 ± 0.00028" and plain(2e-5, 3e-7) == "(2.000 ± 0.030)·10^−5"
    assert plain(3.0, None) == "3" and plain(0.5, 0.0) == "0.5000"


@pytest.mark.parametrize(
    ("low", "middle", "high", "shown"),
    [
        (2.37e-5, 4.06e-5, 5.74e-5, "0.000041 [0.000024, 0.000057]"),
        (-0.00068, -0.00007, 0.00054, r"\ensuremath{-0.00007} [\ensuremath{-0.00068}, 0.00054]"),
        (0.5e-9, 1e-9, 1.5e-9, r"(1.00 [0.50, 1.50])\,\ensuremath{\times 10^{-9}}"),
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (None, None, None, "not comparable"),
    ],
)
def test_comparisons_as_a_paper_prints_them(low: float | None, middle: float | None, high: float | None, shown: str):
    c = compare(measured(OURS), measured(THEIRS))
    assert show_comparison(c.model_copy(update={"low": low, "difference": middle, "high": high})) == shown


def test_effects_have_one_decimal():
    assert [show_effect(e) for e in (-4.13, 0.02, 4321.0)] == [r"\ensuremath{-4.1}", "0.0", "4321"]


# --- LaTeX --------------------------------------------------------------------------------------


def test_every_number_and_both_directions_of_each_comparison_are_there(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    text = results.macros(ledger)
    assert all(rf"\KitNumber{{{n.key}}}{{" in text for n in ledger.numbers)
    for c in ledger.comparisons:
        assert rf"\KitComparison{{{c.dataset}/{c.metric}}}{{{c.run}}}{{run_0}}" in text
        assert rf"\KitComparison{{{c.dataset}/{c.metric}}}{{run_0}}{{{c.run}}}" in text
    [one] = re.findall(r"\{flat/loss\}\{run_1\}\{run_0\}\{(.*)\}\{(\w+)\}", text)
    [other] = re.findall(r"\{flat/loss\}\{run_0\}\{run_1\}\{(.*)\}\{(\w+)\}", text)
    assert (one[1], other[1]) == ("better", "worse") and one[0].startswith(r"\ensuremath{-") and other[0][0].isdigit()
    assert r"\KitNumber{summary/expected_by_chance}{0.1}" in text and r"\KitNumber{summary/confidence}{95}" in text


def test_times_of_all_datasets_together_stand_once(tmp_path: Path):
    table = results.tables(make_ledger(tmp_path))["timing"]
    assert "all datasets" in table and "steep" not in table and table.count("12.50") == 3


def compile_paper(folder: Path, ledger: results.Ledger, body: str) -> tuple[latex.build.Build, str]:
    for name, table in results.tables(ledger).items():
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "tables" / f"{name}.tex").write_text(table, encoding="utf-8")
    (folder / "numbers.tex").write_text(results.macros(ledger), encoding="utf-8")
    (folder / "references.bib").write_text("@misc{a, title={T}, author={A}, year={2020}}")
    latex.assemble(folder, title="T", authors="A", notice="", abstract=r"\citet{a}", sections={"Results": body},
                   appendix=results.provenance(ledger, [n.key for n in ledger.numbers]))  # fmt: skip
    build = latex.compile(folder)
    log = folder / "build" / "paper.log"
    return build, log.read_text(errors="replace") if log.is_file() else ""


BODY = r"""\subsection{From \val{run_0/flat/loss} to \val*{run_1/flat/loss}: \cmp{flat/loss}{run_1}{run_0}}
Text \val{run_1/flat/loss/stderr}, \verdict{steep_one/loss}{run_1}{run_0} and \val{summary/expected_by_chance}.
\kittable{results}\kittable{comparisons}\kittable{timing}
\begin{figure}\caption{Of \val{run_2/flat/loss} and \cmp{flat/loss}{run_2}{run_0}.}\end{figure}"""


@needs_tex
def test_numbers_live_in_titles_and_captions(tmp_path: Path):
    build, log = compile_paper(tmp_path / "paper", make_ledger(tmp_path), BODY)
    assert build.ok and not build.problems, build.problems
    assert "Token not allowed in a PDF string" not in log, "the bookmarks are clean"
    text = " ".join(latex.text(tmp_path / "paper" / "paper.pdf").split())
    for words in ("1.1 From 0.5150 to 0.4138: −0.1012 [−0.1161, −0.0864], better", "Faster → better",
                  "Slower & 50% more", "Of 0.5650 and 0.0500 [0.0376, 0.0624], worse.", "0 [0, 0]"):  # fmt: skip
        assert words in text, words
    with PdfDocument(tmp_path / "paper" / "paper.pdf") as pdf:
        titles = [item.get_title() for item in pdf.get_toc()]
    assert "From 0.5150 to 0.4138: -0.1012 [-0.1161, -0.0864], better" in titles


@needs_tex
def test_no_table_is_wider_than_the_text_or_longer_than_a_page(tmp_path: Path):
    names = [f"a dataset with a name as long as this, number {n} of many" for n in range(7)]
    metrics = [f"a_metric_that_says_what_it_measures_in_{n}_words" for n in range(5)]
    for run in range(7):
        info = {name: {"means": {m: 0.12345 + run + len(m) for m in metrics}, "seeds": {
            m: [0.12345 + run + len(m) + (-1) ** seed * 1.3e-7 * (1 + run) for seed in range(4)] for m in metrics
        }} for name in names}  # fmt: skip
        write(tmp_path, f"run_{run}", info)
    labels = {f"run_{n}": f"A run with a title that goes on and on, like {n}" for n in range(7)}
    template = Template(name="t", path=tmp_path, metrics={m: Metric(direction="max", unit="kJ") for m in metrics})
    ledger = results.build_ledger(tmp_path, labels, template)
    build, log = compile_paper(tmp_path / "paper", ledger, r"\kittable{results}\kittable{comparisons}")
    assert build.ok and "overfull" not in {p.kind for p in build.problems}, build.problems
    assert "Float too large" not in log and "Overfull" not in log


@needs_tex
def test_short_names_make_a_long_pair(tmp_path: Path):
    for run, loss in (("run_0", 1.0), ("run_1", 2.0), ("run_2", 1.5)):
        losses = [loss, 1.01 * loss, 0.98 * loss]
        info = {"means": {"loss": sum(losses) / 3}, "seeds": {"loss": losses}}
        write(tmp_path, run, dict.fromkeys(("circle", "dino", "line", "moons"), info))
    template = Template(name="t", path=tmp_path, metrics={"loss": LOSS})
    labels = {"run_0": "Baseline", "run_1": "Shared noise", "run_2": "Shared timestep"}
    ledger = results.build_ledger(tmp_path, labels, template, plan=make_plan(2, run_2="run_1"))
    table = results.tables(ledger)["comparisons"]
    assert r"\kitover{Shared timestep vs. Shared noise}" in table and r"\begin{tabular}{@{}Klrrl@{}}" in table
    build, _ = compile_paper(tmp_path / "paper", ledger, r"\kittable{results}\kittable{comparisons}")
    assert build.ok and not build.problems, build.problems
    narrow = table.replace("{@{}Klrrl@{}}", "{@{}llrrl@{}}")  # \kitover ends in any column
    (tmp_path / "paper" / "tables" / "comparisons.tex").write_text(narrow, encoding="utf-8")
    assert latex.compile(tmp_path / "paper", timeout=60).ok


def test_a_run_is_held_against_its_own_reference_and_by_a_declared_metric(tmp_path: Path):
    for run, loss in (("run_0", 1.0), ("run_1", 2.0), ("run_2", 1.5)):
        values = [loss, loss + 0.01, loss + 0.02 * loss]  # differences that vary from seed to seed
        info = {"means": {"loss": sum(values) / 3}, "seeds": {"loss": values}}
        if run != "run_0":  # what the baseline does not measure
            gains = [3.0 * loss, 3.1 * loss, 3.2 * loss]
            info["means"]["gain"], info["seeds"]["gain"] = gains[1], gains
        write(tmp_path, run, {"d": info})
    template = Template(name="t", path=tmp_path, metrics={"loss": LOSS})
    labels = {"run_0": "Baseline", "run_1": "Reference", "run_2": "Variant"}
    plan = make_plan(2, run_2="run_1", metrics=[NewMetric(name="gain", label="Gain", direction="max")])
    ledger = results.build_ledger(tmp_path, labels, template, plan=plan)
    said = {(c.metric, c.run, c.baseline): c.verdict for c in ledger.comparisons}
    assert said == {
        ("loss", "run_1", "run_0"): "worse", ("loss", "run_2", "run_0"): "worse",
        ("loss", "run_2", "run_1"): "better", ("gain", "run_2", "run_1"): "worse",
    }  # fmt: skip
    assert "Variant vs. Reference" in results.tables(ledger)["comparisons"]
    assert r"\KitComparison{d/gain}{run_2}{run_1}" in results.macros(ledger)


def test_an_end_near_zero_is_seen_on_its_side():
    place = {"dataset": "d", "metric": "m", "run": "run_1", "baseline": "run_0", "method": "paired t"}
    near = Comparison(**place, difference=0.0037, low=1.3e-5, high=0.0074, n=3, verdict="worse")
    low = re.search(r"\[([\d.]+),", show_comparison(near))
    assert low and float(low[1]) > 0
