"""A person's folder: what is in it, which script is the experiment, and how it is laid out as one text."""

import ast
import os
import re
from pathlib import Path

from pydantic import BaseModel

from kit.schemas import KitError

SKIPPED = {"__pycache__", "node_modules", "wandb", "site-packages"}
SECRET = re.compile(r"(?i)secret|credential|passw|id_rsa|\.(pem|key|p12)$")
LARGE = 50 * 10**6  # bytes; a larger file would be copied into every run
MOST = 2000  # files; more is somebody's home and no experiment
USUAL = ("main", "train", "run", "experiment")  # what people call the script that does it all
NOT_RUN = re.compile(r"(^|/)(tests?|docs|examples)/|(^|/)(test_\w*|\w*_test|setup|conftest|__init__|__main__)\.py$")
CODE = {".py", ".sh"}
TEXT = {*CODE, ".md", ".rst", ".txt", ".toml", ".yaml", ".yml", ".json", ".jsonl", ".cfg", ".ini", ".csv", ".tsv"}
ALL_CHARS, FILE_CHARS, HEAD_CHARS = 150_000, 60_000, 1_500  # shown in all, of one program, of one other file


class Shown(BaseModel):
    """A file as a model reads it."""

    name: str
    text: str
    whole: bool = True


class Source(BaseModel):
    """A person's folder. It is read and never written."""

    folder: Path
    files: list[str]  # what comes along, by paths in the folder
    left_out: dict[str, str] = {}  # what does not, and why
    script: str = ""  # the main script

    def read(self, name: str) -> str:
        """The text of one file; letters that are no UTF-8 are replaced."""
        return (self.folder / name).read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")

    def tree(self) -> str:
        """All files with their sizes; what is left out, with the reason."""
        sizes = [f"{name}  ({(self.folder / name).stat().st_size:,} bytes)" for name in self.files]
        return "\n".join(sizes + [f"{name}  (not taken along: {why})" for name, why in self.left_out.items()])

    def shown(self) -> list[Shown]:
        """Text files in the order in which they explain each other: the script, other code, the rest; within limits."""
        order = sorted(self.files, key=lambda name: (name != self.script, Path(name).suffix not in CODE, name))
        found, left = [], ALL_CHARS
        for name in order:
            if Path(name).suffix.lower() not in TEXT:
                continue
            text = self.read(name)
            most = min(left, FILE_CHARS if Path(name).suffix in CODE or len(text) < 4 * HEAD_CHARS else HEAD_CHARS)
            if name == self.script and len(text) > most:
                raise KitError(f"{name} has {len(text):,} characters, more than a model is shown; divide it.")
            if most > 0:
                found.append(Shown(name=name, text=text[:most], whole=len(text) <= most))
            left -= min(len(text), most)
        return found

    def cut(self) -> list[str]:
        """What a model sees nothing or only the beginning of."""
        whole = {shown.name for shown in self.shown() if shown.whole}
        return [name for name in self.files if name not in whole]

    def fits_already(self) -> bool:
        """Whether the folder is a template: The AI Scientist's own, for example."""
        return {"experiment.py", "plot.py"} <= set(self.files) and "--out_dir" in self.read("experiment.py")

    def readme(self) -> tuple[str, str]:
        """Headline and first paragraph of the README; empty where there is none."""
        text = next((self.read(name) for name in self.files if name.lower() == "readme.md"), "")
        headline = re.search(r"^# +(.+)$", text, re.MULTILINE)
        prose = (part.strip() for part in text.split("\n\n"))
        first = next((part for part in prose if part[:1].isalpha()), "")
        return headline[1].strip() if headline else "", " ".join(first.split())

    def is_imported(self, name: str) -> bool:
        """Whether another program of the folder imports this one."""
        word = re.compile(rf"^\s*(?:from|import)\s+(?:[\w.]+\.)?{re.escape(Path(name).stem)}\b", re.MULTILINE)
        return any(word.search(self.read(other)) for other in _programs(self.files) if other != name)


def read_source(folder: Path) -> Source:
    """Look through a folder."""
    if folder.is_file():
        raise KitError(f"{folder} is a file. Give its folder, and --script {folder.name}.")
    if not folder.is_dir():
        raise KitError(f"There is no folder {folder}. Give a folder, or an address that git can clone.")
    source = Source(folder=folder.resolve(), files=[])
    for place, folders, files in os.walk(source.folder):
        here = Path(place)
        folders[:] = sorted(n for n in folders if n not in SKIPPED and n[0] != "." and not _is_environment(here / n))
        for name in sorted(files):
            file = here / name
            path = file.relative_to(source.folder).as_posix()
            if why := _reason(file):
                source.left_out[path] = why
            else:
                source.files.append(path)
        if len(source.files) > MOST:
            raise KitError(f"{folder} holds more than {MOST:,} files. Give the folder of the experiment alone.")
    return source


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() or folder.is_symlink()


def _reason(file: Path) -> str:
    """Why a file does not come along; empty for one that does."""
    if file.name[0] == ".":
        return "hidden"
    if file.is_symlink() or not file.is_file():
        return "a link, or no plain file"
    if SECRET.search(file.name):
        return "it may hold a secret"
    return "too large to be copied into every run" if file.stat().st_size > LARGE else ""


def _programs(files: list[str]) -> list[str]:
    return [name for name in files if name.endswith(".py")]


def find_script(source: Source, script: str = "") -> str:
    """The script that is the experiment; KitError names the candidates where it is not clear."""
    programs = [name for name in _programs(source.files) if not NOT_RUN.search(name)]
    if script:
        script = os.path.relpath(source.folder / script, source.folder)
        if script not in source.files or not script.endswith(".py"):
            raise KitError(f"There is no program {script!r} in {source.folder}. There are: {', '.join(programs)}.")
        return script
    if not programs:
        notebook = any(name.endswith(".ipynb") for name in source.files)
        cure = "`jupyter nbconvert --to script` makes one of a notebook" if notebook else "give the folder of a script"
        raise KitError(f"There is no Python program in {source.folder}: {cure}.")
    ways = [
        programs,
        [name for name in programs if Path(name).stem in USUAL],
        [name for name in programs if _has_guard(source.read(name))],
        [name for name in programs if not source.is_imported(name)],
    ]
    if found := next((names[0] for names in ways if len(names) == 1), ""):
        return found
    raise KitError(f"Which script is the experiment? Say it with --script: {', '.join(programs)}.")


def _has_guard(text: str) -> bool:
    """Whether a program has an `if __name__ == "__main__"`."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise KitError(f"A program of the folder is no Python of today: {error}. Mend it, or name --script.") from error
    return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
