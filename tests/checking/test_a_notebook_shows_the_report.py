"""In a notebook a report is a table, its causes, and a reproducer to unfold; whatever is in it is escaped."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, Report, check


class Page(HTMLParser):
    """The text of each table cell and of the rest, and every tag, each of which must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data
        elif "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def wrong() -> Report:
    with pytest.raises(CheckFailed) as failure:
        check((np.sin, lambda dy, x: 2 * dy * np.cos(x)), torch.sin, x=(3, 4), name='a <b>sine</b> & "more"')
    return failure.value.report


def test_a_row_for_each_tensor(wrong: Report) -> None:
    page = Page(wrong._repr_html_())
    output, gradient = page.cells[:5], page.cells[5:]
    assert output[:2] == ["output", "agrees"]
    assert output[3:] == [f"{wrong['output'].verdict.fraction:.3f}", "rounding bound"]
    assert gradient[:2] == ["input gradient", "differs"]
    assert gradient[3] == f"{wrong['input gradient'].verdict.fraction:.1e}"


def test_then_the_causes_and_the_reproducer(wrong: Report) -> None:
    page = Page(wrong._repr_html_())
    assert "differs in all 12 elements" in page.text
    assert f"cause: {wrong['input gradient'].causes[0]}" in page.text
    assert page.tags.count("details") == 1
    assert wrong.reproducer in page.text


def test_what_is_in_it_is_text(wrong: Report) -> None:
    finding = dataclasses.replace(
        wrong["input gradient"], tensor="<script>a</script>", notes=("<script>b</script>",), elements="<i>"
    )
    shared = dataclasses.replace(finding, tensor="<u>", verdict=wrong["output"].verdict, notes=("<img>", "<img>"))
    planted = dataclasses.replace(wrong, findings=(finding, shared), reproducer="<script>c</script>")
    page = Page(planted._repr_html_())
    assert not {"script", "img", "i", "u"} & set(page.tags)
    assert page.tags.count("b") == 1  # the name is bold, and what is written in it is not
    for text in ("<script>b</script>", "<script>c</script>", "<i>", "<img>", 'a <b>sine</b> & "more"'):
        assert text in page.text
    assert page.cells[0] == "<script>a</script>"


def test_a_wrong_shape_is_told_in_the_table() -> None:
    with pytest.raises(CheckFailed) as failure:
        check((np.sin, lambda dy, x: (dy * np.cos(x)).T), torch.sin, x=(3, 4))
    page = Page(failure.value.report._repr_html_())
    assert page.cells[9].startswith("shape (4, 3) beside torch's (3, 4)")


def lightness(colour: str) -> float:
    """The relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_it_is_read_on_a_light_and_a_dark_page(wrong: Report, background: str) -> None:
    style = wrong._repr_html_().partition("</style>")[0]
    assert "color:inherit" in style
    fixed = re.findall(r"color:(#\w{6})", style)
    assert len(fixed) == 3
    for colour in fixed:
        dark, light = sorted((lightness(colour), lightness(background)))
        assert (light + 0.05) / (dark + 0.05) > 3
    assert set(re.findall(r"background:([^;}]+)", style)) == {"none", "rgba(128,128,128,.12)"}
