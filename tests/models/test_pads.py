from __future__ import annotations

import math

import numpy as np
import pytest

from fedspark.errors import CryptoError, Mismatch
from fedspark.models import pads
from fedspark.models.pads import Pads
from fedspark.run import Run
from tests.federation import Federation


@pytest.fixture(scope="module")
def three() -> list[Pads]:
    federation = Federation(hosts=2)
    names = ["guest", "host1", "host2"]
    agreed = federation.play("psi", dict.fromkeys(names, lambda run: pads.agree(run, run.roster.data_parties)))
    return [agreed[name] for name in names]


def test_pads_of_all_contributors_cancel_and_those_of_fewer_do_not(three: list[Pads]) -> None:
    words = [each.words(4, "scores", 0) for each in three]
    assert (words[0] + words[1] + words[2]).tolist() == [0, 0, 0, 0]
    assert (words[0] + words[1]).all()
    assert not set(words[0].tolist()) & set(three[0].words(4, "scores", 1).tolist())


def test_only_the_sum_of_hidden_numbers_can_be_opened(three: list[Pads]) -> None:
    values = [[1.5, -(2.0**90), 1e-30], [0.25, 2.0**90, 2e-30], [-3.0, 1.0, -3e-30]]
    hidden = [each.hide(mine, "sums", 7) for each, mine in zip(three, values, strict=True)]
    assert pads.reveal(hidden) == pytest.approx([-1.25, 1.0, 0.0], abs=2.0**-126)
    assert all(value.bit_length() > 200 for column in hidden for value in column)
    assert all(abs(value) > 2.0**60 for value in pads.reveal(hidden[:2]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -(2.0**100)])
def test_numbers_that_cannot_be_hidden_are_refused(three: list[Pads], value: float) -> None:
    with pytest.raises(CryptoError, match="not finite or reaches"):
        three[0].hide([value], "sums", 1)


def test_a_secret_is_not_shown(three: list[Pads]) -> None:
    assert repr(three[0]) == "Pads()"


@pytest.mark.parametrize("message", [{}, [], {"public": "00"}, {"public": 5}, {"public": "00" * 32}])
def test_a_public_key_of_another_form_is_refused(message: object) -> None:
    def bad(run: Run) -> None:
        run.send("pad_key", run.roster.guest, message)

    federation = Federation(hosts=1)
    roles = {"guest": lambda run: pads.agree(run, run.roster.data_parties), "host": bad}
    with pytest.raises(Mismatch, match="not an X25519 public key"):
        federation.play("psi", roles)


def test_one_contributor_alone_hides_nothing() -> None:
    assert Pads(()).words(3, "scores").tolist() == [0, 0, 0]
    assert np.array(Pads(()).hide([2.0], "sums")).tolist() == [2 << 128]
