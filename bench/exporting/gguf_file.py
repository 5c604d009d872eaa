"""The backbone's weights as a GGUF file, in the formats that checkpoints of Q8_0, Q4_0, Q4_K, Q5_K and Q6_K have.

A weight whose groups are whole blocks of its format is written as these blocks, bit for bit our codes. Any other, and
what is not quantized, is written in float32: the very values that its codes have. Names are those of the library's
parameters. A convolution's weight is a matrix there, a row for each output channel, and the metadata has its shape.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.bench.exporting.plain import plain_network, roundings, without_roundings
from admbench.bench.exporting.subject import Inputs, Subject
from admbench.bench.exporting.target import Run, Target, Written, not_exported
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

    def required_sqnr_db(self, subject: Subject) -> float:
        """See `Target`: the values are the same, and sums may be in another order."""
        return 90.0

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
        state = plain_network(backbone, "backbone").state_dict()
        blocks = {name: own for name, own in _blocks(backbone).items() if name in state}  # halves of a split are not
        if not blocks:
            formats = ", ".join(_TYPES.values())
            raise UsageError(f"backbone: no weight has whole blocks of a format of GGUF; expected one of {formats}")
        writer = gguf.GGUFWriter(folder / FILE, type(backbone).__name__)
        for name, tensor in state.items():
            if tensor.ndim > 2:
                writer.add_array(SHAPE + name, list(tensor.shape))
            if name in blocks:
                kind, rows = blocks[name]
                writer.add_tensor(name, rows.numpy(), raw_dtype=gguf.GGMLQuantizationType[kind])
            else:
                writer.add_tensor(name, (tensor.flatten(1) if tensor.ndim > 2 else tensor).float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        kinds = ", ".join(sorted({kind for kind, _ in blocks.values()}))
        holds = f"{FILE}: {len(blocks)} of {len(quantized_layers(backbone))} quantized weights as {kinds}, all else F32"
        left_out = tuple(f"backbone: {what}" for what in roundings(backbone))
        return Written(holds, left_out + not_exported(subject))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`: the package's own reader, and torch."""
        import gguf

        network = plain_network(subject.model.backbone, "backbone")
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        state = {
            one.name: torch.from_numpy(gguf.dequantize(one.data, one.tensor_type).copy()).reshape(shapes[one.name])
            for one in gguf.GGUFReader(folder / FILE).tensors
        }
        network.load_state_dict(state, strict=True)
        function = subject.function.of(network)

        def run(inputs: Inputs) -> Tensor:
            with torch.no_grad():
                predicted: Tensor = function(*(inputs[name] for name in function.names))
            return predicted

        return run


def _blocks(backbone: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """Return the weights that GGUF has as they are: parameter -> name of the format, blocks."""
    made = {f"{name}.weight": _of(layer) for name, layer in quantized_layers(backbone).items()}
    return {name: found for name, found in made.items() if found is not None}


def _of(layer: QuantizedLayer) -> tuple[str, Tensor] | None:
    quantizer, codes = layer.weight_quantizer, layer.weight_codes
    linear = layer.parts.model_copy(update={"timesteps": 0}) == NO_PARTS  # nothing that becomes part of the weight
    if codes is None or not linear or not isinstance(quantizer, HalfScaleQuantizer | SuperBlockQuantizer):
        return None
    try:
        rows = to_blocks(quantizer, codes.flatten(1))
    except ValueError:  # groups that are no whole blocks
        return None
    return _TYPES[quantizer.scheme.scales, quantizer.scheme.bits], rows
