"""Folders from outside, altered in any way: read as they were meant, known to be other ones, or refused in one line.

What breaks a promise is written to `regressions/` as a small JSON file, which is a test from then on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .alterations import KINDS, Alteration, apply, drawn
from .amount import examples
from .contract import ask
from .targets import TARGETS, copy_of, good, meant

REGRESSIONS = Path(__file__).parent / "regressions"
EXAMPLES = {"packed": 40, "audio": 40, "captions-txt": 40, "captions-csv": 40, "captions-jsonl": 40}
"""Of a target in the bounded part, which CI runs; of one that is not named, a model folder, `FEW`."""
FEW = 8


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no hash of an altered file be remembered for another, and none name what lies elsewhere, or on the hub."""
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def check(name: str, alterations: list[Alteration]) -> None:
    """Read a target's folder with alterations, and hold its reader to its promises."""
    target = TARGETS[name]
    expected = None if target.refused else meant(name)
    with copy_of(name) as folder:
        apply(folder, alterations)
        answer = ask(lambda: target.read(folder), folder)
    if target.refused:
        assert answer.refusal is not None, "read, as the good folder is not"
    elif answer.refusal is None and target.identity(answer.value) == target.identity(expected) is not None:
        assert answer.value == expected, "another content under the same hash"


def keep(name: str, alterations: list[Alteration], error: BaseException) -> None:
    """Write what broke a promise as a regression, for whoever mends it to commit."""
    content = {"target": name, "alterations": alterations, "broke": f"{type(error).__name__}: {error}"[:400]}
    text = json.dumps(content, indent=1) + "\n"
    digest = hashlib.sha256(json.dumps([name, alterations]).encode()).hexdigest()[:12]
    (REGRESSIONS / f"{name}-{digest}.json").write_text(text, encoding="utf-8")


def property_of(name: str) -> Callable[..., None]:
    few = EXAMPLES.get(name, FEW)

    @examples(few, few * 25)
    @given(data=st.data())
    def run(tried: Callable[..., None], failures: list[Any], data: st.DataObject) -> None:
        target = TARGETS[name]
        one = drawn(good(name), target.files(good(name)), tensors=target.tensors)
        alterations = data.draw(st.lists(one, min_size=1, max_size=2))
        tried()
        try:
            check(name, alterations)
        except BaseException as error:
            failures[:] = [alterations, error]  # the last is the smallest that was found
            raise

    return run


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.attack(TARGETS[name].kind)) for name in TARGETS])
def test_any_alteration_is_read_as_meant_known_or_refused_in_one_line(name: str, tried: Callable[..., None]) -> None:
    failures: list[Any] = []
    try:
        property_of(name)(tried, failures)
    except BaseException:
        if failures:
            keep(name, *failures)
        raise


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.refused])
def test_what_is_no_model_in_full_precision_is_said_by_name(name: str) -> None:
    with copy_of(name) as folder:
        answer = ask(lambda: TARGETS[name].read(folder), folder)
    assert re.search(str(TARGETS[name].refused), str(answer.refusal))


@pytest.mark.attack("regressions of the above")
@pytest.mark.parametrize("file", sorted(REGRESSIONS.glob("*.json")), ids=lambda file: file.stem)
def test_what_once_broke_a_promise_holds(file: Path) -> None:
    kept = json.loads(file.read_text(encoding="utf-8"))
    check(kept["target"], kept["alterations"])


WORDS: dict[str, list[Any]] = {
    "set": [["a"], 2],
    "delete": [["a"]],
    "add": [["a"], "b", 2],
    "twice": [["a"]],
    "cut": [0],
    "flip": [0, 1],
    "splice": [0, 1, "00"],
    "link": ["nowhere"],
    "copy": ["copy"],
    "tensor": ["a", "nan"],
    "text": ["other"],
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", ["x.json", "x.bin"])
def test_no_alteration_reaches_through_a_link_that_one_before_it_made(tmp_path: Path, kind: str, name: str) -> None:
    outside, folder = tmp_path / "outside.json", tmp_path / "folder"
    outside.write_text('{"a": [1]}')
    folder.mkdir()
    (folder / "x.json").write_text("{}")
    (folder / "x.bin").write_text("{}")
    apply(folder, [["link", name, str(outside)], [kind, "x.json", *WORDS.get(kind, [])]])
    assert outside.read_text() == '{"a": [1]}'
    assert outside.stat().st_mode & 0o600 == 0o600
