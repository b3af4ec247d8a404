"""Arrays that carry a bound on their own rounding error."""

import handgrad.compare.rounding.functions  # noqa: F401  (hands the arrays their rules)
