"""What the schema accepts and refuses."""

import json
from pathlib import Path

import pytest

from admbench.errors import DataError
from admbench.leaderboard import parse_record, read_record


def test_a_record_survives_the_round_trip(make_record, make_failed):
    for value in (make_record(), make_record(spec="fp32", loss=0), make_failed()):
        record = parse_record(value)
        assert parse_record(record.model_dump(mode="json")) == record


def test_what_is_said_of_layers_is_a_list_whichever_way_it_is_read(make_record, changed):
    layers = [
        {"name": "conv_in", "weight_bits": 4, "parts": {"rank": None}, "error": 0.1},
        {"name": "\u00e4", "on": True},
    ]
    record = parse_record(changed(make_record(), method__layers=layers))
    assert record.method.layers == layers
    assert (len(record.method.layers), record.method.layers[-1]["name"], record.method.layers[:1]) == (
        2,
        "\u00e4",
        layers[:1],
    )
    assert record.model_dump()["method"]["layers"] == layers
    assert json.loads(record.model_dump_json())["method"]["layers"] == layers
    with pytest.raises(DataError, match=r"method\.layers\.0: input should be a valid dictionary"):
        parse_record(changed(make_record(), method__layers=["conv_in"]))


@pytest.mark.parametrize("path", sorted(Path(__file__).with_name("records").glob("*.json")), ids=lambda p: p.stem)
def test_records_of_older_schemas_are_read_forever(path):
    """As they were written then; nothing here may be made new."""
    record = read_record(path)
    version = int(path.stem.split("-")[1])
    assert (record.schema_version, record.provenance.submitter) == (version, None)
    known = [record.method.track is not None, record.size.effective_bits_per_weight is not None]
    assert known == [version >= 2] * 2


def test_every_top_level_key_is_required(make_record):
    for key in make_record():
        value = make_record()
        del value[key]
        with pytest.raises(DataError, match=rf"{key}: this key is required"):
            parse_record(value)


def test_unknown_keys_are_named_with_the_nearest_valid_one(make_record, changed):
    with pytest.raises(DataError, match=r'^cell: score: unknown key\. Did you mean "scores"\?$'):
        parse_record(make_record() | {"score": {}}, "cell")
    with pytest.raises(DataError, match=r'size\.checkpoint_byte: unknown key\. Did you mean "checkpoint_bytes"\?'):
        parse_record(changed(make_record(), size__checkpoint_byte=3))


def test_open_sections_keep_what_a_plugin_adds(make_record, changed):
    value = changed(
        make_record(),
        scores__kad=make_record()["scores"]["fd"] | {"bandwidth": 1.5},
        environment__instruction_sets=["avx2"],
    )
    record = parse_record(value)
    assert record.scores["kad"].model_extra == {"bandwidth": 1.5}
    assert record.model_dump(mode="json")["environment"]["instruction_sets"] == ["avx2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size__checkpoint_bytes": "3"}, r"size\.checkpoint_bytes: input should be a valid integer; found '3'"),
        ({"model__random_weights": 1}, r"model\.random_weights: input should be a valid boolean"),
        ({"audio__silent": -1}, r"audio\.silent: input should be greater than or equal to 0; found -1"),
        ({"model__license": ""}, r"model\.license: string should have at least 1 character"),
        ({"scores__fd__value": float("nan")}, r"scores\.fd\.value: input should be a finite number"),
        ({"scores__fd__ci95": [1.0]}, r"scores\.fd\.ci95: list should have at least 2 items"),
        ({"scores": {"F D": {"value": None, "reason": "x"}}}, r"scores\.F D: string should match pattern"),
        ({"model__weights_sha256": "abc"}, r"model\.weights_sha256: string should match pattern"),
        ({"provenance__started": "yesterday"}, r"provenance\.started: expected an ISO 8601 time"),
        ({"provenance__started": "2026-03-01T10:00:00"}, r"provenance\.started: a time needs its offset from UTC"),
        ({"status": "ok"}, r"status: input should be 'done', 'failed' or 'skipped'"),
        ({"schema_version": 4}, r"schema_version: input should be 1, 2 or 3"),
        ({"method__track": "best"}, r"method\.track: input should be 'post-training' or 'fine-tuned'"),
        ({"method__family": "magic"}, r"method\.family: input should be 'floating point', 'rounding'"),
        (
            {"method__paper": {"citation": "A", "url": "javascript:x"}},
            r"method\.paper\.url: string should match pattern",
        ),
    ],
)
def test_wrong_values_are_named_by_their_key(make_record, changed, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_record(changed(make_record(), **changes))
    assert "\n" not in str(caught.value)


def test_something_else_than_an_object_is_refused():
    with pytest.raises(DataError, match="record: input should be a valid dictionary"):
        parse_record([1, 2])
