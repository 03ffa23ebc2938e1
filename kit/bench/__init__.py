"""The bench: where an idea's experiment is edited, run, noted, looked into and drawn."""

from kit.bench.bench import Bench, record_of
from kit.bench.programs import Unwatched
from kit.bench.trial import Trial

__all__ = ["Bench", "Trial", "Unwatched", "record_of"]
