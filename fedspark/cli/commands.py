"""``fedspark keygen | check | schema | run | local | status | inbox | outbox | psi-cache | import``.

Errors are one paragraph on the error stream, without a traceback (``--debug`` shows it), and end with the command
that goes on, where the same command can. Exit statuses are those of ``fedspark.errors``: 75 means that a peer is not
ready and the same command is to be run again.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import textwrap
import traceback
from pathlib import Path

import click

from fedspark import __version__
from fedspark.cli import show, together
from fedspark.cli.local import run_all
from fedspark.conf import check_together, load_party, load_pipeline, party_schema, pipeline_schema, schema_text
from fedspark.conf.document import read_document
from fedspark.conf.local_file import load_local
from fedspark.conf.model import NAME_PATTERN, NAME_RULE
from fedspark.conf.own_file import load_own
from fedspark.conf.party_file import PartyConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.errors import (
    ConfigError,
    CryptoError,
    FedsparkError,
    Mismatch,
    NotReady,
    PeerError,
    PolicyRefused,
    Stopped,
    StoreError,
    TableError,
)

_WIDTH = 100
DEFAULT_RUN = "1"

_party = click.option("--party", "party_file", required=True, metavar="FILE", help="My party file.")
_pipeline = click.option("--pipeline", "pipeline_file", required=True, metavar="FILE", help="The pipeline file.")
_label = click.option(
    "--run",
    "label",
    default=DEFAULT_RUN,
    show_default=True,
    metavar="NAME",
    help="Name of the run, equal at all parties.",
)
_own_label = click.option(
    "--run", "label", default=DEFAULT_RUN, show_default=True, metavar="NAME", help="Name of this import."
)
_set = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key of the party file.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH})
@click.version_option(__version__, prog_name="fedspark")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Federated learning on the Spark clusters, warehouses and schedulers that you already run."""
    if debug:
        os.environ["FEDSPARK_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command; ends the process with the exit status of the error, if any."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        cli.main(arguments, prog_name="fedspark", standalone_mode=False)
    except FedsparkError as error:
        if os.environ.get("FEDSPARK_DEBUG"):
            traceback.print_exc()
        width = _WIDTH if sys.stderr.isatty() else None  # programs and people who search logs want whole sentences
        print(_paragraph(error, arguments, width), file=sys.stderr)
        sys.exit(_exit_status(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print(f"fedspark: stopped. {_resume(arguments)}".rstrip(), file=sys.stderr)
        sys.exit(130)


def _exit_status(error: FedsparkError) -> int:
    """The error's own one; 0 for NotReady inside a cluster, where the status file says that the run waits."""
    if not isinstance(error, NotReady):
        return error.exit_code
    from fedspark.run.session import in_cluster_mode

    return 0 if in_cluster_mode() else error.exit_code


def _paragraph(error: FedsparkError, arguments: list[str], width: int | None = None) -> str:
    lines = f"fedspark: {type(error).__name__}: {error}".splitlines()
    if width is not None:
        lines = [textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in lines]
    if isinstance(error, _SAME_COMMAND) and not isinstance(error, Mismatch):
        lines.append(_resume(arguments, _BEFORE.get(type(error), "To go on")))
    return "\n".join(lines).rstrip("\n")


# Errors after which the same command helps. Not ConfigError: it may be the command that is wrong. Nor Mismatch: what
# a party has said hello with is said, and the run label is used up.
_SAME_COMMAND = (NotReady, StoreError, TableError, PolicyRefused, CryptoError, PeerError)

# What has to happen before the same command helps.
_BEFORE: dict[type[FedsparkError], str] = {
    PolicyRefused: "To go on, once the limit or the data are changed",
    Stopped: "To go on, once they have put it right",
}


def _resume(arguments: list[str], before: str = "To go on") -> str:
    words = [word for word in arguments if word != "--debug"]
    if not words or words[0] not in ("run", "import"):
        return ""
    words = [word for word in words if words[0] == "run" or word != "--restart"]
    return f"{before}: fedspark {shlex.join(words)}"


@cli.command()
@click.argument("name")
@click.option("--out", default=".", show_default=True, metavar="DIRECTORY", help="Where the two files go.")
def keygen(name: str, out: str) -> None:
    """Make the identity key of party NAME: NAME.key (private, stays here) and NAME.pub (for the others)."""
    from fedspark.crypto.identity import new_identity, private_text, public_bytes
    from fedspark.party import identity_text

    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 64:
        raise ConfigError(
            f"{name!r} cannot be the name of a party: it {NAME_RULE}.", remedy="Write it as in the files."
        )
    directory = Path(out)
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise ConfigError(f"{path} is there already, and keys are never overwritten.", remedy="Name another --out.")
    key = new_identity()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _create(private, private_text(key), 0o600)
        try:
            _create(public, identity_text(public_bytes(key)), 0o644)
        except OSError:
            private.unlink()  # one without the other would only be in the way
            raise
    except OSError as error:
        raise ConfigError(f"The key of {name} cannot be written to {out}: {error.strerror}.") from None
    print(f"private key: {private} (keep it; in your party file: identity: file:{private.name})")
    print(f"public key:  {public} (give it to the others; in their party files: peers: {{{name}: ...}})")
    print(identity_text(public_bytes(key)))


def _create(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text + "\n")


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Check party and pipeline files: each for itself, and all of them against each other.

    With a pipeline, also whether the tables that it loads are there and have the columns that the party files name, and
    whether scores could be written to the tables under `scores`.
    """
    parties: list[PartyConf] = []
    pipelines: list[PipelineConf] = []
    problems: list[FedsparkError] = []
    notes: list[str] = []
    for file in files:
        try:
            kind = kind_of(file)
            if kind == "party":
                party_file = load_own(file)
                parties += [party_file] if isinstance(party_file, PartyConf) else []
            elif kind == "pipeline":
                pipelines.append(load_pipeline(file))
            else:
                load_local(file)
            print(f"{file}: a valid {kind} file")
        except FedsparkError as error:
            problems.append(error)
    for pipeline in pipelines:
        members = {member.name for member in pipeline.roster()}
        for party in parties:
            if len(pipelines) > 1 and party.party not in members:
                continue  # of several pipelines a party may have to do with some only
            try:
                check_together(party, pipeline)
            except FedsparkError as error:
                problems.append(error)
            for found in together.table_problems(party, pipeline):
                (notes if isinstance(found, str) else problems).append(found)  # type: ignore[arg-type]
            problems += together.sink_problems(party, pipeline)
            notes += together.missing_models(party, pipeline)
    notes += [note for party in parties if pipelines for note in together.unused_scores(party, pipelines)]
    problems += together.wrong_peer_keys(parties)
    for note in [*together.different_exchanges(parties), *notes]:
        print(f"note: {note}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(str(problem) for problem in problems)))


def kind_of(file: str) -> str:
    """'party', 'pipeline' or 'local', by the keys at the top of the file."""
    keys = _top_keys(file)
    if "steps" in keys or "project" in keys or ("pipeline" in keys and "parties" in keys and "workspace" not in keys):
        return "pipeline" if "steps" in keys or "project" in keys else "local"
    return "party"


def _top_keys(file: str) -> set[str]:
    data = read_document(Path(file)).data
    return set(data) if isinstance(data, dict) else set()


def _load(party_file: str, pipeline_file: str, settings: tuple[str, ...]) -> tuple[PartyConf, PipelineConf]:
    """Both files of a command; ConfigError in one sentence when one is given in the place of the other."""
    overrides = _overrides(settings)
    for option, file, wanted in (("--party", party_file, "party"), ("--pipeline", pipeline_file, "pipeline")):
        kind = kind_of(file)
        if kind != wanted and (kind != "party" or "party" in _top_keys(file)):
            both = kind_of(party_file) == "pipeline" and kind_of(pipeline_file) == "party"
            raise ConfigError(
                f"{option} names {file}, which is a {kind} file.",
                remedy="Swap the files of --party and --pipeline." if both else f"Name a {wanted} file there.",
            )
    return load_party(party_file, overrides), load_pipeline(pipeline_file)


@cli.command()
@click.argument("kind", type=click.Choice(["party", "pipeline"]))
def schema(kind: str) -> None:
    """Print the JSON schema of party or pipeline files, for editors."""
    print(schema_text(party_schema() if kind == "party" else pipeline_schema()))


@cli.command()
@_party
@_pipeline
@_label
@click.option("--step", metavar="NAME", help="Run this step only; those before it must be done.")
@click.option("--resume", is_flag=True, help="Go on with a run that has begun; never begin one.")
@click.option("--wait", type=float, metavar="SECONDS", help="Longest wait for a peer before exit status 75; 0: none.")
@_set
def run(
    party_file: str,
    pipeline_file: str,
    label: str,
    step: str | None,
    resume: bool,
    wait: float | None,
    settings: tuple[str, ...],
) -> None:
    """Run my side of a pipeline, or go on with it where it stopped."""
    from fedspark.steps.session import run_party

    party, pipeline = _load(party_file, pipeline_file, settings)
    run_party(party, pipeline, label, step=step, resume_only=resume, wait_seconds=wait)


@cli.command()
@click.argument("file", metavar="FILE")
@_label
def local(file: str, label: str) -> None:
    """Run all parties of FILE on this machine, each in a process of its own, to try a pipeline out."""
    sys.exit(run_all(load_local(file), label))


@cli.command()
@_party
@_pipeline
@_label
@_set
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(party_file: str, pipeline_file: str, label: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Show where each step of a run stands at my side."""
    party, pipeline = _load(party_file, pipeline_file, settings)
    show.status(party, pipeline, label, as_json=as_json)


@cli.command()
@_party
@_pipeline
@_label
@_set
def inbox(party_file: str, pipeline_file: str, label: str, settings: tuple[str, ...]) -> None:
    """List the messages of a run that others sent to me."""
    party, pipeline = _load(party_file, pipeline_file, settings)
    show.messages(party, pipeline, label, sent=False)


@cli.command()
@_party
@_pipeline
@_label
@_set
def outbox(party_file: str, pipeline_file: str, label: str, settings: tuple[str, ...]) -> None:
    """List the messages of a run that I sent: all that left the building."""
    party, pipeline = _load(party_file, pipeline_file, settings)
    show.messages(party, pipeline, label, sent=True)


@cli.command("psi-cache")
@_party
@_pipeline
@click.option("--table", metavar="NAME", help="This table only.")
@click.option("--list", "list_them", is_flag=True, help="Show what is there, and make nothing.")
@click.option("--drop", metavar="EPOCH", help="Delete the epoch of this name, or all.")
@_set
def psi_cache(
    party_file: str, pipeline_file: str, table: str | None, list_them: bool, drop: str | None, settings: tuple[str, ...]
) -> None:
    """As a host, sign my ids for the steps with `cache: true`, before the guest asks; list or drop what is kept."""
    from fedspark.steps import psi_cache

    party, pipeline = _load(party_file, pipeline_file, settings)
    if drop is not None:
        for epoch in psi_cache.drop(party, pipeline, drop):
            print(f"dropped: epoch {epoch.name} of {epoch.table} with {epoch.peer}")
        return
    show.epochs(psi_cache.find(party, pipeline) if list_them else psi_cache.make(party, pipeline, table))


@cli.command("import")
@_party
@click.argument("name", required=False)
@_own_label
@click.option("--restart", is_flag=True, help="Begin again: drop what an import of this --run has read so far.")
@click.option("--json", "as_json", is_flag=True, help="Print the record, for programs.")
@_set
def import_(
    party_file: str, name: str | None, label: str, restart: bool, as_json: bool, settings: tuple[str, ...]
) -> None:
    """Copy a table into ClickHouse, as `imports` of the party file says under NAME (or its only one), or go on with it.

    Both sides are compared, column by column, before the rows are shown, all at once. The same command goes on with an
    import that was stopped. No other party takes part: the file needs no `identity`, `exchange` and `peers`.
    """
    from fedspark.steps.import_table import import_table

    record = import_table(load_own(party_file, _overrides(settings)), name, label, restart=restart)
    print(json.dumps(record, indent=2, ensure_ascii=False)) if as_json else show.imported(record)


def _overrides(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} has no value.", remedy="Write --set spark.master=local[2].")
        pairs[key] = value
    return pairs
