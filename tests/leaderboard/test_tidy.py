"""One definition of what a record may say: what is tidied is read, whatever it was; what is not is refused by place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admbench.errors import DataError
from admbench.leaderboard import parse_record, read_record, tidy
from admbench.leaderboard.reading import parse
from admbench.leaderboard.tidy import DEPTH, FREE_BYTES, LEFT_OUT, plain_json, tidied, untidy

Value = dict[str, Any]
BOUNDED = settings(max_examples=25, deadline=None, derandomize=True, database=None)
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["\n", "\u202e" * 9, "a" * 30_000, "\u0430b", "", " "]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def test_a_plain_record_is_left_as_it_is(make_record: Callable[..., Value], make_failed: Callable[..., Value]) -> None:
    for value in (make_record(), make_failed(), make_record(spec="fp32", loss=0)):
        assert tidied(value) == value
        assert not list(untidy(value))


@BOUNDED
@given(VALUES, VALUES, VALUES, TEXTS)
def test_whatever_a_plug_in_says_is_a_record_once_it_is_tidied(said: Any, layer: Any, more: Any, text: str) -> None:
    from .conftest import change, record

    value = change(
        record(),
        method__config={"x": said, text: 1},
        method__layers=[{"name": text, "report": layer}],
        audio__reading={"of": more},
        environment__packages={"python": text or "3", text or "x": "1"},
        model__license=text,
        method__version=f"1 {text}",
        environment__another=more,
    )
    written = tidied(plain_json(value))
    assert parse_record(json.loads(json.dumps(written, allow_nan=False))).schema_version == 3
    assert tidied(written) == written


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model__name": "tiny\u200b-tango"}, r"model\.name: hidden or look-alike .* escaped, 'tiny\\\\u200b-tango'"),
        ({"method__config": {"x": "a\nb"}}, r"method\.config\.x: hidden"),
        ({"method__config": {"x": "a" * 3000}}, r"method\.config\.x: 3,000 characters; expected fewer"),
        ({"method__config": {"x\u202e": 1}}, r"method\.config: a key with hidden characters"),
        ({"method__config": {"x": list(range(FREE_BYTES))}}, r"method\.config\.x: larger, or nested deeper"),
        ({"environment__more": {"x": list(range(FREE_BYTES))}}, r"environment\.more: larger"),
        ({"environment__cpu": "a" * 2001}, r"environment\.cpu: string should have at most 2000"),
        ({"method__spec": "naive@w4a8[x=" + "y" * 20_000 + "]"}, r"method\.spec: string should have at most 500"),
    ],
)
def test_what_is_not_tidy_is_refused_by_its_place(
    make_record: Callable[..., Value], changed: Callable[..., Value], changes: Value, line: str
) -> None:
    value = changed(make_record(), **changes)
    with pytest.raises(DataError, match=line) as caught:
        parse_record(value)
    assert len(str(caught.value)) < 300
    older, problems = parse(tidied(value) | {"schema_version": 2})
    assert older is not None
    assert not problems


def test_records_of_older_schemas_are_tidied_and_not_refused(
    make_record: Callable[..., Value], changed: Callable[..., Value]
) -> None:
    value = changed(
        make_record(spec="naive@w4a8[x=" + "y" * 20_000 + "]"),
        model__name="t\u0456ny\n",
        method__config={"x": "y" * 10**6},
        schema_version=2,
    )
    record = parse_record(value)
    assert record.model.name == "t\\u0456ny"
    assert 490 < len(record.method.spec) <= 500
    assert record.method.spec.endswith(" more]")
    assert len(str(record.method.config)) < 2100


def test_the_largest_option_goes_first_and_leaves_its_size_and_hash() -> None:
    kept = {"few": 1, "many": [0.5] * 30_000, "text": "a\u200bb"}
    config = tidied({"method": {"config": kept}})["method"]["config"]
    other = tidied({"method": {"config": kept | {"many": [0.5] * 30_001}}})["method"]["config"]
    assert config["few"] == 1
    assert config["text"] == "a\\u200bb"
    assert config["many"][LEFT_OUT] == "120,001 bytes"
    assert config["many"]["sha256"] != other["many"]["sha256"]


def test_too_many_options_are_left_out_as_a_whole() -> None:
    config = tidied({"method": {"config": {str(k): k for k in range(20_000)}}})["method"]["config"]
    assert sorted(config) == [LEFT_OUT, "sha256"]


def test_reports_of_layers_that_are_too_large_keep_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "LAYERS_BYTES", 100_000)
    layers = [{"name": f"layer {k}", "bits": 4, "codes": [k] * 1000} for k in range(60)]
    short = tidied({"method": {"layers": layers}})["method"]["layers"]
    assert short[7] == {"name": "layer 7", "bits": 4}
    assert short[-1]["name"] == LEFT_OUT
    assert len(json.dumps(short)) < 100_000
    assert tidied({"method": {"layers": short}})["method"]["layers"] == short


def test_deep_nesting_ends() -> None:
    value: Any = 1
    for _ in range(DEPTH + 5):
        value = [value]
    assert "nested deeper" in json.dumps(tidied({"method": {"config": {"x": value}}}))


def test_a_deep_file_is_refused(tmp_path: Path, make_record: Callable[..., Value]) -> None:
    text = json.dumps(make_record()).replace('"preset": null', '"preset": ' + "[" * 150 + "]" * 150)
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(DataError, match="nested too deeply"):
        read_record(tmp_path / "result.json")


def test_numbers_of_numpy_and_of_no_json_are_written() -> None:
    said = {"a": np.float32(0.5), "b": np.arange(2), ("c", 1): {3, 2}, "d": Path("x"), "e": float("nan"), "f": True}
    assert plain_json(said) == {"a": 0.5, "b": [0, 1], "('c', 1)": ["2", "3"], "d": "x", "e": "nan", "f": True}
