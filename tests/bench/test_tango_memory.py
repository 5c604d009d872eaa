"""TANGO at full size, 5.3 GB in its authors' files, is loaded and read without a second copy of it in memory."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from latent_diffusion import Autoencoder, Tensors
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import T5Config, T5EncoderModel

from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.families.tango import UNET_CONFIG
from admbench.bench.models.networks.published_sizes import FLAN_T5_LARGE
from admbench.bench.models.pipelines import tango

from .test_tango import hifigan

MOST = 1.2
"""Resident bytes at the peak, in sizes of the files."""
BLOCK_BYTES = 1 << 24
LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a zip archive's entry, up to the lengths of name and extra field, after which its bytes begin."""

PROGRAM = """
import sys
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.models import load_model
from admbench.bench.models.pipelines import tango  # imports what loading needs

libraries = peak_resident_bytes()
model = load_model(f"dir:{sys.argv[1]}")
loaded = peak_resident_bytes()
total = sum(float(part.abs().mean()) for module in model.components.values() for part in module.parameters())
assert total > 0
print(libraries, loaded, peak_resident_bytes(), model.parameters)
"""


def fill(archive: Path) -> None:
    """Writes random numbers of usual size into the tensors of a file of torch.save that has none."""
    block = torch.randn(BLOCK_BYTES // 4).mul_(0.02).numpy().view(np.uint8)
    with open(archive, "r+b") as file:
        for entry in zipfile.ZipFile(archive).infolist():
            if "/data/" not in entry.filename:
                continue
            file.seek(entry.header_offset)
            name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            file.seek(name + extra, os.SEEK_CUR)
            for start in range(0, entry.file_size, BLOCK_BYTES):
                file.write(block[: entry.file_size - start].tobytes())


def write_checkpoint(folder: Path) -> None:
    """All files of declare-lab's layout, at full size, without ever having all of it in memory."""
    texts = folder / "google" / "flan-t5-large"
    shutil.copytree(shipped.folder_of("tiny-tango") / "tokenizer", texts)
    config = T5Config(**FLAN_T5_LARGE)
    (texts / "config.json").write_text(json.dumps(config.to_dict()))
    with torch.device("meta"):
        parts = {"unet": UNet2DConditionModel(**tango.UNET), "text_encoder": T5EncoderModel(config)}
    named = {f"{part}.{name}": one for part, module in parts.items() for name, one in module.state_dict().items()}
    with FakeTensorMode():
        main = {name: torch.empty(one.shape, dtype=one.dtype) for name, one in named.items()}
    main["text_encoder.encoder.embed_tokens.weight"] = main["text_encoder.shared.weight"]
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(main, folder / "pytorch_model_main.bin")
    fill(folder / "pytorch_model_main.bin")
    vae = Autoencoder(channels=128, multiples=(1, 2, 4), blocks=2, latents=8, attends=(False,) * 3).tensors()
    sound: Tensors = vae | {f"vocoder.{name}": tensor for name, tensor in hifigan(width=1024).items()}
    torch.save(sound, folder / "pytorch_model_vae.bin")
    shape = {"double_z": True, "z_channels": 8, "in_channels": 1, "out_ch": 1, "ch": 128, "ch_mult": [1, 2, 4]}
    contents = {
        "main_config.json": {
            "text_encoder_name": "google/flan-t5-large",
            "unet_model_config_path": UNET_CONFIG,
        },
        "vae_config.json": {"ddconfig": shape | {"num_res_blocks": 2, "attn_resolutions": []}, "scale_factor": 0.92},
        "stft_config.json": {"hop_length": 160, "sampling_rate": 16_000},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak of a process's own")
def test_tango_is_in_memory_once(tmp_path, capsys):
    folder = tmp_path / "tango"
    folder.mkdir()
    try:
        write_checkpoint(folder)
        size = sum((folder / f"pytorch_model_{part}.bin").stat().st_size for part in ("main", "vae"))
        made = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env=os.environ | {"ADMBENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert made.returncode == 0, made.stderr
    libraries, loaded, read, parameters = map(int, made.stdout.split())
    with capsys.disabled():
        print(
            f"\nTANGO: files of {size / 1e9:.2f} GB; peak {loaded / 1e9:.2f} GB loaded ({loaded / size:.2f} x),"
            f" {read / 1e9:.2f} GB with every weight read ({read / size:.2f} x; {libraries / 1e9:.2f} GB of it"
            " Python and the libraries)"
        )
    assert parameters == 865_933_768
    assert size > 5.2e9
    assert loaded < read
    assert read - libraries <= MOST * size  # 0.84 GB where it was written, whatever the model
