"""What a search finds must not hang on how fast the machine is: here it has all the time that it wants."""

import pytest

from handgrad.compare.checking import causes


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget itself is tested in tests/checking."""
    monkeypatch.setattr(causes, "LEAST", 20.0)
