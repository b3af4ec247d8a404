"""`handgrad board`: TensorBoard on a run, at an address that is printed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tensorboard import program
from tensorboard.plugins.custom_scalar.metadata import PLUGIN_NAME as FIRST_PAGE

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.run.folder import EXPERIMENT

NAMES = ("127.0.0.1", "localhost", "::1")  # of this machine
# TensorBoard shows a sample of what is logged, by default 1,000 points of a curve and 10 pictures of a tag.
SAMPLES = "scalars=20000,images=200,histograms=200,text=200,pr_curves=200"


def serve(folder: Path, port: int | None, say: Callable[[str], None]) -> None:
    """Show the runs below `folder` on loopback, say where, and go on until Ctrl-C.

    Without a port, the first free one from TensorBoard's own on. Raises UsageError where the server cannot start.
    """
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, got {port}: choose another")
    board = program.TensorBoard(server_class=OfThisMachine)
    options = ["--logdir", str(folder), "--host", "127.0.0.1", "--samples_per_plugin", SAMPLES, "--load_fast", "false"]
    board.configure(argv=["tensorboard", *options, *(["--port", str(port)] if port is not None else [])])
    try:
        address = board.launch()
    except program.TensorBoardPortInUseError:
        raise UsageError(f"--port must be free, but {port} is taken: leave it out, or choose another") from None
    except (program.TensorBoardServerException, OSError) as problem:
        raise UsageError(f"TensorBoard cannot start: {' '.join(str(problem).split())}") from None
    say(f"{folder}: {address}#{FIRST_PAGE} (Ctrl-C ends it)")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("")


class OfThisMachine(program.WerkzeugServer):  # type: ignore[misc]
    """TensorBoard's own server, for requests by a name of this machine alone.

    A page from elsewhere may have a name of its own lead to 127.0.0.1, and then read what is served there.
    """

    def __init__(self, app: Callable[..., Any], flags: Any) -> None:
        super().__init__(_of_this_machine(app), flags)


def _of_this_machine(app: Callable[..., Any]) -> Callable[..., Any]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if _named(environ.get("HTTP_HOST", "")) in NAMES:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"the host must be one of {', '.join(NAMES)}: open the address that handgrad board prints\n".encode()]

    return answer


def _named(host: str) -> str:
    """The name in a Host header, without its port; nothing where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def newest_run(logdir: Path) -> Path:
    """The run below `logdir` that was written last, with events if one has any. UsageError where there is no run."""
    runs = [path.parent for path in logdir.glob(f"*/{EXPERIMENT}")]
    if not runs:
        raise UsageError(f"there must be a run to show, but {logdir} has none: handgrad mnist makes one")
    return max([run for run in runs if _has_events(run)] or runs, key=_written)


def require_events(folder: Path) -> Path:
    """The folder, if there are events below it. UsageError if not."""
    if not folder.is_dir():
        raise UsageError(f"there must be a run to show, but {folder} is no folder: name another")
    if not _has_events(folder):
        raise UsageError(f"there must be events to show, but {folder} has none: was it run with --no-log?")
    return folder


def _has_events(folder: Path) -> bool:
    return next(folder.rglob("events.out.tfevents.*"), None) is not None


def _written(run: Path) -> float:
    return max(path.stat().st_mtime for path in (run, *run.glob("*"), *run.glob("*/events.out.tfevents.*")))
