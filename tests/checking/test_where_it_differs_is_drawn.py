"""report.plot() draws where a tensor differs from the arrays that were kept, and says what it needs."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, Report, UsageError, check


@pytest.fixture(scope="module")
def wrong() -> Report:
    def backward(dy: Any, x: Any) -> Any:
        found = dy * np.cos(x)
        found[..., 2] *= 1.5
        return found

    with pytest.raises(CheckFailed) as failure:
        check((np.sin, backward), torch.sin, x=(2, 3, 4), name="sine")
    return failure.value.report


def holding(report: Report, manual: Any, torch: Any, allowed: Any) -> Report:
    """The report, its second finding with these arrays."""
    first, second = report.findings
    return dataclasses.replace(
        report, findings=(first, dataclasses.replace(second, manual=manual, torch=torch, allowed=allowed))
    )


def test_where_it_differs(wrong: Report) -> None:
    pytest.importorskip("matplotlib")
    theirs = np.random.default_rng(0).normal(size=(2, 3, 4))
    ours, allowed = theirs.copy(), np.full(theirs.shape, 1e-16)
    ours[1, :, 2] = 2 * theirs[1, :, 2]
    ours[1, 2, 3] = np.nan
    figure = holding(wrong, ours, theirs, allowed).plot()
    image, scatter = figure.axes[0], figure.axes[1]
    (shown,) = image.images
    differs = np.asarray(shown.get_array()) > 0
    expected = np.zeros((3, 4), bool)
    expected[:, 2] = expected[2, 3] = True
    np.testing.assert_array_equal(differs, expected)  # of the slice that holds the worst element
    assert "[1]" in image.get_title()
    points = {c.get_label(): len(c.get_offsets()) for c in scatter.collections}
    assert points == {"agrees": 20, "differs": 3}  # what is no number has no point
    assert "input gradient" in figure.get_suptitle()
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 1), (2, 3, 4, 5)])
def test_of_any_shape(wrong: Report, shape: tuple[int, ...]) -> None:
    pytest.importorskip("matplotlib")
    theirs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    figure = holding(wrong, 2 * theirs, theirs, np.zeros(shape, np.float32)).plot("input gradient")
    (shown,) = figure.axes[0].images
    assert shown.get_array().shape == (1, 1, *shape)[-2:]
    assert (np.asarray(shown.get_array()) > 0).all()
    assert figure._repr_png_()


def test_it_says_what_it_needs(wrong: Report) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"needs the arrays of input gradient, .* make it with check\(…, keep=True\)"):
        wrong.plot()
    with pytest.raises(UsageError, match="the arrays of output"):
        wrong.plot("output")
    with pytest.raises(KeyError, match="no tensor 'weight' was compared"):
        wrong.plot("weight")
    with pytest.raises(UsageError, match=r"two arrays of one shape, .* has \(4, 3\) and torch's \(3, 4\)"):
        holding(wrong, np.ones((4, 3)), np.ones((3, 4)), np.ones((4, 3))).plot()


def test_without_matplotlib_it_says_so(wrong: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    from handgrad.compare import checking

    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "handgrad.compare.checking.plot", raising=False)
    monkeypatch.delattr(checking, "plot", raising=False)
    with pytest.raises(UsageError, match=r"plot needs matplotlib, .* pip install 'handgrad\[plot\]'"):
        wrong.plot()
