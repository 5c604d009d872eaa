"""The layouts in which checkpoints are published: what a folder holds, which files are used, their hash; no torch."""

from __future__ import annotations

import mmap
from pathlib import Path

from admbench import cache
from admbench.bench.models.checkpoints.pipeline_layouts import PIPELINE_LAYOUTS, Layout, PipelineLayout, family_of
from admbench.bench.models.checkpoints.published import Published, locate
from admbench.bench.models.components import Component
from admbench.errors import CheckpointError
from admbench.files import read_json, read_yaml, write_text_atomic
from admbench.hashing import sha256_file, sha256_json

DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"
TRANSFORMERS_WEIGHTS = ("model", "pytorch_model")
AUDIOLDM_COMPONENTS = {
    "unet": (DIFFUSERS_WEIGHTS,),
    "vae": (DIFFUSERS_WEIGHTS,),
    "text_encoder": TRANSFORMERS_WEIGHTS,
    "vocoder": TRANSFORMERS_WEIGHTS,
}
"""Folder of a component -> names, without suffix, that its weights may have."""

TANGO_CONFIGS = ("main_config.json", "vae_config.json", "stft_config.json")
TANGO_MAIN, TANGO_VAE = "pytorch_model_main", "pytorch_model_vae"
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model")
"""What TANGO takes from the repository of its text encoder; the weights are its own."""

LDM_MAIN = "maa1_full"
LDM_CONFIGS = ("txt2audio_args.yaml", "configs/text_to_audio/txt2audio_args.yaml")
"""Where Make-An-Audio's configuration may be; without it, the model is the published one."""
LDM_TEXT = "cond_stage_model.caption_encoder."
"""Prefix of the text encoder's tensors in Make-An-Audio's own checkpoint."""
BIGVGAN_CONFIG, BIGVGAN_WEIGHTS = "bigvgan/args.yml", "bigvgan/best_netG"
CLAP_CONFIG, CLAP_WEIGHTS = "CLAP/config.yml", "CLAP/CLAP_weights_2022"
BERT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
"""What Make-An-Audio takes from the repository of CLAP's BERT; the weights are CLAP's own."""
HUB_NAMES = {"bert-base-uncased": "google-bert/bert-base-uncased"}
"""Repositories of the hub that configurations name by what they were called before."""

QUANTIZABLE: dict[Layout, tuple[Component, ...]] = {
    "audioldm": ("backbone", "text_encoder", "vae", "vocoder"),
    "tango": ("backbone", "text_encoder", "vae", "vocoder"),
    "make-an-audio": ("backbone", "text_encoder", "vae", "vocoder"),
    "audioldm2": ("backbone", "text_encoder", "text_encoder_2", "language_model", "vae", "vocoder"),
    "musicldm": ("backbone", "text_encoder", "vae", "vocoder"),
    "stable-audio": ("backbone", "text_encoder", "vae"),
    "stable-audio-3": ("backbone", "text_encoder", "vae"),
    "ace-step": ("backbone", "text_encoder", "condition_encoder", "vae"),
    "longcat-audiodit": ("backbone", "text_encoder", "vae"),
}
"""The components whose classes a packed checkpoint may name, see `admbench.methods.core.checkpoint.architectures`."""

EXPECTED = (
    "an AudioLDM pipeline directory (model_index.json of AudioLDMPipeline, unet/, vae/, ...), one of"
    f" {', '.join(layout.pipeline for layout in PIPELINE_LAYOUTS.values())}, a TANGO checkpoint"
    " (main_config.json, vae_config.json, stft_config.json, pytorch_model_main.bin, pytorch_model_vae.bin) or a"
    " Make-An-Audio checkpoint (maa1_full.ckpt, bigvgan/args.yml, bigvgan/best_netG.pt, CLAP/config.yml)"
)


def recognise(folder: Path) -> Layout:
    """Return the layout of a folder, by looking at what it holds.

    Raises:
        CheckpointError: it is none of those that are known; says what was expected.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; expected {EXPECTED}")
    if (folder / "main_config.json").is_file():
        return "tango"
    if any((folder / f"{LDM_MAIN}{suffix}").is_file() for suffix in (".safetensors", ".ckpt")):
        return "make-an-audio"
    if (folder / BIGVGAN_CONFIG).is_file() or (folder / CLAP_CONFIG).is_file():
        return "make-an-audio"  # without its weights, which is said where they are needed
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind == "AudioLDMPipeline":
        return "audioldm"
    if (family := family_of(kind)) is not None:
        return family
    found = f"a pipeline directory of {kind}" if kind else "not a checkpoint that is known here"
    raise CheckpointError(f"{folder}: {found}; expected {EXPECTED}")


def text_encoder_folder(folder: Path, *, download: bool) -> Path:
    """Return where configuration and tokenizer of the text encoder are that TANGO or Make-An-Audio names.

    Raises:
        CheckpointError: they are not here; gives the command that gets them.
    """
    tango = recognise(folder) == "tango"
    config = folder / ("main_config.json" if tango else CLAP_CONFIG)
    _require(config)
    content = read_json(config) if tango else read_yaml(config)
    key, example = ("text_encoder_name", "google/flan-t5-large") if tango else ("text_model", "bert-base-uncased")
    named = content.get(key) if isinstance(content, dict) else None
    if not isinstance(named, str):
        raise CheckpointError(f"{config}: expected {key}, such as {example}")
    if (folder / named).is_dir():
        return folder / named
    files = TEXT_FILES if tango else BERT_FILES
    published = Published(named.split("/")[-1], HUB_NAMES.get(named, named), "Apache-2.0", files=files)
    return locate(published, download=download)


def weights_file(folder: Path, stems: tuple[str, ...], suffix: str = ".bin") -> Path:
    """Return a component's weights: safetensors if there, else torch.save's file. CheckpointError if there is neither.

    Args:
        folder: of the component.
        stems: names, without suffix, that the weights may have.
        suffix: of torch.save's file.
    """
    for kind in (".safetensors", suffix):
        for stem in stems:
            if (folder / f"{stem}{kind}").is_file():
                return folder / f"{stem}{kind}"
    raise CheckpointError(f"{folder}: no weights; expected {stems[0]}.safetensors or {stems[-1]}{suffix}")


def component_files(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Return the files that hold the weights of a pipeline's component: one, or an index followed by its shards.

    Args:
        folder: of the component.
        stems: names, without suffix, that the weights may have.

    Raises:
        CheckpointError: there are none, or the index names something else than files beside it.
    """
    try:
        return [weights_file(folder, stems)]
    except CheckpointError:
        indexes = [folder / f"{stem}.safetensors.index.json" for stem in stems]
        found = next((index for index in indexes if index.is_file()), None)
        if found is None:
            raise
    content = read_json(found)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    names = set(shards.values()) if isinstance(shards, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"{found}: expected a weight_map to names of files beside it")
    return [found, *(folder / name for name in sorted(names))]


def clap_file(folder: Path) -> Path | None:
    """Return CLAP's own weights where Make-An-Audio's checkpoint does not bring the text encoder; None where it does.

    Raises:
        CheckpointError: neither does.
    """
    main = weights_file(folder, (LDM_MAIN,), ".ckpt")
    # the names are plain bytes in each of the formats, and stand before the values
    if main.stat().st_size:
        with open(main, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(LDM_TEXT.encode(), 0, 1 << 26) >= 0:
                return None
    try:
        return weights_file(folder, (CLAP_WEIGHTS,), ".pth")
    except CheckpointError as error:
        raise CheckpointError(f"{main}: holds no {LDM_TEXT}*, and {error}") from None


def used_files(folder: Path, *, download: bool = False) -> dict[str, Path]:
    """Return, by its name in the layout, each file that a load reads and that determines what the model does.

    Args:
        folder: of the checkpoint.
        download: whether a tokenizer that is not among the checkpoint's own files may be downloaded.

    Raises:
        CheckpointError: one is missing, which it names, or the layout is not known.
    """
    seen = recognise(folder)
    if seen == "tango":
        files = [folder / name for name in TANGO_CONFIGS]
        files += [weights_file(folder, (stem,)) for stem in (TANGO_MAIN, TANGO_VAE)]
        others = _text_files(folder, TEXT_FILES, download=download)
    elif seen == "make-an-audio":
        files = [folder / BIGVGAN_CONFIG, folder / CLAP_CONFIG, weights_file(folder, (LDM_MAIN,), ".ckpt")]
        files += [weights_file(folder, (BIGVGAN_WEIGHTS,), ".pt"), *filter(None, [clap_file(folder)])]
        files += filter(None, [ldm_config_file(folder)])
        others = _text_files(folder, BERT_FILES, download=download)
    elif seen == "audioldm":
        files, others = _pipeline_files(folder, AUDIOLDM_COMPONENTS, ("tokenizer",))
    else:
        layout = PIPELINE_LAYOUTS[seen]
        files, others = _pipeline_files(folder, components_of(layout), layout.tokenizers)
        if not layout.own_scheduler and not files[0].is_file():
            del files[0]
    for file in files:
        _require(file)
    return {file.relative_to(folder).as_posix(): file for file in files} | others


def components_of(layout: PipelineLayout) -> dict[str, tuple[str, ...]]:
    """Return, by the folder of each model of a pipeline, the names, without suffix, that its weights may have."""
    return dict.fromkeys(layout.models, (DIFFUSERS_WEIGHTS,)) | dict.fromkeys(layout.encoders, TRANSFORMERS_WEIGHTS)


def _pipeline_files(
    folder: Path, components: dict[str, tuple[str, ...]], tokenizers: tuple[str, ...]
) -> tuple[list[Path], dict[str, Path]]:
    """Configurations and weights of a pipeline directory, and by name whatever its tokenizers' folders hold.

    The scheduler's configuration is the first.
    """
    files = [folder / "scheduler" / "scheduler_config.json"]
    for component, stems in components.items():
        files += [folder / component / "config.json", *component_files(folder / component, stems)]
    vocabularies: dict[str, Path] = {}
    for tokenizer in tokenizers:
        held = {f"{tokenizer}/{file.name}": file for file in sorted((folder / tokenizer).glob("*.*"))}
        if not held:
            raise CheckpointError(f"{folder / tokenizer}: the tokenizer is missing; expected {EXPECTED}")
        vocabularies |= held
    return files, vocabularies


def ldm_config_file(folder: Path) -> Path | None:
    """Return Make-An-Audio's configuration if the folder has one."""
    return next((folder / name for name in LDM_CONFIGS if (folder / name).is_file()), None)


def _text_files(folder: Path, names: tuple[str, ...], *, download: bool) -> dict[str, Path]:
    """Those of the named files of the text encoder that are there; the configuration has to be."""
    texts = text_encoder_folder(folder, download=download)
    if not (texts / "config.json").is_file():
        raise CheckpointError(f"{texts / 'config.json'}: missing; expected the text encoder's {', '.join(names)}")
    held = {f"texts/{name}": texts / name for name in names if (texts / name).is_file()}
    if not held:
        raise CheckpointError(f"{folder}: the tokenizer of the text encoder is missing; expected {EXPECTED}")
    return held


def _require(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: missing; expected {EXPECTED}")


def fingerprint(folder: Path) -> str:
    """Return a hash over all files that a load reads: weights, configurations, tokenizer.

    Raises:
        CheckpointError: one is missing, which it names, or the layout is not known.
    """
    return sha256_json({name: _sha256(file) for name, file in used_files(folder, download=True).items()})


def _sha256(file: Path) -> str:
    """Hash a file, or remember the hash from when it had the same place, size and time: gigabytes take a while."""
    status = file.stat()
    known = cache.path("hashes", sha256_json([str(file.resolve()), status.st_size, status.st_mtime_ns]), ".txt")
    if known.is_file():
        return known.read_text(encoding="utf-8")
    digest = sha256_file(file)
    write_text_atomic(known, digest)
    return digest
