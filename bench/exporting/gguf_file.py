"""The backbone's weights as a GGUF file, in the formats that checkpoints of Q8_0, Q4_0, Q4_K, Q5_K and Q6_K have.

A weight whose groups are whole blocks of its format is written as these blocks, bit for bit our codes. Any other, and
what is not quantized, is written in float32: the very values that its codes have. Names are those of the library's
parameters. A convolution's weight is a matrix there, a row for each output channel, and the metadata has its shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from admbench.bench.exporting.plain import plain_network, roundings, without_roundings
from admbench.bench.exporting.subject import Inputs, Subject
from admbench.bench.exporting.target import Run, Target, Written
from admbench.errors import UsageError
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.gguf import HalfScaleQuantizer, SuperBlockQuantizer
from admbench.methods.core.numbers.gguf_blocks import to_blocks
from admbench.methods.core.numbers.scheme import NO_PARTS

FILE = "backbone.gguf"
SHAPE = "admbench.shape."
"""Beginning of the metadata keys that hold the shapes of weights that are no matrices."""
_TYPES = {("float16", 8): "Q8_0", ("float16", 4): "Q4_0", ("k", 4): "Q4_K", ("k", 5): "Q5_K", ("k", 6): "Q6_K"}
"""Type of the scales and bits of a code -> ggml's name of the format."""


class GGUFFile(Target):
    """One file, for what reads GGUF by the package `gguf`."""

    name = "gguf"
    summary = "the backbone's weights as GGUF blocks, of checkpoints in GGUF's formats"
    packages = ("gguf",)
    extra = "gguf"
    required_sqnr_db = 90.0

    def reference(self, subject: Subject) -> nn.Module:
        """See `Target`: the simulation without the rounding of inputs."""
        return without_roundings(subject.model.backbone)

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: no weight is in a format of GGUF, or see `plain_network`.
        """
        import gguf

        backbone = subject.model.backbone
        blocks = _blocks(backbone)
        if not blocks:
            raise UsageError(
                "backbone: no weight has whole blocks of a GGUF format; expected a checkpoint of q8_0, q4_0, q4_k, q5_k"
                " or q6_k"
            )
        plain = plain_network(backbone, "backbone")
        writer = gguf.GGUFWriter(folder / FILE, type(backbone).__name__)
        for name, tensor in plain.state_dict().items():
            if name in blocks:
                kind, rows = blocks[name]
                if tensor.ndim > 2:
                    writer.add_array(SHAPE + name, list(tensor.shape))
                writer.add_tensor(name, rows.numpy(), raw_dtype=gguf.GGMLQuantizationType[kind])
            else:
                if tensor.ndim > 2:
                    writer.add_array(SHAPE + name, list(tensor.shape))
                writer.add_tensor(name, tensor.float().reshape(len(tensor), -1).numpy() if tensor.ndim > 2 else tensor.float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        whole = len(quantized_layers(backbone))
        kinds = ", ".join(sorted({kind for kind, _ in blocks.values()}))
        left_out = [f"backbone: {what}" for what in roundings(backbone)]
        left_out += [f"{name}: not exported" for name in subject.headers if name != "backbone"]
        return Written(f"{FILE}: {len(blocks)} of {whole} quantized weights as {kinds}, all else float32", tuple(left_out))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`: the package's own reader, and torch."""
        import gguf

        reader = gguf.GGUFReader(folder / FILE)
        network = plain_network(subject.model.backbone, "backbone")
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        state = {
            one.name: torch.from_numpy(gguf.dequantize(one.data, one.tensor_type).copy()).reshape(shapes[one.name])
            for one in reader.tensors
        }
        network.load_state_dict(state, strict=True)
        function = subject.function.of(network)

        def run(inputs: Inputs) -> Tensor:
            with torch.no_grad():
                return function(*(inputs[name] for name in function.names))

        return run


def _blocks(backbone: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """Return the weights that GGUF has as they are: parameter -> name of the format, blocks."""
    found: dict[str, tuple[str, Tensor]] = {}
    for name, layer in quantized_layers(backbone).items():
        made = _of(layer)
        if made is not None:
            found[f"{name}.weight"] = made
    return found


def _of(layer: QuantizedLayer) -> tuple[str, Tensor] | None:
    quantizer: Any = layer.weight_quantizer
    parts = layer.parts.model_copy(update={"timesteps": 0})
    if not isinstance(quantizer, HalfScaleQuantizer | SuperBlockQuantizer) or parts != NO_PARTS:
        return None
    assert layer.weight_codes is not None
    try:
        rows = to_blocks(quantizer, layer.weight_codes.flatten(1))
    except ValueError:  # groups that are no whole blocks
        return None
    return _TYPES[quantizer.scheme.scales, quantizer.scheme.bits], rows
