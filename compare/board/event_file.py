"""A file of events that TensorBoard reads: what is added to it is in it when `flush` returns."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from handgrad.compare.run.checkpoint.event_files import NAME

NUMBERS = itertools.count()  # of the files of this process, so that two of one second have two names


class EventFile:
    """Writes events into a new file in `folder`, in this thread.

    SummaryWriter hands each event to a thread of its own. That took about as long again as the writing while other
    processes wanted the processor, hid what it took, and raised an OSError where nobody expects it.

    TensorBoard forgets what it has read of the steps from `purge_step` on. Every method raises OSError where the
    file cannot be written.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{NAME}{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(NUMBERS)}"
        self._file = path.open("xb")
        self._records = RecordWriter(self._file)
        self.add(Event(file_version="brain.Event:2"), purge_step or 0)
        if purge_step is not None:
            self.add(Event(session_log=SessionLog(status=SessionLog.START)), purge_step)

    def add(self, content: Event | Summary, step: int) -> None:
        """Add an event, or a Summary as one."""
        event = Event(summary=content) if isinstance(content, Summary) else content
        event.wall_time, event.step = time.time(), step
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    def close(self) -> None:
        """Flush, and add no more."""
        self._file.close()
