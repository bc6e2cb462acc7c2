"""Files that are no YAML, no mapping or no text, and YAML's surprises."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedspark.conf import load_party, load_pipeline
from fedspark.conf.document import parse_document
from fedspark.errors import ConfigError


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere/a\.yaml cannot be read: No such file"):
        load_pipeline("nowhere/a.yaml")


def test_a_directory_is_no_configuration_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_party(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "holds nothing"),
        ("# only a comment\n", "holds nothing"),
        ("- 1\n- 2\n", "holds a list"),
        ("hospital", "holds a single value"),
        ("a: 1\nb: [1,\nc: 2\n", "file.yaml:4: not YAML: while parsing a flow sequence (begun in line 2)"),
        ("a: 1\n  b: 2\n", "file.yaml:2: not YAML"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: not YAML"),
        ("a: 1\nb: *nothing\n", "file.yaml:2: not YAML: found undefined alias"),
        (b"a: 1\nb: \xff\n", "file.yaml:2: the file is not UTF-8 text (byte 0xff)"),
        ("a: 1\nb: \x07\n", "file.yaml:2: a character that YAML forbids"),
        ("&a [*a]\n", "file.yaml:1: aliases repeat without end"),
        ("[" * 5000, "nested too deeply"),
        ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_with_its_line(refused_pipeline, content, text):
    assert text in refused_pipeline(content)


def test_aliases_cannot_blow_a_small_file_up():
    layers = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    layers += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="aliases repeat without end"):
        parse_document("\n".join(layers), "bomb")


def test_a_syntax_error_does_not_quote_the_text_which_may_be_secret(refused_party):
    assert "hunter2" not in refused_party('party: a\nidentity: "hunter2\nx: [hunter2\n')


def test_a_key_that_is_there_twice_is_named_with_both_lines(refused_pipeline, pipeline_text):
    message = refused_pipeline(pipeline_text + "    table: patients\n")
    assert "file.yaml:17: steps[4].table: the key is there twice, first in line 16" in message


def test_no_tag_can_run_code(refused_pipeline, tmp_path):
    message = refused_pipeline(f"project: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    assert "tag '!!python/object/apply:os.mkdir' cannot be used here" in message
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("007", "007"),
        ("12", 12),
        ("-3", -3),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1e-9", 1e-9),
        ("1.0e-9", 1e-9),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ("'12'", "12"),
    ],
)
def test_plain_words_mean_what_they_look_like(text, value):
    found = parse_document(f"a: {text}", "text").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(write, pipeline_text):
    plain = load_pipeline(write(pipeline_text))
    assert load_pipeline(write(b"\xef\xbb\xbf" + pipeline_text.replace("\n", "\r\n").encode())) == plain
