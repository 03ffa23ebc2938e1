"""The bench: where an idea's experiment is edited, run, noted, looked into and drawn."""

from kit.bench.bench import Bench
from kit.bench.probes import Probes
from kit.bench.programs import Programs, Size, Unwatched
from kit.bench.record import record_of
from kit.bench.trial import Trial, task

__all__ = ["Bench", "Probes", "Programs", "Size", "Trial", "Unwatched", "record_of", "task"]
