"""New templates: from a skeleton, or from a person's own script."""

from kit.newtemplate.adopt import adopt
from kit.newtemplate.place import make, what_next

__all__ = ["adopt", "make", "what_next"]
