"""The paper of an idea: what its writer is given, and what becomes of the text."""

from kit.paper.manuscript import Manuscript, title
from kit.paper.revision import Revision

__all__ = ["Manuscript", "Revision", "title"]
