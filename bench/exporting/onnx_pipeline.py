"""AudioLDM whole, for ONNX Runtime alone: the backbone with our integers, and text encoder and decoder in float32.

    backbone.onnx       see `onnx_model`
    text_encoder.onnx   `input_ids`, `attention_mask` (n, tokens) -> `embedding` (n, width), of unit length
    decoder.onnx        `latents` (n, *latent_shape) -> `waveform` (n, samples), through autoencoder and vocoder
    tokenizer.json      for the package `tokenizers`
    pipeline.json       what sampling has to know

Text encoder and decoder are those of the pipeline, in full precision, even where the checkpoint has quantized ones.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.bench.exporting.onnx_model import TRACED_OPSET, OnnxModel
from admbench.bench.exporting.pipeline_source import pipeline_folder
from admbench.bench.exporting.subject import Subject
from admbench.bench.exporting.target import Written
from admbench.bench.models.directory import load
from admbench.errors import UsageError

FACTS, TOKENIZER = "pipeline.json", "tokenizer.json"
PIPELINE = "AudioLDMPipeline"


class OnnxPipeline(OnnxModel):
    """A folder from which ONNX Runtime makes audio without torch."""

    name = "onnx-pipeline"
    summary = "AudioLDM whole, the backbone as by onnx, for ONNX Runtime and tokenizers alone"

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: the model is no AudioLDM that is sampled by DDIM from predicted noise; or see `OnnxModel`.
        """
        family, source = pipeline_folder(subject.model.name)
        if family.pipeline != PIPELINE:
            raise UsageError(f"{subject.model.name}: is run by {family.pipeline}; expected a model of {PIPELINE}")
        if not (source / "tokenizer" / TOKENIZER).is_file():
            raise UsageError(f"{source / 'tokenizer'}: has no {TOKENIZER}, which the package tokenizers reads")
        written = super().write(subject, folder)
        model: Any = load(source)
        scheduler, tokenizer = model._scheduler, model._conditioner.tokenizer
        config = scheduler.config
        expected = ("DDIMScheduler", "epsilon", "scaled_linear", "leading")
        found = (type(scheduler).__name__, *(config[key] for key in ("prediction_type", "beta_schedule")))
        if (*found, config["timestep_spacing"]) != expected or config["set_alpha_to_one"] or config["clip_sample"]:
            raise UsageError(f"{source / 'scheduler'}: expected {', '.join(expected)}, as AudioLDM has them")
        tokens = tokenizer(["a sound"], padding="max_length", truncation=True, return_tensors="pt")
        _trace(_Text(model.components["text_encoder"]), tuple(tokens.values()), tuple(tokens), "embedding", folder)
        latents = subject.inputs[0]["sample"][:1]
        _trace(_Decoder(model), (torch.zeros_like(latents),), ("latents",), "waveform", folder)
        shutil.copyfile(source / "tokenizer" / TOKENIZER, folder / TOKENIZER)
        facts = {
            "latent_shape": list(latents.shape[1:]),
            "sample_rate": model.sample_rate,
            "tokens": tokens["input_ids"].shape[1],
            "pad_id": tokenizer.pad_token_id,
            "pad_token": tokenizer.pad_token,
            "beta_start": config["beta_start"],
            "beta_end": config["beta_end"],
            "training_steps": config["num_train_timesteps"],
            "steps_offset": config["steps_offset"],
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        return Written(f"{written.holds}; text_encoder.onnx and decoder.onnx in float32", written.left_out)


class _Text(nn.Module):
    """Tokens to CLAP's embedding, of unit length."""

    file = "text_encoder.onnx"

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.normalize(self.encoder(input_ids, attention_mask=attention_mask).text_embeds, dim=-1)


class _Decoder(nn.Module):
    """Latents to audio."""

    file = "decoder.onnx"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.parts, self._decode = (
            nn.ModuleDict({name: model.components[name] for name in ("vae", "vocoder")}),
            model._decode,
        )

    def forward(self, latents: Tensor) -> Tensor:
        waveforms: Tensor = self._decode(latents)
        return waveforms


def _trace(
    network: _Text | _Decoder, example: tuple[Tensor, ...], names: tuple[str, ...], output: str, to: Path
) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: sizes that do not vary become constants, as they should
        torch.onnx.export(
            network.eval(),
            example,
            to / network.file,
            input_names=list(names),
            output_names=[output],
            dynamic_axes={name: {0: "rows"} for name in (*names, output)},
            opset_version=TRACED_OPSET,
            dynamo=False,
        )
