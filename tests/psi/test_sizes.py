"""Bucket arithmetic: every party computes the same plan from numbers that all of them see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.psi.sizes import (
    MAX_PART_ROWS,
    Plan,
    affordable_part_rows,
    bucket_count,
    buckets_per_part,
    make_plan,
    padded_rows,
)

SALT = bytes(32)


def test_a_small_table_is_one_bucket_without_padding():
    plan = make_plan({"guest": 100, "host": 65536}, [65536, 65536], 65536, SALT)
    assert (plan.buckets, plan.parts) == (1, 1)
    assert plan.padded == {"guest": 100, "host": 65536}


def test_one_row_more_than_a_bucket_holds_makes_two():
    assert [bucket_count(rows, 1000) for rows in (0, 1, 999, 1000, 1001, 2000, 2001, 4001)] == [1, 1, 1, 1, 2, 2, 4, 8]


@given(st.integers(0, 10**10), st.integers(1, 2**18))
def test_buckets_are_the_smallest_power_of_two_that_keeps_them_within_bounds(rows: int, bucket_rows: int):
    buckets = bucket_count(rows, bucket_rows)
    assert buckets & (buckets - 1) == 0
    assert rows <= buckets * bucket_rows
    assert buckets == 1 or rows > buckets // 2 * bucket_rows


def test_the_number_of_buckets_follows_from_the_largest_table_and_padding_from_each():
    plan = make_plan({"guest": 2000, "host": 100_000}, [1 << 20, 1 << 20], 1000, SALT)
    assert plan.buckets == 128
    assert 100_000 / 128 < plan.padded["host"] < 1.4 * 100_000 / 128
    assert plan.padded["guest"] < plan.padded["host"] / 8


def test_padding_of_large_buckets_costs_what_the_square_root_formula_says():
    buckets, mean = 256, 1 << 16
    by_formula = mean + math.sqrt(2 * mean * math.log(2 * buckets * 2**40))
    assert by_formula <= padded_rows(buckets * mean, buckets) < by_formula + 20


@given(st.integers(0, 10**9), st.integers(0, 20))
def test_padding_never_hides_more_rows_than_there_are(rows: int, log_buckets: int):
    buckets = 1 << log_buckets
    assert math.ceil(rows / buckets) <= padded_rows(rows, buckets) <= rows


@pytest.mark.parametrize(("rows", "buckets"), [(1000, 64), (5000, 8), (300, 128), (20_000, 1024)])
def test_no_bucket_of_random_rows_outgrows_its_padding(rows: int, buckets: int):
    generator = np.random.default_rng(rows)
    fullest = max(np.bincount(generator.integers(0, buckets, rows)).max() for _ in range(200))
    assert fullest <= padded_rows(rows, buckets)


def test_the_tail_of_a_small_bucket_is_below_the_promise():
    rows, buckets = 256, 16
    size = padded_rows(rows, buckets)
    p = 1 / buckets
    tail = sum(math.comb(rows, k) * p**k * (1 - p) ** (rows - k) for k in range(size + 1, rows + 1))
    assert buckets * tail < 2**-40


def test_a_part_is_as_many_buckets_as_the_most_limited_party_can_hold():
    assert buckets_per_part(1000, 16, 125) == 2
    assert buckets_per_part(1000, 16, 124) == 1
    assert buckets_per_part(1000, 256, 125) == 32
    plan = make_plan({"guest": 1000, "host": 900}, [200, 999], 64, SALT)
    assert (plan.buckets, plan.buckets_per_part, plan.parts) == (16, 2, 8)


@pytest.mark.parametrize(("buckets", "share"), [(1, 1), (2, 1), (8, 1), (16, 2), (64, 8), (1024, 128)])
def test_small_tables_have_parts_for_several_tasks_as_far_as_they_have_buckets(buckets: int, share: int):
    assert buckets_per_part(1000, buckets, 10**6) == share


def test_a_party_with_little_memory_gets_smaller_buckets():
    assert make_plan({"guest": 1000, "host": 900}, [50, 999], 500, SALT).buckets == 32


def test_no_part_exceeds_the_global_limit():
    plan = make_plan({"guest": 10**8, "host": 10**7}, [1 << 40, 1 << 40], 1 << 16, SALT)
    assert plan.buckets_per_part * 10**8 / plan.buckets <= MAX_PART_ROWS


def test_parts_cover_all_buckets_in_order():
    plan = make_plan({"guest": 1000, "host": 1000}, [130, 130], 32, SALT)
    assert [bucket for part in range(plan.parts) for bucket in plan.buckets_of(part)] == list(range(plan.buckets))
    assert plan.values("host") == plan.parts * plan.values_per_part("host")


def test_empty_tables_have_a_plan():
    plan = make_plan({"guest": 0, "host": 0}, [10, 10], 10, SALT)
    assert (plan.buckets, plan.parts, plan.padded) == (1, 1, {"guest": 0, "host": 0})


def test_wide_rows_make_small_parts():
    assert affordable_part_rows(8000, 256) < affordable_part_rows(100, 256) <= MAX_PART_ROWS
    assert affordable_part_rows(1 << 40, 256) == 1


def test_a_plan_does_not_print_its_salt():
    plan = Plan(salt=b"s" * 32, buckets=1, buckets_per_part=1, rows={"guest": 1}, padded={"guest": 1})
    assert "ssss" not in repr(plan)


def test_a_part_limit_does_not_tell_how_many_columns_a_table_has():
    limits = {columns: affordable_part_rows(128 + 8 * columns, 256) for columns in range(2000)}
    assert all(limit & (limit - 1) == 0 for limit in limits.values())
    assert len(set(limits.values())) < 10
