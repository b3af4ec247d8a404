"""Who hears of a check's report. Apart from `handgrad.compare.checking.check`, so that listening imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handgrad.compare.checking.findings import Report

# Called with every report, in order; the command and the pytest plugin listen here.
LISTENERS: list[Callable[[Report], None]] = []
# Whether a report of differences is raised; the command turns it off to see every check of a file.
RAISES = [True]
