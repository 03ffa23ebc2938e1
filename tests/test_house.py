"""The house itself: what it is made of, what it needs, and that its papers about this agree."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kit import doctor
from kit.llm.providers import PROVIDERS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
CONDA_NAMES = {"pytorch": "torch"}  # what conda-forge calls otherwise
NINE = {"jupyterlab", "papermill", "ipywidgets", "openai", "anthropic", "torch", "matplotlib", "pandas",
        "nbconvert"}  # fmt: skip
TOP = {"kit", "notebooks", "templates", "outputs", "tests", "docs", "Makefile", "README.md",
       "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "environment.yml", "requirements.lock",
       "pyproject.toml"}  # fmt: skip


def requirements(*lines: str) -> dict[str, Requirement]:
    """Requirements by their canonical names."""
    return {canonicalize_name((found := Requirement(line)).name): found for line in lines}


DEPENDENCIES = requirements(*PROJECT["dependencies"])
EVERYTHING = requirements(*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
PINS = requirements(*(line for line in LOCK.splitlines() if line and not line.startswith("#")))


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_lock_pins_what_the_project_asks_for(name: str):
    (pin,) = PINS[name].specifier
    assert pin.operator == "==" and EVERYTHING[name].specifier.contains(pin.version)


def test_the_lock_pins_all_exactly_and_leaves_cuda_to_the_machine():
    assert all([pin.operator for pin in found.specifier] == ["=="] for found in PINS.values())
    assert not [name for name in PINS if re.match("nvidia|triton|cuda", name)]


def test_conda_gets_the_same_packages():
    named = requirements(*(line for line in CONDA if isinstance(line, str)))
    conda = {CONDA_NAMES.get(name, name): found for name, found in named.items()}
    assert set(conda) == {*NINE, "python", "pip", "tectonic"} and set(DEPENDENCIES) >= NINE
    assert {name: conda[name].specifier for name in NINE} == {n: DEPENDENCIES[n].specifier for n in NINE}
    assert str(conda["python"].specifier) == str(Requirement(f"python{PROJECT['requires-python']}").specifier)
    assert {"pip": ["-e ."]} in CONDA


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock", "environment.yml", "Makefile"])
def test_no_file_of_the_set_up_names_a_place_of_its_own(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--(extra-)?index-url|find-links|\s/(home|root|tmp|opt|Users)/", text)


def test_the_commands_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = set(re.findall(r"^\s*make (\w+)", readme, re.MULTILINE)) | set(re.findall(r"`make (\w+)", readme))
    assert {"demo", "test"} <= commands <= targets


def test_the_top_of_the_house_is_tidy():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name for f in files.split("\n") if (name := f.split("/")[0]) and name[0] != "."} <= TOP


def test_the_example_names_every_key():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)
    assert {provider.key for provider in PROVIDERS.values()} - {""} <= {name for name, _ in named}
    assert not [name for name, value in named if value], "an example holds no values"


def test_the_doctor_needs_nothing_but_python():
    tree = ast.parse(Path(doctor.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names


def test_what_is_missing_comes_with_its_cure(tmp_path: Path):
    code = "import json; from kit import doctor; print(json.dumps(doctor.check()))"
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}  # a machine without any program
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=bare, text=True)
    findings = [doctor.Finding(*values) for values in yaml.safe_load(output)]
    missing = {finding.name for finding in findings if not finding.ok}
    assert {"TeX", "Sandbox", "Keys", "Browser"} <= missing
    assert all(bool(finding.cure) != finding.ok for finding in findings)


def test_the_doctor_says_in_its_exit_code_what_is_missing(tmp_path: Path):
    command = [sys.executable, "-m", "kit.doctor", "check"]
    here = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    there = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert (here.returncode, there.returncode) == (0, 1), here.stdout + there.stdout


def test_the_doctor_never_shows_a_key():
    secret = "sk-" + "0123456789" * 3
    env = {**os.environ, "OPENAI_API_KEY": secret}
    output = subprocess.check_output([sys.executable, "-m", "kit.doctor", "check"], cwd=ROOT, env=env, text=True)
    assert "OPENAI_API_KEY" in output and secret not in output


def test_a_set_up_that_is_done_is_not_done_again():
    before = doctor.STAMP.stat().st_mtime_ns if doctor.STAMP.exists() else None
    if before is None or not doctor.is_set_up():
        pytest.skip("this is not the environment that `make setup` made")
    done = subprocess.run([sys.executable, doctor.__file__, "setup"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, doctor.STAMP.stat().st_mtime_ns) == (0, "", before)
