"""Stages that `bench zoo train --reuse` does not train again, because the package ships what came of them.

A model that is added later shares components with those that are there: it must learn from these very weights, and the
rounding that they ship with, and not from what a new training on another machine would make of the same seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import T5EncoderModel

from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.checkpoints.files import WEIGHTS
from admbench.bench.zoo import students, transformers
from admbench.bench.zoo.architectures import BLUEPRINTS
from admbench.bench.zoo.autoencoders import encode_split
from admbench.bench.zoo.data import mel_pictures, render_split
from admbench.bench.zoo.transformers import BASE, Denoiser
from admbench.files import read_json, write_json_atomic

REUSED: Mapping[tuple[str, ...], tuple[str, ...]] = {
    (transformers.NAME,): ("vae-64", "texts"),
    ("ways-0", "ways-1", students.NAME): ("texts", students.TEACHER),
}
"""Stages of a model that may be trained upon what ships, its own last -> those that are filled from there."""


def reuse(work: Path, needed: Sequence[str], clips: int) -> None:
    """Leave in a work folder what some stages would, from the shipped components; what is there stays.

    Args:
        work: folder of the stages.
        needed: stages.
        clips: of the training split that the latents are of.

    Raises:
        CheckpointError: the components are missing or not what was shipped.
    """
    filled = {"vae-64": (BASE, _autoencoder), "texts": (BASE, _texts), students.TEACHER: (students.TEACHER, _teacher)}
    for stage in needed:
        holder, fill = filled[stage]
        shipped.verify(holder)
        if not (work / stage / "done.json").exists():
            (work / stage).mkdir(parents=True, exist_ok=True)
            fill(work, work / stage, clips)
            facts = read_json(shipped.folder_of(holder) / "admbench.json")["training"][stage]
            write_json_atomic(work / stage / "stage.json", facts)
            write_json_atomic(work / stage / "done.json", {"seconds": facts["seconds"], "reused": holder})


def _autoencoder(work: Path, folder: Path, clips: int) -> None:
    vae = load_component(AutoencoderKL, shipped.place(BASE, "vae"), WEIGHTS["diffusers"]).eval()
    torch.save(vae.state_dict(), folder / "weights.pt")
    split = render_split(work / "corpus", "train", clips)
    encode_split(vae, mel_pictures(work / "corpus", split, "train", BLUEPRINTS[BASE].mel), folder)
    # the scale that was measured when the autoencoder was trained, and which every decoder divides by
    write_json_atomic(folder / "latents.json", {"scaling_factor": vae.config["scaling_factor"]})


def _texts(work: Path, folder: Path, clips: int) -> None:
    """Only the encoder that is needed: a stage that needs another one finds its weights missing."""
    encoder = load_component(T5EncoderModel, shipped.place(BASE, "text_encoder"), WEIGHTS["transformers"])
    torch.save({f"texts.t5.{name}": value for name, value in encoder.state_dict().items()}, folder / "weights.pt")


def _teacher(work: Path, folder: Path, clips: int) -> None:
    module = Denoiser()
    for own, part in ((module.transformer, "transformer"), (module.projections, "projection_model")):
        loaded = load_component(type(own), shipped.place(students.TEACHER, part), WEIGHTS["diffusers"])
        own.load_state_dict(loaded.state_dict())
    torch.save(module.state_dict(), folder / "weights.pt")
