"""Takes what the training stages left and writes the shippable files: pipeline directories in float16, with hashes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.deprecated.audioldm.pipeline_audioldm import AudioLDMPipeline
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import SpeechT5HifiGan

from admbench.bench.models.checkpoints.shipped import CHECKPOINTS
from admbench.bench.models.mel import log_mel
from admbench.bench.models.networks.low_rank import UPDATE_FILE
from admbench.bench.models.pipelines.mel_latents import MelDecoder
from admbench.bench.suites.corpus.corpus import CLIP_SECONDS, EVENTS, draw_clip, render_many
from admbench.bench.zoo import students, transformers
from admbench.bench.zoo.architectures import (
    BLUEPRINTS,
    MAX_TOKENS,
    Blueprint,
    autoencoder,
    backbone,
    scheduler,
    tokenizer,
)
from admbench.bench.zoo.architectures import vocoder as new_vocoder
from admbench.bench.zoo.autoencoders import spectral_loss
from admbench.bench.zoo.effort import scaled
from admbench.bench.zoo.sharing import VOCODERS_KEPT, files_of, holder_of, leave_out, share_all
from admbench.bench.zoo.texts import Towers
from admbench.files import atomic_directory, read_json, write_json_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.metrics.embedders.shipped import WEIGHTS
from admbench.metrics.embedders.tiny_tagger import load_tagger

VERSION = "1"
JUDGES = ("tiny-tagger", "tiny-clap")
TRIALS_PER_EVENT = 5


@dataclass(frozen=True)
class DecoderTrial:
    """How one way from picture to audio did on autoencoded real clips of the calibration split."""

    decoder: str
    top1: float
    """Share of single-event clips whose event the tagger finds."""
    spectral_distance: float
    """Multi-resolution STFT distance to the real clip (lower is closer)."""


def export(work: Path) -> None:
    """Writes work/export/shipped/{judges,checkpoints}; what lies there can be installed into the package."""
    target = work / "export" / "shipped"
    with atomic_directory(target) as folder:
        for name in JUDGES:
            shutil.copytree(work / name / "shipped", folder / "judges" / name)
        for blueprint in BLUEPRINTS.values():
            write_pipeline(blueprint, work, folder / "checkpoints" / blueprint.name, folder / "judges")
        share_all(folder / "checkpoints")
        for name, (write, base) in UPON_OTHERS.items():
            write(work, folder / "checkpoints" / name, folder / "checkpoints" / base)


def export_alone(work: Path, name: str) -> None:
    """Writes work/export/shipped/checkpoints/NAME alone: a model that shares components with the package's own."""
    write, base = UPON_OTHERS[name]
    with atomic_directory(work / "export" / "shipped") as folder:
        write(work, folder / "checkpoints" / name, CHECKPOINTS / base)


def install(work: Path) -> None:
    """Puts the exported files in the place of the package's own."""
    shipped = work / "export" / "shipped"
    for source, place in ((shipped / "judges", WEIGHTS), (shipped / "checkpoints", CHECKPOINTS)):
        for folder in sorted(source.iterdir()) if source.is_dir() else ():
            with atomic_directory(place / folder.name) as fresh:
                shutil.copytree(folder, fresh, dirs_exist_ok=True)


def write_pipeline(blueprint: Blueprint, work: Path, folder: Path, judges: Path) -> None:
    """One ADM as a pipeline directory: float16 safetensors, JSON configurations, manifest with hashes."""
    vae = _trained(autoencoder(blueprint.latent_channels), work / blueprint.decoder)
    vae.register_to_config(scaling_factor=read_json(work / blueprint.vae / "latents.json")["scaling_factor"])
    vocoder = _trained(new_vocoder(blueprint.mel), work / blueprint.vocoder)
    trials = try_decoders(blueprint, vae, vocoder, judges)
    best = max(trials, key=lambda trial: (round(trial.top1, 2), -trial.spectral_distance))
    towers = _trained(Towers(), work / "texts")
    parts: dict[str, Any] = {
        "vae": vae.half(),
        "text_encoder": towers.texts[blueprint.text].half(),
        "tokenizer": tokenizer(blueprint.text),
        "unet": _trained(backbone(blueprint), work / blueprint.name).half(),
        "scheduler": scheduler(blueprint),
        "vocoder": vocoder.half(),
    }
    if blueprint.family == "audioldm":
        AudioLDMPipeline(**parts).save_pretrained(folder, safe_serialization=True)
    else:
        for name, part in parts.items():
            part.save_pretrained(folder / name)
    stages = (blueprint.vae, blueprint.decoder, "texts", blueprint.vocoder, blueprint.teacher, blueprint.name)
    facts = {
        "version": VERSION,
        "family": blueprint.family,
        "mel": blueprint.mel.to_json(),
        "seconds": CLIP_SECONDS,
        "tokens": MAX_TOKENS,
        "latent_shape": blueprint.latent_shape,
        "transposed": blueprint.transposed,
        "decoder": best.decoder,
        "decoder_trials": [vars(trial) for trial in trials],
        "training": {name: _training(work / name) for name in stages if name},
    }
    write_json_atomic(folder / "admbench.json", facts)
    write_manifest(folder)
    if best.decoder == "griffin-lim" and blueprint.name not in VOCODERS_KEPT:
        leave_out(folder, "vocoder")


def write_transformer(work: Path, folder: Path, base: Path) -> None:
    """tiny-dit as a pipeline directory; it shares autoencoder, text encoder and tokenizer with its base.

    Args:
        work: folder of the stages.
        folder: gets the rest.
        base: pipeline directory of `transformers.BASE`.
    """
    theirs = read_json(base / "admbench.json")
    module = _trained(transformers.Denoiser(), work / transformers.NAME)
    module.transformer.half().save_pretrained(folder / "transformer")
    module.projections.half().save_pretrained(folder / "projection_model")
    transformers.scheduler().save_pretrained(folder / "scheduler")
    training = {name: notes for name, notes in theirs["training"].items() if name in ("vae-64", "decoder-64", "texts")}
    facts = {
        "version": VERSION,
        "family": "stable-audio",
        **{name: theirs[name] for name in ("mel", "seconds", "tokens", "decoder", "decoder_trials")},
        "latent_shape": (transformers.CHANNELS, transformers.FRAMES),
        "training": training | {transformers.NAME: _training(work / transformers.NAME)},
    }
    write_json_atomic(folder / "admbench.json", facts)
    write_manifest(folder, dict.fromkeys(("text_encoder", "tokenizer", "vae"), base))


def write_student(work: Path, folder: Path, base: Path) -> None:
    """tiny-pingpong as a pipeline directory: an update in float16, and all else its teacher's.

    Args:
        work: folder of the stages.
        folder: gets the rest.
        base: pipeline directory of `students.TEACHER`.
    """
    theirs = read_json(base / "admbench.json")
    module = _trained(students.Student(transformers.Denoiser()), work / students.NAME)
    (folder / UPDATE_FILE).parent.mkdir(parents=True)
    save_file({name: tensor.detach().half() for name, tensor in module.update().items()}, folder / UPDATE_FILE)
    students.scheduler().save_pretrained(folder / "scheduler")
    training = theirs["training"] | {students.NAME: _training(work / students.NAME)}
    write_json_atomic(folder / "admbench.json", theirs | {"version": VERSION, "training": training})
    write_manifest(folder, dict.fromkeys(("transformer", "projection_model", "text_encoder", "tokenizer", "vae"), base))


UPON_OTHERS: Mapping[str, tuple[Callable[[Path, Path, Path], None], str]] = {
    transformers.NAME: (write_transformer, transformers.BASE),
    students.NAME: (write_student, students.TEACHER),
}
"""Models that share components with one that is written before them -> what writes them, and that model."""


def write_manifest(folder: Path, shared: Mapping[str, Path] | None = None) -> None:
    """Writes the manifest of a pipeline directory.

    Args:
        folder: of the model, with all else that is in it.
        shared: component folder -> pipeline directory of another model that has it, itself or from a third.
    """
    files = {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    holders = {part: holder_of(model, part) for part, model in (shared or {}).items()}
    for part, holder in holders.items():
        files |= files_of(read_json(holder / "manifest.json")["files"], part)
    content = {"shared": {part: holder.name for part, holder in holders.items()}} if holders else {}
    files = dict(sorted(files.items()))
    weights = {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    write_json_atomic(folder / "manifest.json", {"weights_sha256": sha256_json(weights), **content, "files": files})


@torch.inference_mode()
def try_decoders(
    blueprint: Blueprint, vae: AutoencoderKL, vocoder: SpeechT5HifiGan, judges: Path
) -> list[DecoderTrial]:
    """Real clips through the autoencoder and then each decoder, heard by the tagger and by a spectral distance."""
    tagger = load_tagger(judges / "tiny-tagger")
    trials_per_event = scaled(TRIALS_PER_EVENT)
    specs = [
        draw_clip("calibration", n, structure="single", event=name) for name in EVENTS for n in range(trials_per_event)
    ]
    real = torch.from_numpy(render_many(specs))
    truth = np.repeat(np.arange(len(EVENTS)), trials_per_event)
    trials = []
    for name in ("hifi-gan", "griffin-lim"):
        decoder = MelDecoder(vae, vocoder, blueprint.mel, name, blueprint.transposed)
        made = []
        for start in range(0, len(real), 13):
            picture = log_mel(real[start : start + 13], blueprint.mel)
            rebuilt = vae.decode(vae.encode(picture[:, None]).latent_dist.mode()).sample[:, 0]
            made.append(decoder.waveforms(rebuilt))
        waveforms = torch.cat(made)
        found = _logits(tagger, waveforms.numpy()).argmax(axis=1)
        distance = float(spectral_loss(waveforms, real))
        trials.append(DecoderTrial(name, float((found == truth).mean()), distance))
    return trials


def _logits(tagger: Any, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([tagger.embed_audio(waveforms[i : i + 32]).logits for i in range(0, len(waveforms), 32)])


def _trained(module: Any, folder: Path) -> Any:
    module.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return module.eval()


def as_shipped(module: Any, folder: Path) -> Any:
    """A module with the weights of a stage, rounded as they ship, in float32."""
    return _trained(module, folder).half().float()


def _training(folder: Path) -> dict[str, Any]:
    done = read_json(folder / "stage.json")
    curve = done["curve"]
    return {
        "steps": done["steps"],
        "seconds": done["seconds"],
        "curve": curve[:: max(1, len(curve) // 12)] + curve[-1:],
    }
