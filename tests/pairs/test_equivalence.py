"""Every pair that the project ships agrees, in float64 and in float32."""

import pytest

from handgrad import check
from handgrad.compare.pairs.shipped import shipped

PAIRS = {name: rest for name, *rest in shipped()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PAIRS)
def test_pair_agrees(name: str, dtype: str) -> None:
    ours, reference, arguments = PAIRS[name]
    check(ours, reference, name=f"{name} {dtype}", dtype=dtype, **arguments)
