"""The folder of a run: making it, and reading again what a run left in it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import counts
from handgrad.compare.foundation.whole_files import TEMPORARY
from handgrad.compare.run.checkpoint.files import Damaged
from handgrad.compare.run.contents import below, foreign, linked
from handgrad.compare.run.experiment import Experiment

EXPERIMENT, REPORT = "experiment.json", "report.json"
FORMAT = 4  # of all that a run writes; another number where a name in report.json or in a checkpoint has changed


def make_folder(logdir: Path, name: str, overwrite: bool = False) -> Path:
    """An empty folder for a run. UsageError where it holds something, unless told to overwrite, or cannot be made."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise UsageError(f"name must be a plain folder name, got {name!r}: put the path into --logdir")
    folder = logdir / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A run that was killed in its first moment leaves nothing but a file half written.
        content = [path for path in folder.iterdir() if not path.name.endswith(TEMPORARY)]
        if content and overwrite and (folder / EXPERIMENT).exists():
            _require_own(folder)
            with held(folder):
                _empty(folder)
        elif content:
            raise UsageError(f"the run's folder must be new, but {folder} {_remedy(folder)}")
    except UsageError:
        raise
    except (OSError, ValueError) as problem:  # ValueError: a null character
        raise UsageError(
            f"the log folder must be writable, but {folder} cannot be made ({reason(problem)}): "
            "choose another --logdir or --name"
        ) from None
    return folder


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep the run in this folder for this process; UsageError where another has it.

    The system lets go of it however the process ends. Where there is no flock, nothing is kept.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / EXPERIMENT).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"a run must be trained by one process, but another is training {folder}: wait for it, or stop it"
            ) from None
        yield


def reason(problem: BaseException) -> str:
    """What the system says, in one line: "No space left on device"."""
    return " ".join(str(getattr(problem, "strerror", None) or problem).split())


def _remedy(folder: Path) -> str:
    if not (folder / EXPERIMENT).exists():
        return "exists and holds no run: choose another --name"
    if finished_report(folder) is not None:
        return "holds a finished run: choose another --name, or --overwrite it"
    return "holds an unfinished run: --resume it, choose another --name, or --overwrite it"


def _require_own(folder: Path) -> None:
    """UsageError where the folder is a link, holds no run of any version, or something that no run writes."""
    if folder.is_symlink():
        raise UsageError(
            f"--overwrite replaces a folder, but {folder} is a link to {folder.resolve()}: name that one, or "
            "remove the link"
        )
    other = foreign(folder)
    if other is not None:
        raise UsageError(
            f"--overwrite removes what a run has written and nothing else, but {folder} also has "
            f"{other.relative_to(folder)}: move it away, or choose another --name"
        )
    try:
        written = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
        is_one = isinstance(written["settings"], dict) and isinstance(written["versions"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        is_one = False
    if not is_one:
        raise UsageError(
            f"--overwrite replaces a run, but {folder / EXPERIMENT} holds no settings of one: "
            "remove the folder yourself, or choose another --name"
        )


def require_no_links(folder: Path) -> None:
    """Damaged where what a run goes on writing is a link, so that it would be written elsewhere."""
    path = linked(folder)
    if path is not None:
        raise Damaged(
            f"a run must go on in files of its own, but {path} is a link, or has another name elsewhere: put a copy in "
            "its place"
        )


def _empty(folder: Path) -> None:
    """Remove a run; its experiment.json, which says that it is one, last."""
    for path in [*(path for path in below(folder) if path != folder / EXPERIMENT), folder / EXPERIMENT]:
        path.rmdir() if path.is_dir() else path.unlink()


def finished_report(folder: Path) -> dict[str, Any] | None:
    """The report of a run that came to its end; None of any other."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("stopped") == "" else None


def read_experiment(folder: Path) -> tuple[Experiment, dict[str, Any]]:
    """The settings of the run in this folder, and all of its experiment.json.

    UsageError where there is no run, or one that another version wrote in another format; Damaged where the file is
    not what a run writes.
    """
    path = folder / EXPERIMENT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written = content.get("format", 1)
        if written == FORMAT:
            settings = dict(content["settings"])
            experiment = Experiment(**{**settings, "sizes": tuple(settings["sizes"])})
            content["versions"].keys()
            int(content["log_every"])
            int(content["checkpoint_every"])
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"--resume needs the folder of a run, but {folder} has no {EXPERIMENT}: give another"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise Damaged(f"{path} must hold the settings of a run, but {problem}: begin the run again") from None
    if written != FORMAT:
        raise UsageError(
            f"a run must be resumed by a version of handgrad that writes the same format, but {folder} is in format "
            f"{written} and this version writes {FORMAT}: begin the run again, or use the version that began it"
        )
    return experiment, content


def require_same(saved: Experiment, given: dict[str, Any]) -> None:
    """UsageError, showing each difference, where settings were given that are not those of the saved run."""
    there = saved.as_json()
    here = {**there, **given}
    options = given.get("optimizer_options") or {}
    here["optimizer_options"] = {**there["optimizer_options"], **options}
    differences = [
        f"{name.replace('_', ' ')} is {there[name]} there, not {here[name]}"
        for name in there
        if _plain(there[name]) != _plain(here[name])
    ]
    if differences:
        raise UsageError(f"a run goes on with its own settings, but {', '.join(differences)}: leave that out")


def _plain(x: Any) -> Any:
    return list(x) if isinstance(x, tuple) else x


def versions() -> dict[str, Any]:
    """What the numbers of a run may depend on besides its settings."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "machine": platform.machine(),
        "threads": counts(),
    }


def version_notes(before: dict[str, Any]) -> list[str]:
    """One line where a run goes on with other versions or threads than it began with; nothing where all is the same."""
    now = versions()
    changed = [f"{name} {now[name]} instead of {before.get(name)}" for name in now if now[name] != before.get(name)]
    return [f"the run went on with {', '.join(changed)}: the last digits may differ"] if changed else []
