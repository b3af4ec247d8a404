"""Every planted fault is caught, in the right tensors and no other, and named, and nothing else is.

Every third is tried here, for the suite's time; all of them by `make bench`.
"""

import pytest

from handgrad import check
from tests import ROOT
from tests.derivations.case import KINDS, Derivation
from tests.derivations.right.layers import RIGHT
from tests.derivations.scoring import said_of, score
from tests.derivations.wrong.breaking import MAGNITUDES
from tests.derivations.wrong.catalogue import EQUIVALENT, PARTS, catalogue

FAULTS = catalogue()


@pytest.mark.parametrize("fault", FAULTS[::3], ids=lambda f: f.name)
def test_fault_is_found_and_named(fault: Derivation) -> None:
    said = said_of(fault)
    result = score(fault, said)
    assert result.caught
    assert said.keys() == fault.differs.keys()
    assert result.named, f"said {said}, so it is {fault.differs}"
    assert not result.wrong


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_broken_there_is_right_before(name: str, dtype: str) -> None:
    layer, reference, arguments = RIGHT[name]
    check(layer, reference, dtype=dtype, **arguments)


def test_the_catalogue_is_large_and_of_every_kind_and_size() -> None:
    assert len(FAULTS) >= 90
    assert {f.kind for f in FAULTS} == set(KINDS)
    assert {f.group for f in FAULTS} == set(MAGNITUDES)
    assert len(PARTS) == len({part.__name__ for part in PARTS})
    assert all(reason for _, reason in EQUIVALENT)


def test_the_readme_counts_them() -> None:
    readme = ROOT / "README.md"
    counts = [sum(fault.group == magnitude for fault in FAULTS) for magnitude in MAGNITUDES]
    row = " | ".join(str(count) for count in (*counts, len(FAULTS)))
    assert f"| **planted** | {row} |" in readme.read_text("utf-8")
