"""What a finished run leaves that may not depend on what happened on the way."""

from __future__ import annotations

from tests.example import Example

DATA_PARTIES = ("hospital", "laboratory")


def exchange(example: Example) -> dict[str, bytes]:
    """Everything under the exchange URL."""
    return example.files("exchange")


def models(example: Example) -> dict[str, bytes]:
    """Each data party's part of the model."""
    return {name: example.workspace_file(name, "steps/train/model.json") for name in DATA_PARTIES}


def scores(example: Example) -> dict[str, bytes]:
    """Score files at the guest, by name."""
    workspace = example.place("hospital").workspace
    folder = f"{workspace.prefix}/steps/predict/scores"
    found = {name.rpartition("/")[2]: workspace.store.read(name) for name, _ in workspace.store.list(folder)}
    assert "_SUCCESS" in found
    return found


def figures(example: Example) -> bytes:
    """Quality on the people held out."""
    return example.workspace_file("hospital", "steps/evaluate/validation.json")


def assert_same(one: Example, other: Example) -> None:
    """Equal objects in the exchange, equal models, figures and scores, and seeds forgotten."""
    left, right = exchange(one), exchange(other)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []
    assert models(one) == models(other)
    assert figures(one) == figures(other)
    assert scores(one) == scores(other)
    for example in (one, other):
        assert not any(path.endswith("seed.sealed") for path in example.paths("work"))
