"""Every template runs on an accelerator as it is, and measures there what it measures on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The CPU fuses attention, an accelerator of paper cannot: another order of sums, which training blows up.
UNFUSED = "import runpy, sys, torch; torch.backends.cuda.enable_flash_sdp(False); sys.argv.pop(0); " \
          "runpy.run_path(sys.argv[0], run_name='__main__')"  # fmt: skip
TEMPLATES = sorted(file.parent for file in (HERE.parent / "templates").glob("*/experiment.py"))


def run(program: list[str], out_dir: Path) -> dict:
    """What it wrote at the smallest size."""
    env = os.environ | {"KIT_PRESET": "smoke", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *program], env=env, cwd=out_dir.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out_dir / "final_info.json").read_text())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_a_template_measures_the_same_on_an_accelerator(template: Path, tmp_path: Path):
    here = run(["-c", UNFUSED, str(template / "experiment.py"), f"--out_dir={tmp_path / 'cpu'}"], tmp_path / "cpu")
    there = run([str(HERE / "accelerator.py"), str(template), str(tmp_path / "paper")], tmp_path / "paper")
    assert list(here) == list(there)
    for dataset, measured in here.items():
        for metric, values in measured["seeds"].items():
            if "time" not in metric:
                assert there[dataset]["seeds"][metric] == pytest.approx(values, rel=1e-4, abs=1e-4), (dataset, metric)


@pytest.mark.parametrize("line, said", [
    ("x + torch.ones(2)", "a tensor of shape (2,) is on the CPU"),
    ("torch.ones(2, dtype=torch.float64).to(device)", "no double precision"),
    ("x.numpy()", "numpy"),
])  # fmt: skip
def test_what_would_fail_on_an_accelerator_fails_on_this_one(line: str, said: str, tmp_path: Path):
    code = f"import torch\ndevice = torch.accelerator.current_accelerator()\nx = torch.ones(2, device=device)\n{line}\n"
    (tmp_path / "experiment.py").write_text(code)
    done = subprocess.run([sys.executable, str(HERE / "accelerator.py"), str(tmp_path), str(tmp_path / "out")],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode and said in done.stderr
