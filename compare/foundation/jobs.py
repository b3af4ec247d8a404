"""Jobs that may end badly, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

SoFar = Callable[[Any], None]


class Job(NamedTuple):
    """One piece of work, given what the jobs before it have found, and a function to be told what it has so far."""

    name: str
    work: Callable[[dict[str, Any], SoFar], Any]


class Ending(Enum):
    """Why a job has no result."""

    SPENT = auto()  # the budget, or its share of it
    INTERRUPTED = auto()  # by Ctrl-C
    DIED = auto()  # the process did
    RAISED = auto()  # an exception


@dataclass
class Outcome:
    """What came of the jobs, by name."""

    seconds: float  # of CPU that they had
    found: dict[str, Any] = field(default_factory=dict)
    so_far: dict[str, Any] = field(default_factory=dict)  # of a job that did not end
    ended: dict[str, tuple[Ending, str]] = field(default_factory=dict)  # why a job has no result, and the words
    spent: float = 0.0  # seconds of CPU

    def best(self, name: str, otherwise: Any) -> Any:
        """The result of a job, or what it had so far."""
        return self.found.get(name, self.so_far.get(name, otherwise))

    def left(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of which nothing is known yet."""
        return [job for job in jobs if job.name not in self.found and job.name not in self.ended]


class OutOfTime(BaseException):
    """A job has spent its share; no `except Exception` of the code that it runs takes this for its own."""
