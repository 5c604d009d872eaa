"""`q-dit`: Chen et al., "Q-DiT: Accurate Post-Training Quantization for Diffusion Transformers" (arXiv 2406.17343,
CVPR 2025).

In transformers channels of a layer's input differ more than outputs do, and inputs change with timestep and sample. So
weights and inputs have a scale and a zero point for each group of input channels, those of inputs found at run time for
each token, and weights are rounded by GPTQ. Smaller groups are not always better, and layers differ: each layer's size,
one for weight and input, is searched for, of 32, 64, 128, 192 and 288 (the released code, Juanerx/Q-DiT).

The paper was read as its abstract and introduction, and the released code. Beside that, on the same arrays, weights and
inputs are rounded alike, and GPTQ with groups of 128 is the same; with groups of 32 the released code finds a scale
before the errors of its block of 128 columns are passed on, here after, which left 1 to 5 % less error.

Departures. The paper looks for sizes by evolution: 50 candidates in each of 20 generations, judged by the FID of
thousands of images, such that their mean is at least 128. Here they are judged by the error of each layer's output as
it runs, rounded to nearest, relative to the output, and the sum over layers is least among all choices that take no
more bytes than `group` everywhere, which is a choice, too; that is an integer program, solved exactly. GPTQ follows, as
in `gptq`. Attention's operands are not rounded, as in the released code by default. Convolutions take part, their
inputs in groups of channels at every position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.calibration.statistics import input_grams, input_rows
from admbench.methods.core.layers.allocation import Choice, allocate, weight_bytes
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import Policy, grouped_policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.layerwise import GramConfig, LayerwiseMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

SIZES = (32, 64, 128, 192, 288)
"""Of groups that are tried: the search space of the released code."""


class QDiTConfig(GramConfig):
    """Options of `q-dit`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"tried": 1024},
        "paper": {"tried": 8192},
    }

    group: int = Field(default=128, ge=1, le=100_000)
    """Most numbers that share a scale, where no size is searched for; its bytes bound the search."""
    search: bool = True
    """Whether each layer gets a size of its own."""
    tried: int = Field(default=1024, ge=1, le=10_000_000)
    """Positions of a layer's input that a size is judged on."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """Share of the mean of the Gram matrix's diagonal that is added to it."""


class Solution(NamedTuple):
    """A layer as the method leaves it."""

    quantizer: Quantizer
    """What the codes mean."""
    codes: Tensor
    """uint8, of the weight's shape."""
    activation: Scheme | None
    """Of the input."""


class QDiT(LayerwiseMethod[MinMax, Solution]):
    """Groups of channels for weights and for inputs at run time, of a size searched layer by layer; GPTQ."""

    name = "q-dit"
    summary = "groups of channels of searched sizes, GPTQ, inputs at run time (2406.17343)"
    version = "1"
    track = "post-training"
    family = "Hessian"
    paper = arxiv(
        "2406.17343",
        "Chen et al., Q-DiT: Accurate Post-Training Quantization for Diffusion Transformers, CVPR 2025",
        read="abstract",
    )
    claims = frozenset({"drifting ranges"})
    Config: ClassVar[type[QDiTConfig]] = QDiTConfig
    config: QDiTConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, MinMax]:
        """See `LayerwiseMethod`: which layers run, in which order."""
        return input_ranges(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: weights in groups, but for the ends; inputs in groups at run time."""
        policy = grouped_policy(*self.spec.sides, ends, self.config.group)
        return policy.changed(activation=lambda scheme: _at_run_time(scheme.bits, self.config.group))

    def solve(
        self, model: DenoisingModel, calibration: CalibrationSet, policy: Policy, seen: Mapping[str, MinMax]
    ) -> Mapping[str, Solution]:
        """See `LayerwiseMethod`; nothing where weights stay as they are."""
        if self.spec.bits[0] == 16:
            return {}
        layers, schemes = quantizable_layers(model.backbone), {name: policy.scheme_of(name) for name in seen}
        grouped = [name for name, scheme in schemes.items() if scheme.weight and scheme.weight.granularity == "group"]
        if self.config.search:
            rows = input_rows(model, calibration, grouped, self.config.tried)
            schemes |= search_sizes({name: RunLayer.of(layers[name], schemes[name], some) for name, some in rows})
        return {
            name: Solution(
                *gptq_codes(layers[name].weight.detach(), gram, _weight(schemes[name], len(gram)), self.config.damping),
                schemes[name].activation,
            )
            for name, gram in input_grams(model, calibration, list(seen), self.config.positions)
        }

    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: MinMax, solution: Solution | None
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        inputs = scheme.activation if solution is None else solution.activation
        activation = None if inputs is None else dynamic_input(inputs, layer)
        if solution is None:  # a convolution in groups, or weights in 16 bits
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        return QuantizedLayer(
            layer,
            weight_codes=solution.codes,
            weight_quantizer=solution.quantizer,
            activation_quantizer=activation,
        )


def search_sizes(runs: Mapping[str, RunLayer]) -> dict[str, LayerScheme]:
    """Return schemes of some layers, the sizes of their groups searched for.

    Args:
        runs: layers with inputs; their schemes have groups of the size whose bytes bound the search.
    """
    choices: dict[str, list[Choice]] = {}
    schemes: dict[str, list[LayerScheme]] = {}
    for name, run in runs.items():
        tried = {str(scheme): scheme for scheme in (_scheme(run), *(_scheme(run, size) for size in SIZES))}
        schemes[name] = list(tried.values())
        choices[name] = [_judged(run, scheme) for scheme in schemes[name]]
    if not choices:
        return {}
    taken = allocate(choices, sum(options[0].bytes for options in choices.values()))
    return {name: schemes[name][choices[name].index(choice)] for name, choice in taken.items()}


@torch.no_grad()
def _judged(run: RunLayer, scheme: LayerScheme) -> Choice:
    weight = run.layer.weight.detach()
    trial = RunLayer.of(run.layer, scheme, run.rows)
    rounded = fit_weight(trial.scheme, weight).fake_quantize(weight)
    power = float(run.exact.square().mean(0).sum())
    noise = trial.error(None, rounded) / power if power else 0.0
    return Choice(trial.scheme.bits, weight_bytes(run.layer, trial.scheme), noise)


def _scheme(run: RunLayer, size: int | None = None) -> LayerScheme:
    """Return the scheme of a layer with groups of another size, fitted to the layer."""
    weight, activation = run.scheme, None if run.activation is None else run.activation.scheme
    if size is not None:
        weight = weight.model_copy(update={"group_size": size})
        activation = None if activation is None else _at_run_time(activation.bits, size)
    fitted = None if activation is None else dynamic_input(activation, run.layer).scheme
    return LayerScheme(weight=weight.for_terms(run.layer.weight[0].numel()), activation=fitted)


def _weight(scheme: LayerScheme, terms: int) -> Scheme:
    assert scheme.weight is not None
    return scheme.weight.for_terms(terms)


def _at_run_time(bits: int, size: int) -> Scheme:
    return Scheme(bits=bits, granularity="group", symmetric=False, group_size=size, dynamic=True)
