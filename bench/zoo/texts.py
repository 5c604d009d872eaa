"""Trains the text halves of the embedded ADMs: one audio tower, three text encoders, contrastively, then frozen.

AudioLDM, TANGO and Make-An-Audio all condition on a text encoder that was trained before them and stays frozen. Here
the three small encoders learn together against one audio tower on the "train" split (CLAP's loss), with an auxiliary
loss that asks each text vector for its clip's events and attributes, so that little training suffices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.bench.models.checkpoints.components import require_exact
from admbench.bench.suites.corpus.corpus import EVENTS, ClipSpec
from admbench.bench.zoo.architectures import BLUEPRINTS, CLAP_DIM, TEXT_WIDTH, text_encoder, tokenizer
from admbench.bench.zoo.data import Split
from admbench.bench.zoo.judges import augment, contrastive
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.metrics.embedders.audio_cnn import AudioCNN

TEXTS = Recipe("texts", steps=600, batch_size=48, learning_rate=1e-3, seed=301, ema=0.99)
KINDS = tuple(dict.fromkeys(blueprint.text for blueprint in BLUEPRINTS.values()))
ATTRIBUTES = ("pitch", "rate", "brightness", "loudness", "distance")


def description(spec: ClipSpec) -> NDArray[np.float32]:
    """What a caption may say, as numbers: events first and second (2 K), and each one's attributes about 0 (2 x 5)."""
    present = np.zeros((2, len(EVENTS)), dtype=np.float32)
    values = np.zeros((2, len(ATTRIBUTES)), dtype=np.float32)
    for number, event in enumerate(spec.events):
        present[number, EVENTS.index(event.name)] = 1
        values[number] = [getattr(event, name) - 0.5 for name in ATTRIBUTES]
    return np.concatenate([present.ravel(), values.ravel()])


class Towers(nn.Module):
    """An audio tower and one text encoder of each kind, all meeting in CLAP_DIM dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = AudioCNN(256)
        self.audio_project = nn.Linear(256, CLAP_DIM)
        self.texts = nn.ModuleDict({kind: text_encoder(kind) for kind in KINDS})
        self.projects = nn.ModuleDict({kind: nn.Linear(TEXT_WIDTH, CLAP_DIM) for kind in KINDS if kind != "clap"})
        self.describe = nn.ModuleDict({kind: nn.Linear(CLAP_DIM, 2 * len(EVENTS) + 10) for kind in (*KINDS, "audio")})
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def text_vector(self, kind: str, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask (n, tokens) -> L2-normalised (n, CLAP_DIM)."""
        if kind == "clap":
            return F.normalize(self.texts[kind](ids, attention_mask=mask).text_embeds, dim=-1)
        weights = mask[..., None].float()
        pooled = (hidden_states(self.texts[kind], ids, mask) * weights).sum(dim=1) / weights.sum(dim=1)
        return F.normalize(self.projects[kind](pooled), dim=-1)


def hidden_states(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The token sequence that an encoder hands to cross attention: (n, tokens, TEXT_WIDTH)."""
    out = encoder(ids, attention_mask=mask)
    states: Tensor = out if isinstance(out, Tensor) else out.last_hidden_state
    return states


def load_encoder(kind: str, folder: Path) -> Any:
    """One trained text encoder, as it ships: rounded to float16, in float32. `folder` is that of the stage.

    Raises:
        CheckpointError: the stage has left no weights of it, or those of another architecture.
    """
    prefix, encoder = f"texts.{kind}.", text_encoder(kind)
    kept = torch.load(folder / "weights.pt", weights_only=True)
    own = {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}
    missing, unexpected = encoder.load_state_dict(own, strict=False)
    require_exact(str(folder / "weights.pt"), missing, unexpected)
    return encoder.half().float().eval()


def train_texts(training: Split, folder: Path) -> Towers:
    """Trains all encoders together; the weights stay in one file that the export takes apart."""
    torch.manual_seed(TEXTS.seed)
    towers = Towers()
    tokens = {}
    for kind in KINDS:
        out = tokenizer(kind)([spec.caption for spec in training.specs], padding=True, return_tensors="pt")
        tokens[kind] = (out.input_ids, out.attention_mask)
    told = torch.from_numpy(np.stack([description(spec) for spec in training.specs]))
    events = 2 * len(EVENTS)

    def described(kind: str, vector: Tensor, rows: Tensor) -> Tensor:
        out = towers.describe[kind](vector * 8.0)
        named = F.binary_cross_entropy_with_logits(out[:, :events], told[rows, :events]) * 10
        return named + F.mse_loss(out[:, events:], told[rows, events:])

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = TEXTS.rows(step, len(training))
        index = torch.from_numpy(rows)
        hidden = towers.audio(augment(training.waveforms(rows), rng))
        audio = F.normalize(towers.audio_project(hidden), dim=-1)
        total = described("audio", audio, index)
        values: Losses = {"audio": total}
        for kind in KINDS:
            ids, mask = tokens[kind]
            vector = towers.text_vector(kind, ids[index], mask[index])
            matched, named = contrastive(audio, vector, towers.log_scale), described(kind, vector, index)
            values |= {f"{kind}_contrastive": matched, f"{kind}_described": named}
            total = total + matched + named
        return {"loss": total} | values

    train(towers, TEXTS, losses, folder)
    return towers
