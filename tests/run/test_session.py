"""The Spark session: which settings, whose Python, and when it is refused."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedspark.conf import party_from
from fedspark.errors import ConfigError, StoreError
from fedspark.exchange.store import StoreRef
from fedspark.run import Workspace, session
from fedspark.run.session import is_local, probe_executors, start_session

ENCRYPTED = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.io.encryption.enabled": "true",
}
_numbers = itertools.count()


class FakeSession:
    """As much of a SparkSession as the checks look at."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings, self.stopped = settings, False

    @property
    def sparkContext(self) -> FakeSession:  # noqa: N802
        return self

    @property
    def master(self) -> str:
        return self.settings.get("spark.master", "")

    def getConf(self) -> dict[str, str]:  # noqa: N802
        return self.settings

    def setLogLevel(self, _level: str) -> None:  # noqa: N802
        pass

    def stop(self) -> None:
        self.stopped = True

    def parallelize(self, _values: list[int], _slices: int) -> FakeSession:
        return self

    def map(self, function: Callable[[int], bool]) -> FakeSession:
        self.task = function
        return self

    def collect(self) -> list[bool]:
        return [self.task(0)]


class FakeBuilder:
    """Notes what it is asked for."""

    def __init__(self, settings: dict[str, str], error: Exception | None = None) -> None:
        self.settings, self.error = settings, error
        self.started: list[dict[str, str]] = []

    def __call__(self, **_: Any) -> FakeBuilder:
        return self

    def appName(self, name: str) -> FakeBuilder:  # noqa: N802
        return self.config("spark.app.name", name)

    def master(self, master: str) -> FakeBuilder:
        return self.config("spark.master", master)

    def config(self, key: str, value: str) -> FakeBuilder:
        self.settings[key] = value
        return self

    def getOrCreate(self) -> FakeSession:  # noqa: N802
        if self.error:
            raise self.error
        return FakeSession(self.settings)


def party(master: str = "local[1]", **conf: str) -> Any:
    content = {
        "party": "bank",
        "identity": "env:UNUSED",
        "workspace": {"files": "work"},
        "exchange": {"url": "exchange"},
        "peers": {},
        "spark": {"master": master, "conf": {f"spark.{key.replace('_', '.')}": value for key, value in conf.items()}},
    }
    return party_from(content, directory="/tmp")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilder]:
    sql = pytest.importorskip("pyspark.sql")
    fake = FakeBuilder({})
    monkeypatch.setattr(sql.SparkSession, "builder", fake)
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.setattr(session, "_start_java", fake.started.append)
    yield fake
    os.environ.pop("PYSPARK_PYTHON", None)  # setdefault made it; monkeypatch brings back what was there before


@pytest.mark.parametrize(("missing", "verb"), [(list(ENCRYPTED), "are"), (["spark.io.encryption.enabled"], "is")])
def test_a_cluster_without_encryption_is_refused_and_the_settings_are_named(missing, verb):
    held = {key: value for key, value in ENCRYPTED.items() if key not in missing}
    fake = FakeSession({"spark.master": "spark://cluster:7077", **held})
    with pytest.raises(ConfigError) as caught:
        session._check_cluster(fake)
    assert f"{', '.join(missing)} {verb} not true" in caught.value.message
    assert "spark://cluster:7077" in caught.value.message
    assert "spark.conf" in str(caught.value.remedy)
    assert fake.stopped


@pytest.mark.parametrize("master", ["local", "local[4]", "local[*]"])
def test_a_master_in_this_process_needs_no_encryption(master):
    fake = FakeSession({"spark.master": master})
    session._check_cluster(fake)
    assert not fake.stopped


@pytest.mark.parametrize("master", ["yarn", "spark://a:1", "k8s://https://a", "local-cluster[2,1,1024]"])
def test_an_encrypted_cluster_is_accepted(master):
    fake = FakeSession({"spark.master": master, **ENCRYPTED})
    assert not is_local(master)
    session._check_cluster(fake)
    assert not fake.stopped


@pytest.mark.parametrize("version", ["3.5.1", "4.0.0"])
def test_an_old_pyspark_is_refused_with_both_versions(monkeypatch, version):
    pyspark = pytest.importorskip("pyspark")
    monkeypatch.setattr(pyspark, "__version__", version)
    with pytest.raises(ConfigError, match=f"pyspark {version} is too old: fedspark needs 4.1"):
        start_session(party(), "test")


@pytest.mark.parametrize("version", ["4.1.0", "4.2.0.dev3", "4.10.1", "5.0.0rc1"])
def test_a_new_pyspark_is_accepted(monkeypatch, version):
    monkeypatch.setattr(pytest.importorskip("pyspark"), "__version__", version)
    session._check_pyspark()


def test_a_missing_pyspark_is_a_configuration_error_with_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ConfigError, match=r"not installed.*Install fedspark\[spark\]"):
        start_session(party(), "test")


def test_a_local_master_runs_this_interpreter_and_its_settings_give_way_to_the_party_file(builder):
    start_session(party(ui_enabled="true"), "test")
    assert os.environ["PYSPARK_PYTHON"] == sys.executable
    assert builder.settings["spark.master"] == "local[1]"
    assert builder.settings["spark.ui.enabled"] == "true"
    assert builder.settings["spark.driver.host"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("master", "given", "cores", "serial"),
    [
        ("local", "", 8, True),
        ("local[2,3]", "", 8, True),
        ("local[*]", "-Xss4m", 2, True),
        ("local[*]", "", 4, False),
        ("local[16]", "", 16, False),
        ("local[1]", "-XX:+UseZGC", 8, False),
    ],
)
def test_few_threads_get_the_collector_of_least_work_unless_one_was_chosen(
    builder, monkeypatch, master, given, cores, serial
):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    start_session(party(master, driver_extraJavaOptions=given), "test")
    options = builder.settings["spark.driver.extraJavaOptions"].split()
    assert ("-XX:+UseSerialGC" in options) is serial
    assert set(given.split()) <= set(options)


def test_a_collector_that_the_environment_chooses_stays_the_only_one(builder, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseParallelGC")
    start_session(party(), "test")
    assert "UseSerialGC" not in builder.settings["spark.driver.extraJavaOptions"]


def test_a_python_that_somebody_set_stays(builder, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/python")
    start_session(party(), "test")
    assert os.environ["PYSPARK_PYTHON"] == "/opt/python"


def test_a_cluster_keeps_its_own_python_and_gets_no_local_settings(builder):
    builder.settings.update(ENCRYPTED)
    start_session(party("spark://cluster:7077"), "test")
    assert "PYSPARK_PYTHON" not in os.environ
    assert "spark.driver.host" not in builder.settings


def test_under_spark_submit_the_master_is_left_alone(builder, monkeypatch):
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    builder.settings.update(ENCRYPTED)
    start_session(party(), "test")
    assert "spark.master" not in builder.settings
    assert "PYSPARK_PYTHON" not in os.environ


def test_a_secret_setting_is_looked_up_only_when_the_session_starts(builder, monkeypatch):
    monkeypatch.setenv("SPARK_SECRET", "hush")
    conf = party(authenticate_secret="env:SPARK_SECRET")
    assert "hush" not in repr(conf)
    start_session(conf, "test")
    assert builder.settings["spark.authenticate.secret"] == "hush"


def test_secrets_are_kept_from_the_command_line_of_java(builder, monkeypatch):
    monkeypatch.setenv("WORD", "hush")
    start_session(party(hadoop_fs_s3a_secret_key="env:WORD", my_word="env:WORD", driver_memory="env:WORD"), "test")
    (started,) = builder.started
    assert (started["spark.master"], started["spark.app.name"]) == ("local[1]", "test")
    assert [key for key, value in started.items() if "hush" in value] == ["spark.driver.memory"]  # Java needs it
    assert builder.settings["spark.hadoop.fs.s3a.secret.key"] == builder.settings["spark.my.word"] == "hush"


def test_java_is_left_to_spark_where_there_is_no_secret_and_to_spark_submit(builder, monkeypatch):
    start_session(party(), "test")
    monkeypatch.setenv("WORD", "hush")
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    builder.settings.update(ENCRYPTED)
    start_session(party(my_word="env:WORD"), "test")
    assert builder.started == []


def test_settings_given_by_reference_are_redacted_whatever_they_are_called(builder, monkeypatch):
    monkeypatch.setenv("WORD", "hush")
    start_session(party(my_word="env:WORD", redaction_regex="(?i)own"), "test")
    shown = re.compile(builder.settings["spark.redaction.regex"])
    assert shown.search("spark.OWN.thing")
    assert shown.search("spark.my.word")
    assert not shown.search("spark.my.words")


def test_what_goes_to_java_is_logged_without_secrets(builder, monkeypatch, caplog):
    monkeypatch.setenv("WORD", "two\nlines\\hush")
    start_session(party(my_word="env:WORD"), "test")
    caplog.set_level(logging.DEBUG)
    for name in ("py4j.clientserver", "py4j.java_gateway"):
        logging.getLogger(name).debug("Command to send: %s", "c\no1\nsset\nstwo\\nlines\\\\hush\n")
    assert "hush" not in caplog.text
    assert caplog.text.count("s***") == 2


def test_a_java_that_does_not_start_is_told_in_one_line_with_the_remedy(builder):
    builder.error = RuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited\nmore\nlines")
    with pytest.raises(StoreError, match=r"did not start \(master local\[1\]\): \[JAVA_GATEWAY") as caught:
        start_session(party(), "test")
    assert "more" not in str(caught.value)
    assert "java -version" in str(caught.value.remedy)


# ---- driver and executors share the workspace ------------------------------------------------------------------------


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(StoreRef(f"memory://session-{next(_numbers)}"), "runs/1")


class ElsewhereSession(FakeSession):
    """Executors whose directory is another one of the same name; ``sees``: they read the driver's, but write theirs."""

    def __init__(self, workspace: Workspace, sees: bool) -> None:
        super().__init__({"spark.master": "yarn"})
        self.workspace, self.sees = workspace, sees

    def collect(self) -> list[bool]:
        return [self.sees]


def test_a_cluster_that_shares_the_workspace_passes_and_leaves_no_probe(workspace):
    probe_executors(FakeSession({"spark.master": "yarn"}), workspace)
    assert workspace.store.list() == []


@pytest.mark.parametrize(("sees", "blind"), [(False, "an executor does not see"), (True, "the driver does not see")])
def test_a_cluster_with_a_directory_of_its_own_is_refused(workspace, sees, blind):
    with pytest.raises(StoreError, match=f"do not share memory.*{blind}") as caught:
        probe_executors(ElsewhereSession(workspace, sees), workspace)
    assert "workspace.files" in str(caught.value.remedy)


def test_a_master_in_this_process_is_not_probed(workspace):
    probe_executors(FakeSession({"spark.master": "local[2]"}), workspace)
    assert workspace.store.list() == []
