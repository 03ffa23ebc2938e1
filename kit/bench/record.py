"""What an idea left behind on its way: patches and notes, folded away."""

from pathlib import Path

from kit import show


def record_of(folder: Path) -> show.Html:
    """What was changed and what was noted, folded away."""
    notes, patches = folder / "notes.md", sorted((folder / "history").glob("*.patch"))
    changes = "".join(show.details(file.stem, show.listing(file.read_text(encoding="utf-8"))) for file in patches)
    book = show.listing(notes.read_text(encoding="utf-8")) if notes.is_file() else ""
    folded = {"The lab book": book, "What was changed in the code, attempt by attempt": changes}
    return show.block(*(show.details(summary, content) for summary, content in folded.items() if content))
