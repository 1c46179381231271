"""Numbers that JSON does not have become null, however deep they stand; everything else stays what it is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.dataset.files import finite

_PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
_FLOATS = st.floats() | st.floats().map(np.float64)
_VALUES = st.recursive(
    _PLAIN | _FLOATS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


def plainly(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else value
    if isinstance(value, dict):
        return {name: plainly(item) for name, item in value.items()}
    return [plainly(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(_VALUES)
def test_what_is_not_finite_is_null(value: Any) -> None:
    found = finite(value)
    assert found == plainly(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
