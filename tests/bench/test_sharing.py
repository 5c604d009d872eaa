"""Shipped components are stored once, and a model that shares one is the model that it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from admbench.bench.models import EMBEDDED
from admbench.bench.models.checkpoints import shipped
from admbench.bench.zoo.sharing import SHARED, holder_of, share
from admbench.errors import BenchError
from admbench.files import read_json, write_json_atomic
from admbench.hashing import sha256_file


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
