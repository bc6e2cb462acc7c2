"""Party files: places, tables, limits, overrides, and no secret in any message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedspark.conf import CsvTable, ParquetTable, check_together, load_party, load_pipeline, party_from
from fedspark.conf.document import parse_document
from fedspark.conf.tables import TABLE_KINDS
from fedspark.conf.urls import local_path
from fedspark.errors import ConfigError
from fedspark.party import identity_text

KEY = bytes(range(32))
KINDS = ", ".join(TABLE_KINDS)


def test_relative_places_begin_at_the_directory_of_the_file(write, party_text, tmp_path, monkeypatch):
    path = write(party_text)
    monkeypatch.chdir("/")
    party = load_party(os.path.relpath(path, "/"))
    assert party.path == path
    assert party.directory == tmp_path
    assert party.workspace.files == f"file://{tmp_path}/work/hospital"
    assert party.exchange.url == f"file://{tmp_path}/exchange"
    assert party.table("patients").path == f"{tmp_path}/data/*.csv"


def test_the_environment_does_not_change_what_is_loaded(write, party_text, monkeypatch):
    path = write(party_text)
    before = load_party(path)
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("SPARK_MASTER", "yarn")
    assert load_party(path) == before


def test_urls_stay_as_they_are(write, party_text):
    text = party_text.replace("files: work/hospital", "files: s3://bucket/a/")
    text = text.replace("url: exchange", "url: memory://shared").replace("path: data/*.csv", "path: s3a://b/*.csv")
    party = load_party(write(text))
    assert party.workspace.files == "s3://bucket/a"
    assert party.exchange.url == "memory://shared"
    assert party.table("patients").path == "s3a://b/*.csv"


def test_a_path_with_blanks_comes_back_from_its_url(write, party_text, tmp_path):
    party = load_party(write(party_text.replace("url: exchange", "url: my exchange ü")))
    assert party.exchange.url.startswith("file:///")
    assert local_path(party.exchange.url) == tmp_path / "my exchange ü"


def test_an_identity_is_the_key_itself_or_a_file_that_holds_it(write, party_text, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/authority.pub").write_text(identity_text(KEY[::-1]) + "\n")
    text = party_text.replace("peers:\n", "peers:\n  authority: file:keys/authority.pub\n")
    assert load_party(write(text)).peers == {"authority": KEY[::-1], "laboratory": KEY}


def test_defaults_of_limits_and_spark(write, party_text):
    party = load_party(write(party_text))
    assert party.policy.model_dump() == {
        "min_intersection": 1,
        "min_scored": 1,
        "min_bin_rows": 10,
        "min_training_rows": 200,
        "max_peer_rows": None,
        "cache_days": 30,
        "max_cached_ids_per_day": 100_000,
        "min_distinct_scores": 20,
        "min_key_bits": 2048,
        "show_id_shapes": True,
        "wait_seconds": 3600.0,
        "deadline_hours": 72.0,
    }
    assert party.spark.master == "local[*]"
    assert party.table("patients") == CsvTable(
        path=f"{party.directory}/data/*.csv", id=["patient_id"], label="malignant"
    )


def test_a_party_may_keep_the_shapes_of_its_ids_to_itself(write, party_text):
    party = load_party(write(party_text + "policy: {show_id_shapes: false}\n"))
    assert party.policy.show_id_shapes is False


def test_settings_may_be_written_as_numbers_and_booleans(write, party_text):
    text = party_text + "spark: {conf: {spark.ui.enabled: false, spark.ui.port: 4040}}\n"
    text = text.replace("url: exchange", "url: s3://b\n  options: {allow_http: true, secret_access_key: env:SECRET}")
    party = load_party(write(text))
    assert party.spark.conf == {"spark.ui.enabled": "false", "spark.ui.port": "4040"}
    assert party.exchange.options == {"allow_http": "true", "secret_access_key": "env:SECRET"}


def test_csv_and_parquet_tables_have_their_own_keys(write, party_text):
    text = (
        party_text
        + """\
    delimiter: \\t
    encoding: ISO-8859-1
    types: {patient_id: string, malignant: integer, age: double}
    duplicates: drop
  visits: {kind: parquet, path: /data/visits, id: [country, number], features: [a, b], ignore: [c]}
"""
    )
    party = load_party(write(text))
    csv, parquet = party.table("patients"), party.table("visits")
    assert isinstance(csv, CsvTable)
    assert (csv.delimiter, csv.encoding, csv.duplicates, csv.header) == ("\t", "iso-8859-1", "drop", True)
    assert csv.types == {"patient_id": "string", "malignant": "integer", "age": "double"}
    assert parquet == ParquetTable(path="/data/visits", id=["country", "number"], features=["a", "b"], ignore=["c"])


def test_an_unknown_table_is_answered_with_the_tables_there_are(write, party_text):
    with pytest.raises(ConfigError, match=r"no table 'patient'; the tables of its party file are: patients"):
        load_party(write(party_text)).table("patient")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: csv", "kind: cvs", f"tables.patients.kind: unknown kind; valid: {KINDS} (found 'cvs')."),
        ("kind: csv", "kind: cvs", "Did you mean 'csv'?"),
        ("    kind: csv\n", "", f"tables.patients.kind: is required and missing; valid: {KINDS}"),
        ("kind: csv", "kind: parquet\n    header: true", "tables.patients.header: unknown key; valid here: kind, id"),
        ("id: patient_id", "id: [a, a]", "tables.patients.id: names column 'a' twice"),
        ("id: patient_id", "id: []", "tables.patients.id: "),
        ("id: patient_id", "id: 3", "tables.patients.id: must be a list"),
        ("    id: patient_id\n", "", "tables.patients.id: is required and missing"),
        ("label: malignant", "label: patient_id", "label: names column 'patient_id', which `id` names too"),
        ("label: malignant", "features: [patient_id]", "features: names column 'patient_id', which `id` names too"),
        ("label: malignant", "label: 3", "tables.patients.label: must be text"),
        ("label: malignant", "header: false", "tables.patients.types: is required when `header` is false"),
        (
            "label: malignant",
            "header: false\n    types: {a: string}",
            "id: names column 'patient_id', which `types` does not have",
        ),
        ("label: malignant", "types: {patient_id: text}", "tables.patients.types.patient_id: must be 'string', "),
        ("label: malignant", "label_values: {sick: 1, well: 0}", "label_values: is of no use without `label`"),
        ("label: malignant", "label: y\n    label_values: {sick: 1, ill: 1}", "must say what stands for 0 and what"),
        ("label: malignant", "label: y\n    label_values: {sick: 2}", "label_values.sick: must be 0 or 1"),
        ("label: malignant", "label: y\n    weight: y", "weight: names column 'y', which `label` names too"),
        ("label: malignant", "time: patient_id", "time: names column 'patient_id', which `id` names too"),
        ("label: malignant", "delimiter: ab", "tables.patients.delimiter: "),
        ("label: malignant", "encoding: utf8", "Did you mean 'utf-8'?"),
        ("label: malignant", "duplicates: keep", "tables.patients.duplicates: must be 'refuse' or 'drop'"),
        ("data/*.csv", "~/x.csv", "tables.patients.path: must not begin with '~'"),
        ("  patients:", "  Patients 1:", 'tables["Patients 1"]: must be lower-case'),
        ("url: exchange", "url: hdfs://name/x", "exchange.url: hdfs has no create-only put"),
        (
            "url: exchange",
            "url: ftp://name/x",
            "exchange.url: must be a plain path or a URL of file, memory, s3, gs, az",
        ),
        ("url: exchange", "url: file://tmp/x", "exchange.url: must have three slashes"),
        ("url: exchange", "url: ''", "exchange.url: "),
        ("url: exchange", "url: ./work", "workspace.files: must not lie in the shared place"),
        ("files: work/hospital", "files: w\n  tables: x", "workspace.tables: unknown key; valid here: files, options."),
        ("files: work/hospital", "file: x", "workspace.file: unknown key; valid here: files, options."),
        ("  laboratory:", "  hospital:", "peers.hospital: is this party itself"),
        ("  laboratory:", f"  clinic: {identity_text(KEY)}\n  laboratory:", "has the same identity key as clinic"),
        ("laboratory: ed25519:", "laboratory: ed25519:x", "peers.laboratory: is not a public identity key"),
        ("laboratory: ed25519:", "laboratory: file:no.pub #", "The identity key file:no.pub cannot be read from /"),
        ("tables:\n", "policy: {min_bin_row: 5}\ntables:\n", "Did you mean 'min_bin_rows'?"),
        ("tables:\n", "policy: {min_key_bits: 1024}\ntables:\n", "policy.min_key_bits: must be greater than or equal"),
        ("tables:\n", "policy: {show_id_shapes: sometimes}\ntables:\n", "policy.show_id_shapes: must be true or false"),
        ("tables:\n", "policy: {deadline_hours: 0}\ntables:\n", "policy.deadline_hours: must be greater than 0"),
        ("tables:\n", "spark: {conf: {executor.memory: 1g}}\ntables:\n", "Did you mean spark.executor.memory?"),
        (
            "tables:\n",
            "spark: {conf: {spark.master: x}}\ntables:\n",
            'spark.conf["spark.master"]: is set in two places',
        ),
        ("tables:\n", "node: guest\ntables:\n", "node: unknown key; valid here: party, workspace, spark, "),
        ("tables:\n", "role: boss\ntables:\n", "role: "),
    ],
)
def test_a_broken_rule_is_named_with_its_key_path(refused_party, party_text, old, new, problem):
    assert old in party_text
    message = refused_party(party_text.replace(old, new, 1))
    assert problem in message


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("identity: file:keys/hospital.key", f"identity: {SECRET}", "identity: must be a reference"),
        ("identity: file:keys/hospital.key", f"identity: [{SECRET}]", "identity: must be text"),
        ("identity: file:keys/hospital.key", f"identiti: {SECRET}", "identiti: unknown key"),
        ("url: exchange", f"url: s3://user:{SECRET}@bucket/x", "exchange.url: must not carry a password"),
        ("url: exchange", f"url: s3://bucket/x?sig={SECRET}", "exchange.url: must not carry a password"),
        ("url: exchange", f"url: x\n  options: {SECRET}", "exchange.options: must be a mapping"),
        (
            "url: exchange",
            f"url: x\n  options: {{secret_access_key: {SECRET}}}",
            "secret_access_key: must be a reference",
        ),
        ("url: exchange", f"url: x\n  options: {{aws_session_token: {SECRET}}}", "session_token: must be a reference"),
        ("url: exchange", f"url: x\n  options: {{account_key: [{SECRET}]}}", "exchange.options.account_key: must be"),
        ("files: work/hospital", f"files: x\n  options: {{client_secret: {SECRET}}}", "client_secret: must be a ref"),
        (
            "tables:\n",
            f"spark: {{conf: {{spark.authenticate.secret: {SECRET}}}}}\ntables:\n",
            'secret"]: must be a ref',
        ),
        ("tables:\n", f"spark: {{conf: {{spark.ssl.keyPassword: {SECRET}}}}}\ntables:\n", 'Password"]: must be a ref'),
        ("laboratory: ", f"laboratory: {SECRET} #", "peers.laboratory: is not a public identity key"),
    ],
)
def test_a_secret_given_in_clear_is_refused_and_not_repeated(refused_party, party_text, old, new, where):
    assert old in party_text
    message = refused_party(party_text.replace(old, new, 1))
    assert where in message
    assert SECRET not in message


def test_a_settings_name_that_only_sounds_secret_is_no_secret(write, party_text):
    conf = "spark.hadoop.fs.s3a.aws.credentials.provider: org.Provider, spark.authenticate.secret.file: /x"
    text = party_text.replace("url: exchange", "url: s3://b\n  options: {access_key_id: hospital}")
    party = load_party(write(text + f"spark: {{conf: {{{conf}}}}}\n"))
    assert len(party.spark.conf) == 2


def test_overrides_are_dotted_keys_with_yaml_values(write, party_text, tmp_path):
    party = load_party(
        write(party_text),
        overrides={
            "spark.master": "local[2]",
            "spark.conf.spark.executor.memory": "2g",
            "policy.min_bin_rows": "3",
            "tables.patients.id": "[a, b]",
            "tables.patients.label": "null",
            "exchange.url": "other",
        },
    )
    assert party.spark.master == "local[2]"
    assert party.spark.conf == {"spark.executor.memory": "2g"}
    assert party.policy.min_bin_rows == 3
    assert party.table("patients").id == ["a", "b"]
    assert party.table("patients").label is None
    assert party.exchange.url == f"file://{tmp_path}/other"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("spark.mastre", "x", "file.yaml, with overrides: spark.mastre: unknown key"),
        ("policy.min_bin_rows", "many", "with overrides: policy.min_bin_rows: must be a whole number"),
        ("policy.min_bin_rows", "[1", "override policy.min_bin_rows:1: not YAML"),
        ("party.name", "x", "override party.name: cannot be overridden: party is not a mapping"),
        ("spark..master", "x", "not a dotted key"),
        ("exchange.options.secret_access_key", SECRET, "options.secret_access_key: must be a reference"),
    ],
)
def test_a_wrong_override_is_named(refused_party, party_text, key, value, problem):
    message = refused_party(party_text, overrides={key: value})
    assert problem in message
    assert SECRET not in message


def test_an_override_can_mend_the_file(write, party_text):
    text = party_text + "policy: {min_bin_rows: many}\n"
    assert load_party(write(text), overrides={"policy.min_bin_rows": "5"}).policy.min_bin_rows == 5


def test_content_at_hand_is_checked_like_a_file(write, party_text, tmp_path):
    content = parse_document(party_text, "text").data
    assert party_from(content, tmp_path).model_dump() == load_party(write(party_text)).model_dump()
    with pytest.raises(ConfigError, match="party: is required and missing"):
        party_from({key: value for key, value in content.items() if key != "party"}, tmp_path)


def test_a_party_file_must_serve_the_pipeline(write, party_text, pipeline_text):
    party = load_party(write(party_text))
    pipeline = load_pipeline(write(pipeline_text))
    with pytest.raises(ConfigError) as caught:
        check_together(party, pipeline)
    assert "peers.authority: is missing: pipeline demo needs this peer's identity key" in str(caught.value)
    assert "tables.newcomers: is missing: pipeline demo loads this table" in str(caught.value)
    stranger = load_party(write(party_text), overrides={"party": "clinic"})
    with pytest.raises(ConfigError, match="takes no part in pipeline demo, whose parties are hospital, laboratory"):
        check_together(stranger, pipeline)


def test_a_file_in_another_directory_is_another_party(party_text, tmp_path: Path):
    places = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "party.yaml").write_text(party_text)
        places.add(load_party(tmp_path / name / "party.yaml").workspace.files)
    assert len(places) == 2


@pytest.mark.parametrize(
    "key", ["party", "tables.patients.kind", "tables.patients.label", "exchange.url", "peers.clinic"]
)
@pytest.mark.parametrize("value", ["x" * 5_000, "{braces} {0}", "[[]]", "{kind: [csv]}", "'http://['", '"file:\\0"'])
def test_odd_values_give_a_short_error_or_none(write, party_text, key, value):
    message = ""
    try:
        load_party(write(party_text), overrides={key: value})
    except ConfigError as error:
        message = str(error)
    assert len(message) < 3000
