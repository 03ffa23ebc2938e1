"""Shared by all tests: a run in a folder of its own, and a model that says what a test wrote down."""

from pathlib import Path

import pytest

from kit import workspace
from kit.llm import providers
from kit.llm.providers import Completion, Provider, Request
from kit.workspace import Run

ROOT = Path(__file__).parent.parent
SCRIPT: list[str | Completion] = []  # what the scripted provider will say, in this order
HEARD: list[Request] = []  # what it was asked


def say_next(request: Request, provider: Provider) -> Completion:
    """A provider for tests: a real one, from the table, that reads its lines from SCRIPT."""
    HEARD.append(request)
    line = SCRIPT.pop(0)
    if isinstance(line, Completion):
        return line
    return Completion(text=line, tokens_in=10, tokens_out=2, cost=0.25)


@pytest.fixture
def script() -> list[str | Completion]:
    """Lines for `test/any` to say; the requests it got are in `conftest.HEARD`."""
    providers.PROVIDERS["test"] = Provider(f"{__name__}:say_next")
    SCRIPT.clear()
    HEARD.clear()
    return SCRIPT


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Run:
    """A run in a folder of the test's own; templates and notebooks are the project's."""
    monkeypatch.setattr(workspace, "outputs", lambda: tmp_path)
    return Run(tmp_path / "run")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the test's own, with the notebooks and templates of this one and nothing in outputs/."""
    for name in ("notebooks", "templates", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("KIT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def one_thread():
    """Small models: threads that wait for each other suffer from other tests on the same cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
