"""Whatever bytes a record or its per-caption results are, reading ends in a record or in one line; boards go on.

What breaks that is written to `tests/fuzz/regressions/bytes/`, under `record` and `per-caption`, and is a test from
then on, of the parsers there and of a whole run here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench.leaderboard import build_site, gather, validate
from admbench.leaderboard.comparison import compare_views
from admbench.leaderboard.comparison_text import to_markdown
from admbench.leaderboard.per_caption import PER_CAPTION
from admbench.leaderboard.reading import Gathered
from admbench.leaderboard.view import view_boards

from ..fuzz.amount import examples
from ..fuzz.contract import Answer, ask
from ..fuzz.held import keeping, kept_bytes, read_held
from ..fuzz.parsers import PARSERS
from .agreeing_run import METHOD, cell_of, written_run

FEW = 60
NUMBERS = st.one_of(
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 1e308, -1e308, 5e-324, 2**63, 10**15, 10**15 + 1, -0.0]),
)
TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["\n", "a" * 30_000, "\u202e", "1e400", "0001-01-01T00:00:00+23:59"])
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good run without audio, of which one record is altered again and again."""
    folder = written_run(tmp_path_factory.mktemp("fuzz") / "run")
    for path in folder.glob("**/*.wav"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def good(run: Path) -> bytes:
    return (cell_of(run, METHOD) / "result.json").read_bytes()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, item in items for place in places(item, (*path, key))]


def altered(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    section = value
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = new
    return value


def assert_named(path: Path, answer: Answer) -> None:
    assert answer.refusal is None or answer.refusal.startswith(f"{path}: ")


def check(run: Path, path: Path) -> None:
    """Every reader comes back: with a record, or with one line that names the file."""
    problems = {one.path: one.problems for one in ask(lambda: validate([run]), run).value}[path]
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in problems)
    gathered = ask(lambda: gather([run]), run).value
    assert [one.path for one in gathered.quarantined] in ([], [path])
    if gathered.quarantined:
        assert problems, gathered.quarantined
        return
    shown(gathered)


def shown(gathered: Gathered) -> None:
    to_markdown(compare_views(view_boards(gathered.records)))


@pytest.mark.attack("record")
def test_a_record_with_any_value_in_any_place_is_read_or_refused_in_one_line(
    run: Path, good: bytes, tried: Callable[..., None]
) -> None:
    alter_and_check(run, good, tried, few=8, many=200)


@pytest.mark.attack("record")
@pytest.mark.slow
def test_many_records_with_any_value_in_any_place_are_read_or_refused_in_one_line(
    run: Path, good: bytes, tried: Callable[..., None]
) -> None:
    alter_and_check(run, good, tried, few=400, many=2000)


def alter_and_check(run: Path, good: bytes, tried: Callable[..., None], *, few: int, many: int) -> None:
    """Try records, and keep what breaks a reader."""
    with keeping("record") as trying:

        @examples(few, many)
        @given(data=st.data())
        def drawn(data: st.DataObject) -> None:
            value = json.loads(good)
            for _ in range(data.draw(st.integers(1, 2))):
                value = altered(value, data.draw(st.sampled_from(places(value))), data.draw(VALUES))
            tried()
            content = json.dumps(value).encode()
            trying(content)
            check_with(run, good, content)

        drawn()


def check_with(run: Path, good: bytes, content: bytes) -> None:
    """Check a run of which one record is another."""
    path = next(run.glob("cells/*/naive-*/result.json"))
    path.write_bytes(content)
    try:
        check(run, path)
    finally:
        path.write_bytes(good)


def test_a_run_with_what_once_broke_a_reader_of_records_is_read(run: Path, good: bytes) -> None:
    for content in (b"", *kept_bytes("record")):
        check_with(run, good, content)


def damaged(data: st.DataObject, whole: bytes, most: int) -> bytes:
    """Bytes in up to so many places of a file replaced by others."""
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, most))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    return bytes(content)


def damage_and_read(name: str, whole: bytes, most: int, folder: Path, tried: Callable[..., None]) -> None:
    """Try damaged bytes on a parser of `PARSERS`, and keep what breaks it."""
    with keeping(name) as trying:

        @examples(FEW, FEW * 25)
        @given(data=st.data())
        def drawn(data: st.DataObject) -> None:
            content = damaged(data, whole, most)
            tried()
            trying(content)
            assert_named(folder / PARSERS[name].name, read_held(name, content, folder))

        drawn()


@pytest.mark.attack("record")
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path: Path, good: bytes, tried: Callable[..., None]) -> None:
    damage_and_read("record", good, 3, tmp_path, tried)


@pytest.mark.attack("per-caption results")
def test_any_per_caption_results_are_read_or_refused_in_one_line(
    run: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    damage_and_read("per-caption", (cell_of(run, METHOD) / PER_CAPTION).read_bytes(), 1, tmp_path, tried)


EXTREME = [
    (("environment", "cpu"), "x" * 2_000),
    (("method", "config"), {"a": [10**18] * 1000}),
    (("method", "layers"), [{"name": "x", "weight_bits": 1e308}] * 5),
    (("latency",), {"kernel": None, "reason": "simulated", "more": 1e308}),
    (("generation", "guidance"), 999.0),
    (("calibration", "seconds"), 1e9),
    (("audio", "reading"), {"rate": -1e308}),
]


@pytest.mark.parametrize(("place", "value"), EXTREME)
def test_a_page_is_built_of_what_is_valid_but_extreme(
    run: Path, good: bytes, tmp_path: Path, place: tuple[str, ...], value: Any
) -> None:
    path = next(run.glob("cells/*/naive-*/result.json"))
    path.write_text(json.dumps(altered(json.loads(good), place, value)))
    try:
        gathered = gather([run])
        assert gathered.quarantined == ()
        build_site(gathered.records, tmp_path / "site")
    finally:
        path.write_bytes(good)
