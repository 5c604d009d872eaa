"""Content addresses."""

import numpy as np
import pytest
import torch

from admbench.hashing import sha256_file, sha256_json, sha256_tensors


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
