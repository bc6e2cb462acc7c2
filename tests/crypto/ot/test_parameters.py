"""Sizes of a run: exact probabilities, the published fit for tables, lengths of tags."""

from __future__ import annotations

from fractions import Fraction
from math import log2

import pytest

from fedspark.crypto.ot import parameters
from fedspark.errors import CryptoError


def fewer_than(distance: int, width: int) -> Fraction:
    """Pr[Binomial(width, 1/2) < distance] by convolution, one coin at a time."""
    counts = [1]
    for _ in range(width):
        counts = [a + b for a, b in zip([0, *counts], [*counts, 0], strict=True)]
    return Fraction(sum(counts[:distance]), 2**width)


@pytest.mark.parametrize(
    ("width", "bits"), [(424, 54.4), (432, 58.3), (440, 62.4), (448, 66.5), (464, 75.0), (480, 83.8), (512, 102)]
)
def test_the_probability_of_close_codewords_is_the_published_one(width: int, bits: float) -> None:
    exact = parameters.close_codewords(1, width)
    assert exact == fewer_than(128, width)
    assert -log2(exact) == pytest.approx(bits, abs=0.6)


@pytest.mark.parametrize(("field_bits", "distance"), [(1, 128), (2, 64), (4, 32)])
def test_every_code_leaves_128_secret_bits_for_a_thousand_million_ids(field_bits: int, distance: int) -> None:
    width = parameters.CODE_WIDTHS[field_bits]
    assert distance * field_bits == parameters.SECRET_BITS
    assert parameters.close_codewords(field_bits, width) == fewer_than(distance, width)
    assert fewer_than(distance, width) * 2**30 < Fraction(1, 2**40)
    assert width % 8 == 0


@pytest.mark.parametrize(("log_n", "e", "gap"), [(14, 1.268, 2), (16, 1.244, 2), (18, 1.233, 2), (20, 1.227, 1)])
def test_tables_have_the_published_expansion(log_n: int, e: float, gap: int) -> None:
    third, dense = parameters.table_size(1 << log_n, 40)
    assert 3 * third / 2**log_n == pytest.approx(e, abs=6e-4)
    assert dense == 40 + gap


def test_more_buckets_make_larger_tables_since_the_error_is_that_of_the_run() -> None:
    one, many = (parameters.choose(2, buckets, 67_800, 67_800) for buckets in (1, 4096))
    assert many.third > one.third
    assert many.dense == one.dense + 12 + 1
    assert many.rows == 3 * many.third + many.dense


def test_tags_have_40_bits_more_than_the_pairs_that_are_compared() -> None:
    assert parameters.choose(2, 16, 1 << 16, 1 << 16).tag_bytes == 10  # 76 bits
    assert parameters.choose(2, 1 << 12, 1 << 18, 1 << 18).tag_bytes == 11  # 88 bits
    assert parameters.choose(2, 1, 1, 1).tag_bytes == 5


def test_an_id_costs_less_than_60_bytes_with_two_bits() -> None:
    capacity = 67_800  # 2^16 and what 2^14 buckets may overflow by
    for buckets in (16, 1 << 14):
        sizes = parameters.choose(2, buckets, capacity, capacity)
        assert (sizes.bytes_received + sizes.bytes_sent) / 2**16 < 60


@pytest.mark.parametrize(
    "arguments",
    [(3, 1, 10, 10), (0, 1, 10, 10), (2, 0, 10, 10), (2, 1, 0, 10), (2, 1, 10, 0), (2, 1, 1 << 25, 10)],
)
def test_sizes_outside_the_protocol_are_refused(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(CryptoError):
        parameters.choose(*arguments)


def test_runs_too_large_for_their_codes_are_refused() -> None:
    parameters.choose(4, 1 << 14, 1 << 18, 1 << 18)
    with pytest.raises(CryptoError, match="too short"):
        parameters.choose(4, 1 << 15, 1 << 18, 1 << 18)
