"""Is this hand-written gradient right, and if not, where and why?

    from handgrad import check
    check(MyLayer(8), torch.nn.SomeLayer(8), x=(4, 8))

`check` returns a Report if the two sides agree, and raises CheckFailed, an AssertionError with the report as its
message, if they differ, or if that is not decided: where a wrong derivation would not have differed either. What
cannot be checked raises UsageError. `help(handgrad.check)` says what can be handed in. The truth of a Report is its
verdict, and report["input gradient"] is the Finding of one tensor.

The rooms behind this face:

    handgrad.manual      derivations in NumPy
    handgrad.torch_ref   the same mathematics in torch
    handgrad.data        the digits
    handgrad.compare     the judge

`import handgrad` imports none of them, and neither NumPy nor torch: each comes when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgrad import compare as compare
    from handgrad import data as data
    from handgrad import manual as manual
    from handgrad import torch_ref as torch_ref
    from handgrad.compare.checking.check import check
    from handgrad.compare.checking.finding import Finding
    from handgrad.compare.checking.findings import CheckFailed, Report
    from handgrad.compare.checking.specs import constant, indices, mask
    from handgrad.compare.foundation.errors import UsageError
    from handgrad.compare.judge.stateful import stateful

    __version__: str

__all__ = [
    "CheckFailed", "Finding", "Report", "UsageError", "__version__",
    "check", "constant", "indices", "mask", "stateful",
]  # fmt: skip

ROOMS = ("compare", "data", "manual", "torch_ref")

_HOME = {
    "check": "handgrad.compare.checking.check",
    "CheckFailed": "handgrad.compare.checking.findings",
    "Finding": "handgrad.compare.checking.finding",
    "Report": "handgrad.compare.checking.findings",
    "UsageError": "handgrad.compare.foundation.errors",
    "constant": "handgrad.compare.checking.specs",
    "indices": "handgrad.compare.checking.specs",
    "mask": "handgrad.compare.checking.specs",
    "stateful": "handgrad.compare.judge.stateful",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: `handgrad --help` must not wait for it."""
    if name == "__version__":
        return _version()
    if name in ROOMS:
        return _load(f"handgrad.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'handgrad' has no attribute {name!r}")
    return getattr(_load(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *ROOMS]


def _load(module: str) -> Any:
    """Import one of our modules. In a checkout that is not installed there is `handgrad/` alone, without its rooms."""
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name in {f"handgrad.{room}" for room in ROOMS}:
            raise _not_installed(problem.name) from None
        raise


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("handgrad")
    except metadata.PackageNotFoundError:
        raise _not_installed("handgrad") from None


def _not_installed(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"{name} is not installed: run pip install -e . in the checkout", name=name)
