"""Every planted fault is caught, in the right tensors and no other, and named, and nothing else is.

Every third is tried here, for the suite's time; all of them by `make bench`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.catalogue import EQUIVALENT, ROOMS, catalogue, said_of, score
from benchmarks.catalogue_base import KINDS, MAGNITUDES, Fault
from benchmarks.catalogue_right import RIGHT
from handgrad import check

FAULTS = catalogue()


@pytest.mark.parametrize("fault", FAULTS[::3], ids=lambda f: f.name)
def test_fault_is_found_and_named(fault: Fault) -> None:
    said = said_of(fault)
    result = score(fault, said)
    assert result.caught
    assert said.keys() == fault.causes.keys()
    assert result.named, f"said {said}, so it is {fault.causes}"
    assert not result.wrong


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_broken_there_is_right_before(name: str, dtype: str) -> None:
    layer, reference, arguments = RIGHT[name]
    check(layer, reference, dtype=dtype, **arguments)


def test_the_catalogue_is_large_and_of_every_kind_and_size() -> None:
    assert len(FAULTS) >= 90
    assert {f.kind for f in FAULTS} == set(KINDS)
    assert {f.magnitude for f in FAULTS} == set(MAGNITUDES)
    assert len(ROOMS) == len({room.__name__ for room in ROOMS})
    assert all(reason for _, reason in EQUIVALENT)


def test_the_readme_counts_them() -> None:
    readme = next(f / "README.md" for f in Path(__file__).resolve().parents if (f / "pyproject.toml").exists())
    counts = [sum(fault.magnitude == magnitude for fault in FAULTS) for magnitude in MAGNITUDES]
    row = " | ".join(str(count) for count in (*counts, len(FAULTS)))
    assert f"| **planted** | {row} |" in readme.read_text("utf-8")
