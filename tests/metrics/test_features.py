"""Features: rows by clip, on disk and back, nothing malformed accepted."""

import numpy as np
import pytest

from admbench.errors import DataError
from admbench.metrics.features import Features

RNG = np.random.default_rng(0)


def features(n=4, **arrays):
    embedding = RNG.normal(size=(n, 3)).astype(np.float32)
    return Features(tuple(f"clip-{row}" for row in range(n)), {"embedding": embedding, **arrays})


def test_they_come_back_from_disk_as_they_were(tmp_path):
    before = features(logits=RNG.normal(size=(4, 7)).astype(np.float32))
    before.save(tmp_path / "deep" / "features.safetensors")
    after = Features.load(tmp_path / "deep" / "features.safetensors")
    assert after.ids == before.ids
    assert after.arrays.keys() == {"embedding", "logits"}
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after[name], array)


def test_the_same_features_are_the_same_bytes(tmp_path):
    one = features(logits=np.zeros((4, 2), np.float32))
    one.save(tmp_path / "a")
    one.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "features.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"features\.safetensors: not a feature file"):
        Features.load(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="absent: no such file"):
        Features.load(tmp_path / "absent")


def test_rows_are_matched_by_id():
    whole = features()
    part = whole.match(["clip-3", "clip-1"])
    assert part.ids == ("clip-3", "clip-1")
    np.testing.assert_array_equal(part["embedding"], whole["embedding"][[3, 1]])
    with pytest.raises(KeyError, match="clip-9"):
        whole.match(["clip-9"])


def test_clips_that_were_not_finite_are_marked_and_listed():
    whole = features(logits=np.zeros((4, 2), np.float32))
    marked = whole.invalidate(["clip-2"])
    assert whole.not_finite() == ()
    assert marked.not_finite() == ("clip-2",)
    assert np.isnan(marked["logits"][2]).all()
    np.testing.assert_array_equal(marked["embedding"][[0, 1, 3]], whole["embedding"][[0, 1, 3]])


@pytest.mark.parametrize(
    ("ids", "embedding", "message"),
    [
        ((), np.zeros((0, 3)), "no clips"),
        (("a", "a"), np.zeros((2, 3)), "not unique"),
        (("a", "b"), np.zeros((3, 3)), r"embedding has shape \(3, 3\), expected \(2, dim\)"),
        (("a", "b"), np.zeros(2), "embedding has shape"),
    ],
)
def test_malformed_features_are_refused(ids, embedding, message):
    with pytest.raises(ValueError, match=message):
        Features(ids, {"embedding": embedding})
