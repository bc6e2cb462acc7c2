from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.reports.formats import bytes_text, decimals_for, linear_axis, log_axis, written


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234567, "", "1,234,567"),
        (-5, "", "\u22125"),
        (0.99341, "", "0.9934"),
        (1.0, "", "1.0000"),
        (0.0, "", "0"),
        (0.000021, "", "2.10\u00d710⁻⁵"),
        (123456.789, "", "123,457"),
        (np.int64(7), "rows", "7 rows"),
        (np.float64(0.5), "share", "50.0 %"),
        (1310000, "bytes", "1.31 MB"),
        (412.5, "seconds", "6 min 52 s"),
        (10000, "seconds", "2 h 46 min"),
        (math.inf, "", "∞"),
        (math.nan, "", "\u2013"),
        (None, "", "\u2013"),
        (True, "", "yes"),
        (10**30, "bytes", "1" + ",000" * 10 + " bytes"),
        (2048, "bits", "2,048 bits"),
        ("as it is", "bytes", "as it is"),
        (["a", 2], "", "a, 2"),
        ({"a": 1, "b": None}, "", "a: 1, b: \u2013"),
    ],
)
def test_a_value_is_written_as_a_reader_expects(value: object, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999_999, "1.00 MB"),
        (1000, "1.00 kB"),
        (27_599, "27.6 kB"),
        (5e9, "5.00 GB"),
    ],
)
def test_bytes_are_written_with_three_figures(size: float, text: str) -> None:
    assert bytes_text(size) == text


def test_reals_of_one_column_share_their_decimals() -> None:
    assert decimals_for([0.5, 123.4]) == 2
    assert decimals_for([]) == 0
    assert decimals_for([1e-9]) is None


def test_ticks_are_round_numbers_with_as_many_decimals_as_they_need() -> None:
    assert linear_axis(0.0, 1.0).labels == ("0.0", "0.2", "0.4", "0.6", "0.8", "1.0")
    assert linear_axis(-3.2, 7.9).ticks == (-5, 0, 5, 10)
    assert linear_axis(1, 9, whole=True, loose=False).labels == tuple("123456789")
    assert log_axis(2e-10, 1.3).labels[0] == "10⁻¹⁰"
    assert log_axis(0.2, 3).labels == ("0.1", "0.2", "0.5", "1", "2", "5", "10")


finite = st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-12)


@given(finite, finite)
def test_every_axis_covers_its_values_with_few_distinct_labels(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if high - low < 1e-6 * max(abs(low), abs(high)):
        high = low
    axis = linear_axis(low, high)
    assert axis.low <= low <= high <= axis.high
    assert 2 <= len(axis.ticks) <= 9
    assert len(axis.ticks) == len(axis.labels)
    assert all(-1e-6 <= axis.share(tick) <= 1 + 1e-6 for tick in axis.ticks)


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_every_logarithmic_axis_covers_its_values_with_few_ticks(a: float, b: float) -> None:
    axis = log_axis(min(a, b), max(a, b))
    assert -1e-9 <= axis.share(min(a, b)) <= axis.share(max(a, b)) <= 1 + 1e-9
    assert 2 <= len(axis.ticks) <= 10
