"""Is this hand-written gradient right, and if not, where and why?

    from handgrad import check
    check(MyLayer(8), torch.nn.SomeLayer(8), x=(4, 8))

This package is the face; the rooms behind it are `handgrad.manual` (NumPy derivations), `handgrad.torch_ref` (the same
in torch), `handgrad.data` (the digits) and `handgrad.compare` (the judge).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgrad.compare.checking.check import check
    from handgrad.compare.checking.findings import CheckFailed, Report
    from handgrad.compare.foundation.errors import UsageError

    __version__: str

__all__ = ["CheckFailed", "Report", "UsageError", "__version__", "check"]

_HOME = {
    "check": "handgrad.compare.checking.check",
    "CheckFailed": "handgrad.compare.checking.findings",
    "Report": "handgrad.compare.checking.findings",
    "UsageError": "handgrad.compare.foundation.errors",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: `handgrad --help` must not wait for it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("handgrad")
    if name not in _HOME:
        raise AttributeError(f"module 'handgrad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
