"""The figures of an idea: drawn by the template's plot.py, which a model that has looked at them may mend."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from kit import editor, show
from kit.schemas import FormatError, KitError
from kit.store import Intent, Key, digest_of, save

if TYPE_CHECKING:
    from kit.bench.bench import Bench


PAGE = 1.45  # height over width of what fits the text of a page, with a caption


class Drawing:
    """plot.py as it stands, what it drew, and what is wrong with that."""

    def __init__(self, bench: "Bench", timeout: float):
        self.bench, self.timeout, self.home = bench, timeout, bench.folder / "figures"
        self.code = (bench.template.path / "plot.py").read_text(encoding="utf-8")
        self.drawn: list[str] = []
        self.trouble = ""
        self._draw(self.code)

    @property
    def figures(self) -> list[str]:
        """The names of all figures, those of the probes too; KitError where plot.py never drew any."""
        if not self.drawn:
            log = self.bench.folder / "logs" / "plot.txt"
            raise KitError(f"plot.py of {self.bench.idea.Name!r} did not draw; whole log: {log}\n{self.trouble}")
        return self.drawn + [name for probe in self.bench.probes for name in probe.figures]

    @property
    def pictures(self) -> list[Path]:
        """The files of what plot.py drew."""
        return [self.home / name for name in self.drawn]

    @property
    def all_pictures(self) -> list[Path]:
        """The files of all figures, in the order of their names."""
        return [self.home / name for name in self.figures]

    def faults(self) -> list[str]:
        """What a program can see is wrong: pictures that are blank, higher than a page, or the same twice."""
        found: list[str] = []
        seen: dict[bytes, str] = {}
        for file in self.pictures:
            twin = seen.setdefault(file.read_bytes(), file.name)
            tall = _height(file)
            if _is_blank(file):
                found.append(f"{file.name} is blank.")
            elif tall > PAGE:
                found.append(f"{file.name} is {tall:.1f} times as high as wide: in the paper it is higher than a page.")
            elif twin != file.name:
                found.append(f"{file.name} is the same picture as {twin}.")
        return found

    def redraw(self, edits: editor.Edits) -> "Drawing":
        """Draw with an edited plot.py; where that fails the former figures stand, and `trouble` says why."""
        try:
            code = editor.apply(edits.edits, {"plot.py": self.code}, allowed=["plot.py"])["plot.py"]
        except FormatError as error:
            self.trouble = str(error)
        else:
            self._draw(code)
        return self

    def _draw(self, code: str) -> None:
        bench = self.bench

        def work(intent: Intent) -> dict:
            room = bench.folder / "bench" / "plot"
            bench.set_out(room)
            save(room / "plot.py", code)
            log = bench.folder / "logs" / "plot.txt"
            done = bench.programs.run(["plot.py"], room, self.timeout, log, intent, title="plot.py")
            pictures = sorted(room.glob("*.png"))
            if not done.ok or not pictures:
                return {"trouble": done.tail if not done.ok else "It ended well but wrote no PNG file.", "drawn": {}}
            kept = [save(self.home / file.name, file.read_bytes()) for file in pictures]
            shutil.rmtree(room)
            return {"trouble": "", "drawn": {file.name: digest_of(file) for file in kept}}

        def still_good(stored: dict) -> bool:  # a later version of plot.py may have drawn over them
            return all(digest_of(self.home / name) == drawn for name, drawn in stored["drawn"].items())

        content = [code, bench.labels(), [(name, r.code) for name, r in bench.runs.items()], bench.size]
        key = Key("experiments", "plot", bench.idea.Name)
        result = bench.run.steps.once(key, content, work, still_good=still_good).result
        self.trouble = result["trouble"]
        if result["drawn"]:
            self.code, self.drawn = code, list(result["drawn"])
            save(bench.folder / "plot.py", code)
            for file in self.home.glob("*.png"):  # of a former version
                if file.name not in self.drawn and not file.name.startswith("probe_"):
                    file.unlink()

    def _repr_html_(self) -> str:
        trouble = show.paragraph(f"plot.py: {self.trouble}", "bad") if self.trouble else ""
        return show.block(trouble, show.gallery(self.pictures))


def _height(file: Path) -> float:
    """Of a picture as wide as 1."""
    from PIL import Image

    with Image.open(file) as picture:
        return picture.height / picture.width


def _is_blank(file: Path) -> bool:
    """Whether all of a picture has one colour."""
    from PIL import Image

    with Image.open(file) as picture:
        return picture.convert("RGB").getcolors(maxcolors=1) is not None
