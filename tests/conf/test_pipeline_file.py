"""Pipeline files: what is read, what is refused, and the values that two parties compare."""

from __future__ import annotations

import pytest

from fedspark.conf import PsiOptions, TrainOptions, load_pipeline, pipeline_from
from fedspark.conf.document import parse_document
from fedspark.errors import ConfigError
from fedspark.party import Role


def test_defaults_are_filled_in(write, pipeline_text):
    pipeline = load_pipeline(write(pipeline_text))
    assert pipeline.step("psi") == PsiOptions(
        table="patients", protocol="auto", key_bits=2048, field_bits=2, bucket_rows=65536
    )
    train = pipeline.step("train")
    assert isinstance(train, TrainOptions)
    assert (train.l2, train.max_rounds, train.tolerance, train.validation) == (0.001, 50, 1e-11, 0.3)
    assert pipeline.ids.type == "string"


def test_the_roster_is_in_the_order_guest_hosts_arbiter(write, pipeline_text):
    text = pipeline_text.replace("[laboratory]", "[laboratory, clinic]")
    roster = load_pipeline(write(text)).roster()
    assert [party.name for party in roster] == ["hospital", "laboratory", "clinic", "authority"]
    assert [party.role for party in roster] == [Role.GUEST, Role.HOST, Role.HOST, Role.ARBITER]
    assert all(party.identity == b"" for party in roster)


def test_an_unknown_step_name_is_answered_with_the_names_there_are(write, pipeline_text):
    with pytest.raises(ConfigError, match=r"no step 'trian'; its steps are load, .*Did you mean 'train'"):
        load_pipeline(write(pipeline_text)).step("trian")


def test_all_problems_of_a_file_come_in_one_error_with_lines_and_nearest_keys(refused_pipeline):
    message = refused_pipeline("""\
project: Demo X
pipeline: demo
parties:
  guest: a
  hosts: [b, a]
  arbitre: c
steps:
  - step: load
    tables: [patients]
  - step: psi
    table: patient
    key_bitz: 2048
  - step: trane
  - step: train
    table: patients
    l2: -1
    max_rounds: true
    validation: "0.3"
ids: 3
extra: 1
""")
    for line in (
        "file.yaml:1: project: must be lower-case letters, digits, '-' and '_', beginning with a letter or digit"
        " (found 'Demo X'). For example 'demo-x'.",
        "file.yaml:5: parties.hosts[1]: names a party twice: every party has one role and its own name (found 'a').",
        "file.yaml:6: parties.arbitre: unknown key; valid here: guest, hosts, arbiter. Did you mean 'arbiter'?",
        "file.yaml:11: steps[1].table: 'patient' is not loaded by an earlier step; loaded so far: patients."
        " Did you mean 'patients'?",
        "file.yaml:12: steps[1].key_bitz: unknown key; valid here: step, name, table, protocol, key_bits,"
        " field_bits, result, reveal, join, cache, bucket_rows."
        " Did you mean 'key_bits'?",
        "file.yaml:13: steps[2].step: unknown step; valid: load, psi, train, evaluate, predict (found 'trane')."
        " Did you mean 'train'?",
        "file.yaml:15: steps[3].table: 'patients' is not intersected by an earlier psi step;"
        " intersected so far: patient. Did you mean 'patient'?",
        "file.yaml:16: steps[3].l2: must be greater than 0 (found -1).",
        "file.yaml:17: steps[3].max_rounds: must be a whole number (found true).",
        "file.yaml:18: steps[3].validation: must be a number (found '0.3').",
        "file.yaml:19: ids: must be a mapping (key: value) (found 3).",
        "file.yaml:20: extra: unknown key; valid here: project, pipeline, parties, ids, steps.",
    ):
        assert line in message.replace(message.split(":")[0].split(" in ")[-1], "file.yaml")
    assert "13 problems in" in message  # these, and the arbiter that vertical_lr needs


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("tables: [patients, newcomers]", "tables: []", "steps[0].tables: "),
        ("tables: [patients, newcomers]", "tables: [newcomers]", "steps[1].table: 'patients' is not loaded"),
        ("[patients, newcomers]", "[patients, patients, newcomers]", "steps[0].tables[1]: table 'patients' is loaded"),
        ("  arbiter: authority\n", "", "parties.arbiter: is required by steps[2]: vertical_lr needs an arbiter"),
        ("hosts: [laboratory]", "hosts: []", "parties.hosts: "),
        ("hosts: [laboratory]", "hosts: laboratory", "parties.hosts: must be a list"),
        ("hosts: [laboratory]", "hosts: [hospital]", "parties.hosts[0]: names a party twice"),
        ("arbiter: authority", "arbiter: hospital", "parties.arbiter: names a party twice"),
        ("guest: hospital", "guest: -hospital", "parties.guest: must be lower-case"),
        ("guest: hospital", f"guest: {'h' * 65}", "parties.guest: "),
        ("  - step: psi\n    table: patients\n", "", "steps[1].table: 'patients' is not intersected"),
        ("  - step: evaluate\n", "  - step: evaluate\n    model: fit\n", "steps[3].model: 'fit' is no earlier train"),
        ("  - step: evaluate\n", "  - step: evaluate\n    name: psi\n", "steps[3].name: step 'psi' is there already"),
        ("  - step: evaluate\n", "  - name: evaluate\n", "steps[3].step: is required and missing; valid: load, psi"),
        ("  - step: evaluate\n", "  - evaluate\n", "steps[3]: must be a mapping"),
        (
            "  - step: evaluate\n",
            "  - step: psi\n    table: patients\n    name: b\n",
            "'patients' is intersected already",
        ),
        ("step: psi\n", "step: psi\n    key_bits: 1024\n", "steps[1].key_bits: must be 2048 or 3072 (found 1024)"),
        ("step: psi\n", "step: psi\n    protocol: rsb\n", "Did you mean 'rsa'?"),
        ("step: psi\n", "step: psi\n    bucket_rows: 1\n", "steps[1].bucket_rows: must be greater than or equal to 2"),
        ("step: psi\n", "step: psi\n    bucket_rows: 262145\n", "steps[1].bucket_rows: must be less than or equal"),
        ("step: train\n", "step: train\n    l2: 0\n", "steps[2].l2: must be greater than 0"),
        ("step: train\n", "step: train\n    l2: .inf\n", "steps[2].l2: must be a finite number"),
        ("step: train\n", "step: train\n    tolerance: .nan\n", "steps[2].tolerance: must be a finite number"),
        ("step: train\n", "step: train\n    tolerance: 0\n", "steps[2].tolerance: must be greater than 0"),
        ("step: train\n", "step: train\n    max_rounds: 0\n", "steps[2].max_rounds: "),
        ("step: train\n", "step: train\n    max_rounds: 1001\n", "steps[2].max_rounds: "),
        ("step: train\n", "step: train\n    max_rounds: 1.5\n", "steps[2].max_rounds: must be a whole number"),
        ("step: train\n", "step: train\n    validation: 1\n", "steps[2].validation: must be less than 1"),
        ("step: train\n", "step: train\n    model: vertical-lr\n", "Did you mean 'vertical_lr'?"),
        ("step: evaluate\n", "step: evaluate\n    threshold: 0\n", "steps[3].threshold: must be greater than 0"),
        ("project: breast-cancer\n", "", "project: is required and missing"),
    ],
)
def test_a_broken_rule_is_named_with_its_key_path(refused_pipeline, pipeline_text, old, new, problem):
    assert old in pipeline_text
    message = refused_pipeline(pipeline_text.replace(old, new, 1))
    assert problem in message


def test_a_step_may_have_its_own_name_and_others_refer_to_it(write, pipeline_text):
    text = pipeline_text.replace("step: train", "step: train\n    name: fit").replace(
        "step: evaluate", "step: evaluate\n    model: fit"
    )
    text = text.replace("table: newcomers", "table: newcomers\n    model: fit")
    assert load_pipeline(write(text)).step("fit").step == "train"


def test_a_file_with_defaults_written_out_has_the_same_digest(write, pipeline_text):
    short = load_pipeline(write(pipeline_text))
    written = pipeline_text.replace("step: psi", "step: psi\n    name: psi\n    key_bits: 2048")
    long = load_pipeline(write("ids: {type: string}\n" + written.replace("step: train", "step: train\n    l2: 1e-3")))
    assert long.digest() == short.digest()
    assert len(short.digest()) == 64


def test_a_differing_value_changes_the_digest_and_shows_under_its_key(write, pipeline_text):
    ours = load_pipeline(write(pipeline_text))
    theirs = load_pipeline(write(pipeline_text.replace("step: psi", "step: psi\n    key_bits: 3072")))
    assert ours.digest() != theirs.digest()
    differing = {key for key, value in ours.flat().items() if theirs.flat().get(key) != value}
    assert differing == {"steps.psi.key_bits"}
    assert ours.flat()["steps.psi.key_bits"] == "2048"


def test_a_protocol_without_rsa_has_no_key_bits(write, pipeline_text, refused_pipeline):
    ecdh = pipeline_text.replace("step: psi", "step: psi\n    protocol: ecdh")
    step = load_pipeline(write(ecdh)).step("psi")
    assert isinstance(step, PsiOptions)
    assert (step.protocol, step.key_bits) == ("ecdh", None)
    message = refused_pipeline(ecdh.replace("protocol: ecdh", "protocol: ecdh\n    key_bits: 2048"))
    assert "steps[1].key_bits: belongs to protocol rsa; ecdh has keys of one size (found 2048)" in message


def test_only_the_ot_protocol_has_a_field(write, pipeline_text, refused_pipeline):
    text = pipeline_text.replace("step: psi", "step: psi\n    protocol: ot")
    step = load_pipeline(write(text)).step("psi")
    assert isinstance(step, PsiOptions)
    assert (step.protocol, step.key_bits, step.field_bits) == ("ot", None, 2)
    said = text.replace("protocol: ot", "protocol: ot\n    field_bits: 2")
    assert load_pipeline(write(said)).digest() == load_pipeline(write(text)).digest()
    assert "steps[1].field_bits:" in refused_pipeline(text.replace("protocol: ot", "protocol: ot\n    field_bits: 3"))
    message = refused_pipeline(text.replace("protocol: ot", "protocol: ecdh\n    field_bits: 4"))
    assert "steps[1].field_bits: belongs to protocol ot; ecdh has no such field (found 4)" in message
    message = refused_pipeline(text.replace("protocol: ot", "protocol: ot\n    key_bits: 2048"))
    assert "steps[1].key_bits: belongs to protocol rsa; ot has keys of one size (found 2048)" in message


def test_the_order_of_steps_is_compared_too(write, pipeline_text):
    ours = load_pipeline(write(pipeline_text))
    predict = "  - step: predict\n    table: newcomers\n"
    moved = pipeline_text.replace(predict, "").replace("  - step: evaluate\n", predict + "  - step: evaluate\n")
    theirs = load_pipeline(write(moved))
    assert theirs.flat()["steps"] == "load, psi, train, predict, evaluate"
    assert ours.flat()["steps"] != theirs.flat()["steps"]
    assert ours.digest() != theirs.digest()


def test_content_at_hand_is_checked_like_a_file(write, pipeline_text):
    content = parse_document(pipeline_text, "text").data
    assert pipeline_from(content) == load_pipeline(write(pipeline_text))
    content["steps"][1]["table"] = "patient"
    with pytest.raises(ConfigError, match=r"steps\[1\]\.table: 'patient' is not loaded"):
        pipeline_from(content, "demo")
