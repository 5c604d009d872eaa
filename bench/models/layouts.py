"""The layouts in which checkpoints are published: what a folder holds, which files are used, their hash; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from admcore.errors import CheckpointError
from admcore.files import read_json, write_text_atomic
from admcore.hashing import sha256_file, sha256_json
from bench import cache
from bench.models.pipeline_layouts import PIPELINE_LAYOUTS, Family, PipelineLayout, family_of
from bench.models.published import Published, locate

Layout = Literal["audioldm", "tango"] | Family

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

EXPECTED = (
    "an AudioLDM pipeline directory (model_index.json of AudioLDMPipeline, unet/, vae/, ...), one of"
    f" {', '.join(layout.pipeline for layout in PIPELINE_LAYOUTS.values())}, or a TANGO checkpoint"
    " (main_config.json, vae_config.json, stft_config.json, pytorch_model_main.bin, pytorch_model_vae.bin)"
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
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind == "AudioLDMPipeline":
        return "audioldm"
    if (family := family_of(kind)) is not None:
        return family
    found = f"a pipeline directory of {kind}" if kind else "not a checkpoint that is known here"
    raise CheckpointError(f"{folder}: {found}; expected {EXPECTED}")


def text_encoder_folder(folder: Path, *, download: bool) -> Path:
    """Return where configuration and tokenizer of a TANGO checkpoint's text encoder are.

    Raises:
        CheckpointError: they are not here; gives the command that gets them.
    """
    main = read_json(folder / "main_config.json")
    named = main.get("text_encoder_name") if isinstance(main, dict) else None
    if not isinstance(named, str):
        raise CheckpointError(
            f"{folder / 'main_config.json'}: expected text_encoder_name, such as google/flan-t5-large"
        )
    if (folder / named).is_dir():
        return folder / named
    return locate(Published(named.split("/")[-1], named, "Apache-2.0", TEXT_FILES), download=download)


def weights_file(folder: Path, stems: tuple[str, ...]) -> Path:
    """Return a component's weights: safetensors if there, else a .bin. CheckpointError if there is neither."""
    for suffix in (".safetensors", ".bin"):
        for stem in stems:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    raise CheckpointError(f"{folder}: no weights; expected {stems[0]}.safetensors or {stems[-1]}.bin")


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
        texts = text_encoder_folder(folder, download=download)
        if not (texts / "config.json").is_file():
            raise CheckpointError(
                f"{texts / 'config.json'}: missing; expected the text encoder's {', '.join(TEXT_FILES)}"
            )
        others = {f"texts/{name}": texts / name for name in TEXT_FILES if (texts / name).is_file()}
        if not others:
            raise CheckpointError(f"{folder}: the tokenizer of the text encoder is missing; expected {EXPECTED}")
    elif seen == "audioldm":
        files, others = _pipeline_files(folder, AUDIOLDM_COMPONENTS, ("tokenizer",))
    else:
        layout = PIPELINE_LAYOUTS[seen]
        files, others = _pipeline_files(folder, components_of(layout), layout.tokenizers)
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file}: missing; expected {EXPECTED}")
    return {file.relative_to(folder).as_posix(): file for file in files} | others


def components_of(layout: PipelineLayout) -> dict[str, tuple[str, ...]]:
    """Return, by the folder of each model of a pipeline, the names, without suffix, that its weights may have."""
    return dict.fromkeys(layout.models, (DIFFUSERS_WEIGHTS,)) | dict.fromkeys(layout.encoders, TRANSFORMERS_WEIGHTS)


def _pipeline_files(
    folder: Path, components: dict[str, tuple[str, ...]], tokenizers: tuple[str, ...]
) -> tuple[list[Path], dict[str, Path]]:
    """Configurations and weights of a pipeline directory, and by name whatever its tokenizers' folders hold."""
    files = [folder / "scheduler" / "scheduler_config.json"]
    for component, stems in components.items():
        files += [folder / component / "config.json", weights_file(folder / component, stems)]
    vocabularies: dict[str, Path] = {}
    for tokenizer in tokenizers:
        held = {f"{tokenizer}/{file.name}": file for file in sorted((folder / tokenizer).glob("*.*"))}
        if not held:
            raise CheckpointError(f"{folder / tokenizer}: the tokenizer is missing; expected {EXPECTED}")
        vocabularies |= held
    return files, vocabularies


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
