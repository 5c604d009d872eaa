"""Shipped components are stored once, and a model that shares one is the model that it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from admbench.bench.models import EMBEDDED
from admbench.bench.models.checkpoints import shipped
from admbench.bench.zoo.sharing import SHARED, holder_of, leave_out, share
from admbench.errors import BenchError
from admbench.files import read_json, write_json_atomic
from admbench.hashing import sha256_file, sha256_json


def pipeline(folder: Path, **contents: str) -> Path:
    """A pipeline directory with one file in each component folder."""
    for part, content in contents.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "weights").write_text(content)
    files = {f"{part}/weights": sha256_file(folder / part / "weights") for part in contents}
    write_json_atomic(folder / "manifest.json", {"weights_sha256": "as it was", "files": files})
    return folder


def test_a_component_that_another_holds_is_removed_and_named(tmp_path: Path) -> None:
    holder = pipeline(tmp_path / "holder", vae="same", unet="theirs")
    own = pipeline(tmp_path / "own", vae="same", unet="ours")
    before = read_json(own / "manifest.json")
    share(own, {"vae": holder})
    assert read_json(own / "manifest.json") == before | {"shared": {"vae": "holder"}}
    assert not (own / "vae").exists()
    assert (own / "unet" / "weights").read_text() == "ours"
    assert holder_of(own, "vae") == holder
    assert holder_of(own, "unet") == own


def test_a_component_that_differs_is_kept_and_named(tmp_path: Path) -> None:
    holder = pipeline(tmp_path / "holder", vae="same", unet="theirs")
    own = pipeline(tmp_path / "own", vae="same", unet="ours")
    with pytest.raises(BenchError, match=r"own/unet/weights: is not the same in .*holder"):
        share(own, {"vae": holder, "unet": holder})
    assert (own / "vae" / "weights").is_file()
    assert "shared" not in read_json(own / "manifest.json")


def test_a_component_that_is_left_out_is_named_and_the_hash_stays(tmp_path: Path) -> None:
    own = pipeline(tmp_path / "own", vae="ours", vocoder="not heard")
    before = read_json(own / "manifest.json")
    leave_out(own, "vocoder")
    after = read_json(own / "manifest.json")
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["files"] | after["left_out"] == before["files"]
    assert set(after["left_out"]) == {"vocoder/weights"}
    assert not (own / "vocoder").exists()
    with pytest.raises(BenchError, match=r"own: there is no vocoder to be left out"):
        leave_out(own, "vocoder")


def test_the_models_are_those_that_stored_records_know() -> None:
    known = {
        "tiny-audioldm": "5bce39f77c4b34fe2b68824926e41d1bc1fd24b9ccd667c19e627e6254ee618f",
        "tiny-tango": "5bb3379a9ca3ddc478848a9a4b7ad118b22a0cc31a746943f3ebab655ddec91c",
        "tiny-make-an-audio": "af254b8521ca336f9469eb91233df0c91134a134f2ea5e8e783fd3e27fa2afaa",
        "tiny-flow": "9b876a42bc727d0a68dfed2c8342a5da9261d77d997500463d5880fb90db2327",
        "tiny-dit": "614848e7ccfc5becbee42f6a4e98f7f30e1ff80a40ef3c8c9b1842cce11f6896",
        "tiny-pingpong": "f4db5e7c9b6911ec23846bb380826e0bf6130df68837355bbe2b1141e980401b",
    }
    assert {name: shipped.fingerprint(name) for name in known} == known
    for name in known:
        manifest = shipped.manifest(name)
        made = manifest["files"] | manifest.get("left_out", {})
        weights = {file: digest for file, digest in sorted(made.items()) if file.endswith(".safetensors")}
        assert sha256_json(weights) == known[name]


def test_no_shipped_weights_lie_in_two_places() -> None:
    places: dict[str, set[Path]] = {}
    for name in EMBEDDED:
        for relative, digest in shipped.manifest(name)["files"].items():
            if relative.endswith(".safetensors"):
                places.setdefault(digest, set()).add(shipped.place(name, relative))
    assert all(len(paths) == 1 for paths in places.values())
    assert all(path.is_file() for paths in places.values() for path in paths)


def test_the_shipped_models_share_what_an_export_would() -> None:
    assert {name: shipped.shared(name) for name in SHARED} == SHARED
    assert not shipped.shared("tiny-audioldm"), "its folder is a whole pipeline directory of diffusers"
    left_out = shipped.manifest("tiny-make-an-audio")["left_out"]
    assert set(left_out) == {"vocoder/config.json", "vocoder/model.safetensors"}
