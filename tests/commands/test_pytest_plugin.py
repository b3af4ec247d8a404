"""In a test, `check` shows its report as the failure, and the summary lists every check with its headroom."""

import json

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import torch
from handgrad import check, manual

class Flipped(manual.Tanh):
    def input_gradient(self, params, cache, dy):
        return -super().input_gradient(params, cache, dy)

def test_right():
    check(manual.Tanh(), torch.nn.Tanh(), x=(3, 4), name="tanh")

def test_wrong():
    check(Flipped(), torch.nn.Tanh(), x=(3, 4), name="flipped tanh")

def test_unrelated():
    assert 1 + 1 == 3
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_report_summary_and_file(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("--handgrad-report", "out.json", "-p", "no:cacheprovider", *workers)
    result.assert_outcomes(passed=1, failed=2)
    text = result.stdout.str()
    assert "flipped tanh: 1 of 2 tensors differ" in text
    assert "cause: the sign is flipped" in text
    assert "compare/checking/" not in text  # the report, and not a traceback through our own code
    assert "assert (1 + 1) == 3" in text  # and other failures as they were
    summary = text[text.index("handgrad: checks") :].splitlines()
    assert summary[1].startswith("DIFFERS")
    assert "flipped tanh  (test_report_summary_and_file.py::test_wrong)" in summary[1]
    assert summary[2].startswith("agrees")
    assert "tanh  (test_report_summary_and_file.py::test_right)" in summary[2]
    written = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert {r["name"]: r["agrees"] for r in written} == {"tanh": True, "flipped tanh": False}


def test_silent_where_nothing_is_checked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert 'torch' not in sys.modules")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "handgrad" not in result.stdout.str().split("collected")[1]
