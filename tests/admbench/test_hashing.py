"""Content addresses."""

import os
import time

import numpy as np
import pytest
import torch

from admbench import hashing
from admbench.hashing import remembered_sha256, sha256_file, sha256_json, sha256_tensors


def test_file_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_hash_ignores_key_order_and_refuses_nan():
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    assert sha256_json([1, 2]) != sha256_json([2, 1])
    with pytest.raises(ValueError, match="JSON compliant"):
        sha256_json(float("nan"))


def test_tensor_hash_ignores_order_and_library():
    weight, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, np.float32)
    expected = sha256_tensors({"weight": weight, "bias": bias})
    assert sha256_tensors({"bias": torch.from_numpy(bias), "weight": torch.from_numpy(weight)}) == expected
    assert sha256_tensors({"bias": bias, "weight": np.asfortranarray(weight)}) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.zeros(2, 3)},
        {"w": torch.zeros(3, 2) + 1e-45},
        {"w": torch.zeros(3, 2, dtype=torch.int32)},
        {"v": torch.zeros(3, 2)},
        {"w": torch.zeros(3, 2), "x": torch.zeros(0)},
    ],
    ids=["shape", "value", "dtype", "name", "another"],
)
def test_tensor_hash_tells_apart(other):
    assert sha256_tensors({"w": torch.zeros(3, 2)}) != sha256_tensors(other)


def test_tensor_hash_takes_bfloat16_scalars_and_strides():
    tensors = {"a": torch.tensor(1.5, dtype=torch.bfloat16), "b": torch.arange(6).reshape(2, 3).T}
    assert sha256_tensors(tensors) == sha256_tensors({name: tensor.clone() for name, tensor in tensors.items()})


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file whose hash is remembered, and how often files were hashed since."""
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("admbench.hashing.SETTLED_SECONDS", -1.0)
    path, read = tmp_path / "weights", []
    path.write_bytes(bytes(hashing.REMEMBERED_BYTES))
    monkeypatch.setattr("admbench.hashing.sha256_file", lambda file: read.append(file) or sha256_file(file))
    return path, read


def test_the_hash_of_a_large_file_is_remembered_while_nothing_changed(large):
    path, read = large
    assert remembered_sha256(path) == remembered_sha256(path) == sha256_file(path)
    assert read == [path]


def test_a_file_of_the_same_place_size_and_date_with_another_content_is_hashed_again(large):
    path, _ = large
    remembered_sha256(path)
    before = path.stat()
    path.write_bytes(b"1" * hashing.REMEMBERED_BYTES)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_sha256(path) == sha256_file(path)
    other = path.with_name("other")
    other.write_bytes(b"2" * hashing.REMEMBERED_BYTES)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert remembered_sha256(path) == sha256_file(path)


def test_what_has_just_changed_is_not_remembered(large, monkeypatch):
    path, read = large
    monkeypatch.setattr("admbench.hashing.SETTLED_SECONDS", time.time())
    remembered_sha256(path)
    remembered_sha256(path)
    assert read == [path, path]


@pytest.mark.parametrize("content", ["", "f" * 64, "f" * 64 + " " + "0" * 64, "\udcff"])
def test_a_memo_that_was_damaged_is_not_believed(large, tmp_path, content):
    path, _ = large
    remembered_sha256(path)
    (memo,) = (tmp_path / "cache" / "hashes").iterdir()
    memo.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert remembered_sha256(path) == sha256_file(path)


def test_where_nothing_can_be_written_nothing_is_remembered_and_nothing_fails(large, tmp_path, monkeypatch):
    path, read = large
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert remembered_sha256(path) == remembered_sha256(path) == sha256_file(path)
    assert read == [path, path]
