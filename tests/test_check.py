"""`kit check`: a template that fits passes, and each thing that does not is named with its cure."""

import json
import shutil
import sys
import venv
from pathlib import Path

import pytest

from kit import workspace
from kit.__main__ import main
from kit.check import look_over


@pytest.fixture
def template(tmp_path: Path, monkeypatch) -> Path:
    """A copy of the mini template that a test may spoil."""
    monkeypatch.setattr(workspace, "outputs", lambda: tmp_path / "outputs")
    return Path(shutil.copytree(Path(__file__).parent / "mini", tmp_path / "mini"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_template_that_fits_passes(template: Path, capsys):
    assert main(["check", str(template)]) == 0
    said = capsys.readouterr().out
    assert "fits." in said and "final_loss on flat, steep" in said and "two runs say the same" in said


@pytest.mark.parametrize("old, new, name, said", [
    ("json.dumps(info)", "'[]'", "runs", "holds no datasets"),
    ('"means": {"final_loss": final.mean()}', '"means": {"final_loss": "low"}', "runs", "expected a number"),
    ('"means"', '"averages"', "runs", "has no means"),
    ("np.random.default_rng(seed)", "np.random.default_rng()", "repeats", "two runs differ in flat/final_loss"),
    ("import numpy as np", "import numpy as np, no_such_package", "packages", "not here: no_such_package"),
    ("def evaluate(", "def judge(", "protected", "not there: evaluate"),
    ('            "seeds": {"final_loss": final.tolist()},\n', "", "seeds", "standard errors only"),
])  # fmt: skip
def test_what_does_not_fit_is_named(template: Path, old: str, new: str, name: str, said: str):
    change(template / "experiment.py", old, new)
    found = {finding.name: finding for finding in look_over(str(template)) if not finding.ok}
    assert said in found[name].found and found[name].cure


def test_a_plot_that_draws_nothing_is_named(template: Path):
    (template / "plot.py").write_text("pass")
    assert "no PNG" in {f.name: f for f in look_over(str(template))}["plot"].found


def test_a_program_that_takes_too_long_names_the_option(template: Path):
    change(template / "experiment.py", "info = {}", "info = __import__('time').sleep(60)")
    last = list(look_over(str(template), timeout=1))[-1]
    assert (last.name, last.ok) == ("runs", False) and "--timeout" in last.cure


def test_a_metric_without_direction_is_advice_and_no_failure(template: Path, capsys):
    (template / "template.toml").unlink()
    assert main(["check", str(template)]) == 0
    assert "no direction for final_loss" in capsys.readouterr().out


def test_missing_packages_are_cured_by_an_environment_of_the_templates_own(template: Path):
    change(template / "experiment.py", "import numpy as np", "import numpy as np\nimport only_here")
    (cure,) = [f.cure for f in look_over(str(template)) if f.name == "packages"]
    assert "mini/.venv" in cure and "pip install numpy scipy torch matplotlib pandas only_here" in cure
    venv.create(template / ".venv", system_site_packages=True, symlinks=True)
    site = template / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "only_here.py").write_text("")
    (site / "kit_test.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    found = {f.name: f for f in look_over(str(template))}
    assert found["packages"].ok and found["runs"].ok, found["runs"].found


def test_the_digest_leaves_an_environment_out(template: Path):
    from kit.template import load_template

    before = load_template(str(template)).digest()
    (template / ".venv").mkdir()
    (template / ".venv" / "a.py").write_text(json.dumps("x"))
    assert load_template(str(template)).digest() == before
