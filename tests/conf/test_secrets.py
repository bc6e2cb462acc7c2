"""Secrets by reference: found, or an error that names the reference and never the content."""

from __future__ import annotations

import logging

import pytest

from fedspark.conf.secrets import is_reference, is_secret_key, resolve, resolve_settings
from fedspark.errors import ConfigError


def test_a_file_is_taken_from_the_base_directory_less_one_newline(tmp_path):
    (tmp_path / "a.key").write_bytes(b"  secret\n\n")
    assert resolve("file:a.key", tmp_path) == b"  secret\n"
    assert resolve(f"file:{tmp_path}/a.key", "/elsewhere") == b"  secret\n"


def test_a_windows_line_end_is_one_newline(tmp_path):
    (tmp_path / "a.key").write_bytes(b"secret\r\n")
    assert resolve("file:a.key", tmp_path) == b"secret"


def test_an_environment_variable_is_read(monkeypatch):
    monkeypatch.setenv("FEDSPARK_TEST_SECRET", "clé\n")
    assert resolve("env:FEDSPARK_TEST_SECRET", "/") == "clé".encode()


def test_a_missing_variable_is_named(monkeypatch):
    monkeypatch.delenv("FEDSPARK_TEST_SECRET", raising=False)
    with pytest.raises(ConfigError, match="env:FEDSPARK_TEST_SECRET is missing"):
        resolve("env:FEDSPARK_TEST_SECRET", "/")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"secret file:no\.key cannot be read from .*no\.key: No such file"):
        resolve("file:no.key", tmp_path)


def test_a_directory_is_no_secret(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        resolve("file:.", tmp_path)


def test_an_empty_secret_is_refused(tmp_path):
    (tmp_path / "a.key").write_text("\n")
    with pytest.raises(ConfigError, match=r"file:a\.key is empty"):
        resolve("file:a.key", tmp_path)


def test_a_huge_file_is_no_secret(tmp_path):
    (tmp_path / "a.key").write_bytes(bytes(65537))
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        resolve("file:a.key", tmp_path)


def test_a_secret_in_clear_is_no_reference_and_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        resolve("hunter2", "/")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_others_can_read_is_used_with_a_warning(tmp_path, caplog):
    path = tmp_path / "a.key"
    path.write_text("hunter2")
    path.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        assert resolve("file:a.key", tmp_path) == b"hunter2"
    assert "file:a.key can be read by other users (mode 0640)" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_closed_file_gives_no_warning(tmp_path, caplog):
    path = tmp_path / "a.key"
    path.write_text("hunter2")
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        resolve("file:a.key", tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["env:A", "env:_a1", "file:a", "file:/a b", "file:../k"])
def test_references_are_known_by_their_form(text):
    assert is_reference(text)


@pytest.mark.parametrize("text", ["", "env:", "file:", "env:1A", "env:A-B", "ENV:A", "hunter2", "s3://b", "file:a\nb"])
def test_other_texts_are_no_references(text):
    assert not is_reference(text)


@pytest.mark.parametrize(
    "key",
    [
        "secret_access_key",
        "aws_session_token",
        "account_key",
        "azure_storage_account_key",
        "google_service_account_key",
        "client_secret",
        "sas_token",
        "aws_sse_customer_key_base64",
        "spark.ssl.keyStorePassword",
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.azure.account.key.mine.dfs.core.windows.net",
    ],
)
def test_settings_that_hold_a_secret_are_known_by_name(key):
    assert is_secret_key(key)


@pytest.mark.parametrize("key", ["access_key_id", "endpoint", "region", "federated_token_file", "spark.sql.canvas"])
def test_other_settings_are_not_secret(key):
    assert not is_secret_key(key)


def test_settings_are_resolved_where_they_hold_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSPARK_TEST_SECRET", "a")
    (tmp_path / "b").write_text("b\n")
    (tmp_path / "b").chmod(0o600)
    settings = {
        "spark.authenticate.secret": "file:b",
        "spark.hadoop.fs.s3a.access.key": "env:FEDSPARK_TEST_SECRET",
        "spark.yarn.archive": "file:///opt/archive.zip",
    }
    assert resolve_settings(settings, tmp_path) == {
        "spark.authenticate.secret": "b",
        "spark.hadoop.fs.s3a.access.key": "a",
        "spark.yarn.archive": "file:///opt/archive.zip",
    }
