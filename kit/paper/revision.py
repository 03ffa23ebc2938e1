"""A reply that changes the text of a paper, or says that it is good as it stands."""

from kit.editor import Edits
from kit.schemas import FormatError


class Revision(Edits):
    """Edits of the text, or none where it is good as it stands."""

    @classmethod
    def parse(cls, text: str) -> "Revision":
        """Read the blocks; words without any are the answer that nothing needs to change."""
        if "SEARCH" in text:
            return cls(**dict(Edits.parse(text)))
        if "```" in text or r"\begin{" in text:
            raise FormatError("Send SEARCH/REPLACE blocks, not the whole text; or one sentence if nothing changes.")
        return cls(edits=[], explanation=text.strip())

    @property
    def done(self) -> bool:
        """Whether nothing is left to change."""
        return not self.edits
