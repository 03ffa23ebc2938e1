"""The bench: where an idea's experiment is edited, run, noted, looked into and drawn."""

from kit.bench.bench import Bench
from kit.bench.programs import Programs, Size, Unwatched
from kit.bench.record import changes_of, record_of
from kit.bench.trial import Trial

__all__ = ["Bench", "Programs", "Size", "Trial", "Unwatched", "changes_of", "record_of"]
