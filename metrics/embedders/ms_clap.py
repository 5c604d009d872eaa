"""`msclap`: Microsoft's CLAP of 2023, on the network of the msclap package.

Elizalde, Deshmukh and Wang 2023, "Natural Language Supervision for General-Purpose Audio Representations" (arXiv
2309.05767): HTS-AT for audio, GPT-2 for text, projected to 1024 numbers. 44.1 kHz, windows of 7 s. The package repeats
a shorter clip until 7 s are full, as is done here, and crops a longer one at random; fadtk's `clap-2023` takes 7 s each
second. Here a longer clip is cut into consecutive windows, the last of which ends with it, and the mean of their unit
vectors counts, as with the other CLAP judges.

Only the package's network definition is used: its wrapper fetches GPT-2, unpickles without restriction, leaves out what
does not fit, and calls what transformers 5 has no more. It declares transformers < 5 and pandas < 3 and runs with later
ones as far as it is used here, so it is installed without its dependencies and is no extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import CheckpointError, PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.hub import find_tokenizer
from admbench.metrics.embedders.published import load_pickle, load_strictly
from admbench.metrics.embedders.windows import mean_of_windows, windows

SAMPLE_RATE = 44_100
WINDOW = 7 * SAMPLE_RATE
MAX_TOKENS = 77
END_OF_TEXT, PADDING = " <|endoftext|>", "!"
"""The first is put behind every caption; the second is token 0, by which the network finds where a caption ends."""
TOKENIZER = "gpt2"
NETWORK: dict[str, Any] = {
    "audioenc_name": "HTSAT",
    "sample_rate": SAMPLE_RATE,
    "window_size": 1024,
    "hop_size": 320,
    "mel_bins": 64,
    "fmin": 50,
    "fmax": 8000,
    "classes_num": 527,
    "out_emb": 768,
    "text_model": TOKENIZER,
    "transformer_embed_dim": 768,
    "d_proj": 1024,
}
"""Of the package's `config_2023.yml`."""
GPT2: dict[str, Any] = {}
"""What distinguishes the published text encoder from the defaults of `transformers.GPT2Config`."""
_MASKS = (".attn.bias", ".attn.masked_bias")  # constants of GPT-2, which transformers stopped to save


class MsClap:
    """An MS-CLAP network as a :class:`admbench.metrics.embedders.base.JointEmbedder`."""

    sample_rate = SAMPLE_RATE
    embedding_dim = int(NETWORK["d_proj"])

    def __init__(self, network: Any, tokenizer: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256 = f"msclap:{checkpoint}", sha256
        self.network, self.tokenizer = network.eval(), tokenizer

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Unit vectors (n, 1024) of float32 waveforms (n, samples) in [-1, 1] at 44.1 kHz; there are no logits."""
        cut = windows(waveforms, WINDOW, whole_repeats=False)
        return AudioFeatures(embedding=mean_of_windows(cut, self._embed), logits=None)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 1024) of captions, cut off after 76 tokens and the end of text."""
        end = self.tokenizer.convert_tokens_to_ids(END_OF_TEXT.strip())
        tokens = self.tokenizer(
            [caption + END_OF_TEXT for caption in captions],
            padding="max_length",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        ids[:, -1] = torch.where(mask[:, -1] == 1, end, ids[:, -1])
        return _unit(self.network.caption_encoder({"input_ids": ids, "attention_mask": mask}))

    def _embed(self, of_clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (k, 308700) -> unit vectors (k, 1024)."""
        projected, _ = self.network.audio_encoder(torch.from_numpy(np.ascontiguousarray(of_clip)))
        return _unit(projected)


def load_ms_clap(path: Path) -> MsClap:
    """Load `CLAP_weights_2023.pth`, strictly, with the tokenizer that lies beside it or in the hub's cache.

    Raises:
        CheckpointError: it is another network's, or not readable; names the file. The tokenizer is missing.
        PluginError: the package cannot be imported here.
    """
    from transformers import GPT2Tokenizer

    network = make_network()
    tensors = {name: one for name, one in load_pickle(path, "model").items() if not name.endswith(_MASKS)}
    source = find_tokenizer("msclap", path.parent, TOKENIZER)
    try:
        tokenizer = GPT2Tokenizer.from_pretrained(str(source), local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source}: not the tokenizer of GPT-2 ({error})") from error
    tokenizer.add_special_tokens({"pad_token": PADDING})
    load_strictly(network, tensors, path)
    return MsClap(network, tokenizer, path.name, sha256_file(path))


def make_network() -> Any:
    """Return the package's network with random weights, as it configures that of 2023."""
    from transformers import GPT2Config, GPT2Model

    try:
        from msclap.models import clap
    except ImportError as error:
        raise PluginError(f"msclap: the package cannot be imported here ({error})") from error
    fetching = clap.AutoModel
    # its constructor fetches the pretrained GPT-2, all of whose weights the checkpoint replaces
    clap.AutoModel = SimpleNamespace(from_pretrained=lambda _: GPT2Model(GPT2Config(**GPT2)))
    try:
        return clap.CLAP(**NETWORK)
    finally:
        clap.AutoModel = fetching


def _unit(vectors: torch.Tensor) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    return unit
