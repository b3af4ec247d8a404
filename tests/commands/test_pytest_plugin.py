"""In a test, `check` shows its report as the failure, and the summary lists every check with its headroom."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest_plugins = ["pytester"]

TESTS = """import torch
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

def test_refused():
    check(manual.Tanh(), torch.nn.Tanh())
"""
HEADLINE = "flipped tanh, test_it.py:12: input gradient differs: the sign is flipped"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_report_summary_and_files(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(test_it=TESTS)
    result = pytester.runpytest_subprocess(
        "--handgrad-report", "out.json", "--junitxml", "junit.xml", "-p", "no:cacheprovider", *workers
    )
    result.assert_outcomes(passed=1, failed=3)
    text = result.stdout.str()
    assert f"\n{HEADLINE}\n\nflipped tanh: 1 of 2 tensors differ\n" in text
    assert "cause: the sign is flipped" in text
    assert "compare/checking/" not in text  # the report, and not a traceback through our own code
    assert "assert (1 + 1) == 3" in text  # and other failures as they were
    assert "\ntest_it.py:18: check takes exactly one of x= or inputs= (a layer or a function)" in text
    summary = text[text.index("handgrad: checks") :].splitlines()
    assert summary[1].startswith("DIFFERS")
    assert summary[1].endswith("  flipped tanh  test_it.py:12 (test_wrong)")
    assert summary[2].startswith("agrees")
    assert summary[2].endswith("  tanh  test_it.py:9 (test_right)")
    assert f"FAILED test_it.py::test_wrong - {HEADLINE[:12]}" in text
    written = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert {r["name"]: (r["agrees"], r["where"], r["phase"]) for r in written} == {
        "tanh": (True, "test_it.py:9", "call"), "flipped tanh": (False, "test_it.py:12", "call"),
    }  # fmt: skip
    failures = {
        case.get("name"): failure
        for case in ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
        for failure in case.iter("failure")
    }
    assert failures["test_wrong"].get("message") == HEADLINE
    assert "To reproduce:" in (failures["test_wrong"].text or "")
    assert (failures["test_refused"].get("message") or "").startswith("test_it.py:18: check takes exactly one")


def test_silent_where_nothing_is_checked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert 'torch' not in sys.modules")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "handgrad" not in result.stdout.str().split("collected")[1]


# --- fixtures, loops, threads -----------------------------------------------------------------------------------------

EVERYWHERE = """import threading
import pytest, torch
from handgrad import CheckFailed, check, manual

def tanh(name, ours=manual.Tanh):
    return check(ours(), torch.nn.Tanh(), x=(2,), name=name)

class Flipped(manual.Tanh):
    def input_gradient(self, params, cache, dy):
        return -super().input_gradient(params, cache, dy)

@pytest.fixture
def checked():
    tanh("before")
    yield
    tanh("after")

@pytest.fixture
def broken():
    tanh("in a fixture", Flipped)

def test_loop(checked):
    for n in range(3):
        tanh(f"loop {n}")

def test_threads():
    threads = [threading.Thread(target=tanh, args=(f"thread {n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def test_broken(broken):
    pass

def test_expected():
    with pytest.raises(CheckFailed):
        tanh("expected", Flipped)
"""


def test_checks_anywhere_in_a_test_are_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=EVERYWHERE)
    result = pytester.runpytest_inprocess("--handgrad-report", "out.json", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    written = json.loads((pytester.path / "out.json").read_text("utf-8"))
    found = sorted((r["test"].partition("::")[2], r["phase"], r["name"], r["passed"]) for r in written)
    assert found == [
        ("test_broken", "setup", "in a fixture", False),
        ("test_expected", "call", "expected", True),
        ("test_loop", "call", "loop 0", True),
        ("test_loop", "call", "loop 1", True),
        ("test_loop", "call", "loop 2", True),
        ("test_loop", "setup", "before", True),
        ("test_loop", "teardown", "after", True),
        ("test_threads", "call", "thread 0", True),
        ("test_threads", "call", "thread 1", True),
    ]
    lines = result.stdout.str().splitlines()
    assert any(line.startswith("DIFFERS") and line.endswith("(test_broken, setup)") for line in lines)
    assert any(line.startswith("differs") and line.endswith("(test_expected)") for line in lines)
    assert any(line.startswith("agrees") and line.endswith("(test_loop, teardown)") for line in lines)
    assert "in a fixture, test_it.py:6: input gradient differs: the sign is flipped" in lines


def test_a_check_in_another_file_names_it_and_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helper="import torch\nfrom handgrad import check, manual\n\n"
        "def tanh():\n    check(manual.Tanh(), torch.nn.Tanh(), x=(2,), name='t')\n",
        test_it="import helper\ndef test_one(): helper.tanh()",
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["agrees * t  helper.py:5 (test_it.py::test_one)"])


def test_a_session_within_a_test_keeps_its_checks_to_itself(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    """This test's own plugin hears of this test's checks alone, in any thread, before and after an inner session."""
    from handgrad.compare.commands.pytest_plugin import HEARD

    def in_a_thread(work: Callable[[], Any]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def tanh() -> None:
        import torch

        from handgrad import check, manual

        check(manual.Tanh(), torch.nn.Tanh(), x=(2,), name="outer")

    in_a_thread(tanh)
    pytester.makepyfile(test_it=EVERYWHERE)
    pytester.runpytest_inprocess("--handgrad-report", "out.json", "-p", "no:cacheprovider", "-k", "loop or threads")
    in_a_thread(tanh)
    assert [report.name for report in request.node.stash[HEARD]] == ["outer", "outer"]
    inner = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert len(inner) == 7
    assert all(check["name"] != "outer" for check in inner)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
@pytest.mark.parametrize("place", ["missing/out.json", "."])
def test_a_file_that_cannot_be_is_said_at_the_start(
    pytester: pytest.Pytester, place: str, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_it="def test_it(): pass")
    result = pytester.runpytest_subprocess("--handgrad-report", place, "-p", "no:cacheprovider", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.stderr.str().splitlines() if line)
    assert line.startswith(f"ERROR: --handgrad-report must name a file in a folder that exists, got {place}")
    assert "passed" not in result.stdout.str()


def test_a_file_that_cannot_be_written_any_more_fails_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="import shutil\ndef test_it(): shutil.rmtree('there')")
    (pytester.path / "there").mkdir()
    result = pytester.runpytest_subprocess("--handgrad-report", "there/out.json", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["handgrad: the reports cannot be written to *there/out.json (No such file*)"])


def test_a_test_that_changes_the_folder_does_not_move_the_file(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="import os\ndef test_it(tmp_path): os.chdir(tmp_path)")
    result = pytester.runpytest_subprocess("--handgrad-report", "out.json", "-p", "no:cacheprovider")
    assert result.ret == 0
    assert json.loads(Path(pytester.path / "out.json").read_text("utf-8")) == []
