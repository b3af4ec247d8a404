"""The only place that knows both sides: it trains them in lockstep, judges every stage, and says why not."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.checking.check import check
    from compare.checking.findings import CheckFailed, Report
    from compare.errors import UsageError

__all__ = ["CheckFailed", "Report", "UsageError", "check"]

_HOME = {
    "check": "checking.check",
    "CheckFailed": "checking.findings",
    "Report": "checking.findings",
    "UsageError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: `handgrad --help` must not wait for it."""
    if name not in _HOME:
        raise AttributeError(f"module 'compare' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"compare.{_HOME[name]}"), name)
