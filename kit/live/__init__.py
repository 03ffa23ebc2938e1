"""The live view: what programs say while they run, with curves from the numbers in their lines."""

from kit.live.view import LiveView

__all__ = ["LiveView"]
