"""Options of an intersection: which go together, and which step can use what is left."""

from __future__ import annotations

from typing import Any

import pytest

from fedspark.conf import PipelineConf, PredictOptions, PsiOptions, pipeline_from
from fedspark.errors import ConfigError


def pipeline(psi: dict[str, Any], *, hosts: int = 1, train: bool = False, predict: dict[str, Any] | None = None) -> Any:
    steps: list[dict[str, Any]] = [{"step": "load", "tables": ["people", "others"]}]
    steps.append({"step": "psi", "table": "people", **psi})
    if train:
        steps.append({"step": "train", "table": "people"})
    if predict is not None:
        steps.append({"step": "predict", "table": "others", "model_run": "1", **predict})
    names = [f"host{number}" for number in range(hosts)]
    parties = {"guest": "guest", "hosts": names, "arbiter": "arbiter"}
    return {"project": "p", "pipeline": "q", "parties": parties, "steps": steps}


def refused(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        pipeline_from(content)
    return caught.value.message


def test_by_default_everybody_learns_the_people_and_keeps_the_common_rows():
    step = pipeline_from(pipeline({})).step("psi")
    assert isinstance(step, PsiOptions)
    assert (step.protocol, step.result, step.reveal, step.join) == ("auto", "both", "people", "inner")


def test_auto_has_the_settings_of_every_protocol_that_it_may_choose():
    step = pipeline_from(pipeline({"protocol": "auto", "key_bits": 3072})).step("psi")
    assert isinstance(step, PsiOptions)
    assert (step.key_bits, step.field_bits) == (3072, 2)
    written: PipelineConf = pipeline_from(pipeline({"protocol": "auto", "key_bits": 2048, "field_bits": 2}))
    assert written.digest() == pipeline_from(pipeline({"protocol": "auto"})).digest()


def test_counting_by_auto_is_counting_by_ecdh():
    step = pipeline_from(pipeline({"protocol": "auto", "reveal": "count"})).step("psi")
    assert isinstance(step, PsiOptions)
    assert (step.key_bits, step.field_bits) == (None, None)
    message = refused(pipeline({"protocol": "auto", "reveal": "count", "key_bits": 2048}))
    assert "steps[1].key_bits: belongs to protocol rsa; ecdh has keys of one size (found 2048)" in message


@pytest.mark.parametrize("protocol", ["rsa", "ot"])
def test_only_ecdh_can_count(protocol: str):
    said = {"protocol": protocol}
    message = refused(pipeline({"reveal": "count", **said}))
    assert f"steps[1].protocol: must be ecdh (or auto) with reveal: count; {protocol} cannot count" in message
    pipeline_from(pipeline({"reveal": "count", "protocol": "ecdh"}))


def test_what_several_hosts_share_cannot_be_counted():
    message = refused(pipeline({"reveal": "count", "protocol": "ecdh"}, hosts=2))
    assert "steps[1].reveal: must be people with 2 hosts" in message


def test_a_count_keeps_no_rows_of_others():
    message = refused(pipeline({"reveal": "count", "protocol": "ecdh", "join": "left"}))
    assert "steps[1].join: must be inner with reveal: count" in message


@pytest.mark.parametrize(
    ("psi", "why"),
    [
        ({"result": "guest"}, "has result: guest, so hosts do not know whom to train on"),
        ({"reveal": "count", "protocol": "ecdh"}, "has reveal: count, so nobody knows whom to train on"),
    ],
)
def test_nobody_trains_on_people_whom_somebody_does_not_know(psi: dict[str, Any], why: str):
    pipeline_from(pipeline(psi))
    assert f"steps[2].table: the psi step on 'people' {why}" in refused(pipeline(psi, train=True))


def test_people_whom_only_the_guest_keeps_do_not_hinder_training():
    pipeline_from(pipeline({"join": "left"}, train=True, predict={"join": "left"}))


def test_people_whom_a_host_does_not_know_cannot_be_scored():
    message = refused(pipeline({}, predict={"result": "guest"}))
    assert "steps[2].result: must be both: hosts compute their part of the scores" in message
    message = refused(pipeline({}, predict={"reveal": "count", "protocol": "ecdh"}))
    assert "steps[2].reveal: must be people: nobody can be scored who is only counted" in message
    with pytest.raises(ValueError, match="must be both"):
        PredictOptions(table="people", result="guest")


def test_signed_ids_are_kept_for_rsa_and_one_host_only():
    pipeline_from(pipeline({"cache": True}))
    message = refused(pipeline({"cache": True, "protocol": "ot"}))
    assert "steps[1].cache: belongs to protocol rsa; ot has no signed ids to keep" in message
    pipeline_from(pipeline({"cache": True, "protocol": "auto"}))
    message = refused(pipeline({"cache": True, "protocol": "auto", "reveal": "count"}))
    assert "steps[1].cache: belongs to protocol rsa; ecdh" in message
    assert "steps[1].cache: must be false with 2 hosts" in refused(pipeline({"cache": True}, hosts=2))
