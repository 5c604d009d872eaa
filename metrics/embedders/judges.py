"""What a judge is, and those that are built in: names, roles, licences, and where weights are. Imports no torch.

A judge is an embedder that a user can name, for the roles that it can take. Any may be the `tagger`, whose embeddings
distances are between, and whose class logits, if it has any, KL and IS are of. The `clap` embeds audio and captions in
one space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import util
from pathlib import Path
from typing import Any, ClassVar

from admbench.errors import CheckpointError, PluginError
from admbench.hashing import remembered_sha256, sha256_file, sha256_json
from admbench.metrics.embedders.base import Role
from admbench.metrics.embedders.hub import find_folder, weight_file
from admbench.metrics.embedders.published import Published
from admbench.registry import load_target

_ZENODO = "https://zenodo.org/records/3987831/files"
_LAION = "https://huggingface.co/lukewys/laion_clap/resolve/main"


class Judge(ABC):
    """A plug-in: where the weights of an embedder are, and how it is loaded. `weights` is what the user gave."""

    summary: ClassVar[str]
    """One line for lists; a literal."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Distributions that must be installed; a literal."""
    roles: ClassVar[tuple[Role, ...]]
    """Which it can take."""
    license: ClassVar[str]
    """Of the weights."""

    @classmethod
    @abstractmethod
    def find(cls, weights: str | None = None) -> Path:
        """Return where the weights are.

        Raises:
            CheckpointError: they are not there; one line with where they were looked for and how to get them.
        """

    @classmethod
    @abstractmethod
    def load(cls, weights: str | None = None) -> Any:
        """Return the embedder: an `AudioEmbedder`, a `JointEmbedder` if it can take the role `clap`.

        Raises:
            CheckpointError: the weights are missing, damaged, or another network's; names the file.
        """

    @classmethod
    def fingerprint(cls, weights: str | None = None) -> str:
        """Return the SHA-256 of the weights, as the embedder's `sha256`, without loading them."""
        return remembered_sha256(cls.find(weights))

    @classmethod
    def configuration(cls, weights: str | None = None) -> str | None:
        """Return a hash over the other files that a load reads, where they lie beside the weights; None without any."""
        return None


class _Shipped(Judge):
    """Weights that come with the package, or a folder that `bench zoo train` made."""

    license = "Apache-2.0"
    folder: ClassVar[str]

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """See the base class."""
        folder = Path(weights) if weights is not None else Path(__file__).parent / "weights" / cls.folder
        file = folder / "weights.safetensors"
        if not file.is_file():
            raise CheckpointError(f"{file}: the weights of {cls.folder} are missing; `bench zoo train` makes them")
        return file


class TinyTagger(_Shipped):
    """See the summary."""

    summary = "Small log-mel CNN trained on the embedded corpus; ships with the package"
    roles = ("tagger",)
    folder = "tiny-tagger"

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.tiny_tagger import load_tagger

        return load_tagger(cls.find(weights).parent)


class TinyClap(_Shipped):
    """See the summary."""

    summary = "Small audio and text towers trained on the embedded corpus; ships with the package"
    roles = ("clap", "tagger")
    folder = "tiny-clap"

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.tiny_clap import load_clap

        return load_clap(cls.find(weights).parent)


class _PannsCnn14(Judge):
    """CNN14 of Kong et al. 2020 at one sample rate."""

    roles = ("tagger",)
    license = "CC-BY-4.0"
    name: ClassVar[str]
    published: ClassVar[Published]
    front_end: ClassVar[str]
    """Name of its front end in `admbench.metrics.embedders.panns`."""

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """See the base class."""
        return cls.published.find(cls.name, weights)

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders import panns

        return panns.load_cnn14(cls.name, cls.find(weights), getattr(panns, cls.front_end))


class PannsCnn14At16k(_PannsCnn14):
    """See the summary."""

    summary = "PANNs CNN14 of AudioSet at 16 kHz: 2048 features, 527 logits"
    name = "panns-cnn14-16k"
    published = Published.at("Cnn14_16k_mAP=0.438.pth", f"{_ZENODO}/Cnn14_16k_mAP%3D0.438.pth")
    front_end = "AT_16K"


class PannsCnn14At32k(_PannsCnn14):
    """See the summary."""

    summary = "PANNs CNN14 of AudioSet at 32 kHz: 2048 features, 527 logits"
    name = "panns-cnn14-32k"
    published = Published.at("Cnn14_mAP=0.431.pth", f"{_ZENODO}/Cnn14_mAP%3D0.431.pth")
    front_end = "AT_32K"


class VGGish(Judge):
    """See the summary."""

    summary = "VGGish, 128 numbers for each 0.96 s, of the Frechet audio distance; no logits"
    roles = ("tagger",)
    license = "Apache-2.0"
    published = Published.at(
        "vggish-10086976.pth", "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
    )

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """See the base class."""
        return cls.published.find("vggish", weights)

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.vggish import load_vggish

        return load_vggish(cls.find(weights))


class Passt(Judge):
    """See the summary."""

    summary = "PaSST of AudioSet at 32 kHz: 768 features, 527 logits"
    requires = ("hear21passt", "timm")
    roles = ("tagger",)
    license = "Apache-2.0"
    published = Published.at(
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
    )

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """See the base class."""
        return cls.published.find("passt", weights)

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.passt import load_passt

        return load_passt(cls.find(weights))


class LaionClap(Judge):
    """See the summary."""

    summary = "LAION-CLAP in its original format: any unfused checkpoint, 630k-audioset-best.pt if none is named"
    requires = ("laion-clap",)
    roles = ("clap", "tagger")
    license = "CC0-1.0"
    published = Published.at("630k-audioset-best.pt", f"{_LAION}/630k-audioset-best.pt")

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """See the base class."""
        return cls.published.find("laion-clap", weights)

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.laion_clap import load_laion_clap

        return load_laion_clap(cls.find(weights))


class MsClap(Judge):
    """See the summary."""

    summary = "Microsoft's CLAP of 2023 on the msclap package, which is installed without its dependencies"
    roles = ("clap", "tagger")
    license = "MIT"
    install = "pip install --no-deps msclap torchlibrosa"
    """Its declared bounds exclude the transformers and pandas that everything else needs, so it is no requirement."""
    published = Published.at(
        "CLAP_weights_2023.pth", "https://huggingface.co/microsoft/msclap/resolve/main/CLAP_weights_2023.pth"
    )

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """Return where the weights are; PluginError where the package is not installed."""
        if missing := [name for name in ("msclap", "torchlibrosa") if util.find_spec(name) is None]:
            raise PluginError(f"msclap: no {' and no '.join(missing)} here: {cls.install}")
        return cls.published.find("msclap", weights)

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        from admbench.metrics.embedders.ms_clap import load_ms_clap

        return load_ms_clap(cls.find(weights))


class _FromHub(Judge):
    """Weights in a folder in the format of transformers, or of a hub id that was downloaded before."""

    name: ClassVar[str]
    hub_id: ClassVar[str]
    """Of the weights that are taken if none are named."""
    loader: ClassVar[str]
    """`module:function` of this package: of the weight file, and of what scores call it, the embedder."""

    @classmethod
    def load(cls, weights: str | None = None) -> Any:
        """See the base class."""
        embedder = load_target(f"{__package__}.{cls.loader}")(cls.find(weights), cls.checkpoint(weights))
        embedder.configuration_sha256 = cls.configuration(weights)
        return embedder

    @classmethod
    def configuration(cls, weights: str | None = None) -> str:
        """See the base class: how audio is prepared, how text is cut, and what the network looks like."""
        beside = sorted(one for one in cls.find(weights).parent.iterdir() if one.suffix in (".json", ".txt", ".model"))
        return sha256_json({file.name: sha256_file(file) for file in beside})

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        """Return the weight file in a folder, or of a hub id that was downloaded before."""
        return weight_file(find_folder(cls.name, weights or cls.hub_id))

    @classmethod
    def checkpoint(cls, weights: str | None) -> str:
        """Return what scores call the weights: the hub id, or the name of the folder."""
        name = weights or cls.hub_id
        return Path(name).name if Path(name).is_dir() else name


class ClapHuggingFace(_FromHub):
    """See the summary."""

    summary = "CLAP in the format of transformers, a folder or hub id; laion/clap-htsat-unfused if none is named"
    roles = ("clap", "tagger")
    license = "Apache-2.0"
    name = "clap-hf"
    hub_id = "laion/clap-htsat-unfused"
    loader = "clap_hf:load_clap_hf"


class Encodec(_FromHub):
    """See the summary."""

    summary = "Encoder of EnCodec at 24 kHz, a folder or hub id: 128 numbers for each 1/75 s; no logits"
    roles = ("tagger",)
    license = "MIT for its code; none is stated for the weights"
    name = "encodec"
    hub_id = "facebook/encodec_24khz"
    loader = "encodec:load_encodec"


class Mert(_FromHub):
    """See the summary."""

    summary = "MERT of music at 24 kHz, last layer, a folder or hub id: 768 features; no logits"
    roles = ("tagger",)
    license = "CC-BY-NC-4.0"
    name = "mert"
    hub_id = "m-a-p/MERT-v1-95M"
    loader = "mert:load_mert"


class AudioboxAesthetics(_FromHub):
    """See the summary."""

    summary = "Audiobox-Aesthetics of Meta at 16 kHz, a folder or hub id: predicted ratings on four axes"
    requires = ("audiobox-aesthetics",)
    roles = ("aesthetics",)
    license = "CC-BY-4.0"
    name = "audiobox-aesthetics"
    hub_id = "facebook/audiobox-aesthetics"
    loader = "audiobox:load_audiobox"
