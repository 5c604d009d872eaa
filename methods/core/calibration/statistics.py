"""What full-precision layers read on a calibration set: extremes of each input channel, and Gram matrices.

The Gram matrix H = X X^T / n of a layer's inputs, columns of X being what one output is computed from (an unfolded
patch of a convolution), makes the error of any weight a quadratic form: the mean squared change of the layer's outputs
under a change E of its weight (out, terms) is tr(E H E^T) per position. GPTQ, AWQ and SVDQuant all choose by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE, check_finite, watch_inputs
from admbench.methods.core.layers.kinds import (
    QuantizableLayer,
    channel_dimension,
    layer_kind,
    over_inputs,
    quantizable_layers,
)
from admbench.methods.core.numbers.timesteps import timesteps_of_calls
from admbench.methods.protocol import DenoisingModel

GRAM_BYTES = 2**30
"""Gram matrices, or rows, in memory at a time, unless a single one is larger; more take more passes over the set."""


@dataclass
class ChannelStatistics:
    """Of each channel of a layer's input, (in,) float32, over a calibration set."""

    low: Tensor
    """Smallest number."""
    high: Tensor
    """Largest number."""
    mean_magnitude: Tensor
    """Mean of |x|."""

    @property
    def largest(self) -> Tensor:
        """Largest |x|."""
        return torch.maximum(-self.low, self.high).clamp(min=0)

    def range_over(self, scale: Tensor) -> Tensor:
        """Return smallest and largest number of the input divided by a positive scale (in,), (1, 2)."""
        return torch.stack([(self.low / scale).min(), (self.high / scale).max()]).reshape(1, 2)


def channel_statistics(
    model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str]
) -> dict[str, ChannelStatistics]:
    """Return the statistics of layers that run, in the order in which they do, in one pass.

    Raises:
        UsageError: the set belongs to another model.
        DataError: an input is NaN or infinite; names the layer.
    """
    modules = quantizable_layers(model.backbone)
    found: dict[str, ChannelStatistics] = {}
    counts: dict[str, int] = {}

    def see(name: str, values: Tensor) -> None:
        rows = channel_rows(modules[name], values).float()
        low, high = torch.aminmax(rows, dim=0)
        total = rows.abs().sum(0)
        if name in found:
            own = found[name]
            own.low, own.high = torch.minimum(own.low, low), torch.maximum(own.high, high)
            own.mean_magnitude += total
        else:
            found[name] = ChannelStatistics(low, high, total)
        counts[name] = counts.get(name, 0) + len(rows)

    watch_inputs(model, calibration, layers, see)
    for name, own in found.items():
        own.mean_magnitude /= counts[name]
        check_finite(name, own.low + own.high)
    return found


def channel_statistics_by_timestep(
    model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str]
) -> dict[float, dict[str, ChannelStatistics]]:
    """Return `channel_statistics` of the samples at each timestep of a set apart, timesteps rising, in one pass.

    Timesteps are in the units that the backbone is given them in. A network without any has one entry, at 0.

    Raises:
        UsageError: the set belongs to another model.
        DataError: an input is NaN or infinite; names the layer.
    """
    names = list(layers)
    bins = timestep_bins(model, calibration, len(calibration))
    return {timesteps[0]: channel_statistics(model, samples, names) for timesteps, samples in bins}


def timestep_bins(
    model: DenoisingModel, calibration: CalibrationSet, count: int
) -> list[tuple[tuple[float, ...], CalibrationSet]]:
    """Return the samples of a set by bins of neighbouring timesteps, as many timesteps in each, rising.

    Args:
        model: that the set was drawn from.
        calibration: to be divided.
        count: of bins, or as many as there are timesteps if these are fewer.

    Returns:
        the timesteps of each bin, in the units that the backbone is given them in, and the samples at these. A network
        without any has one bin, at timestep 0.
    """
    calibration.check_model(model)
    timesteps = timesteps_of_calls(model, calibration.batches(BATCH_SIZE))
    if timesteps is None:
        return [((0.0,), calibration)]
    different = timesteps.unique()  # sorted
    bins = different.tensor_split(min(count, len(different)))
    return [
        (tuple(own.tolist()), calibration.take(torch.nonzero(torch.isin(timesteps, own)).reshape(-1))) for own in bins
    ]


def channel_rows(layer: QuantizableLayer, values: Tensor) -> Tensor:
    """Return a layer's input with a row for each position and a column for each channel, (positions, in)."""
    return values.detach().movedim(channel_dimension(layer_kind(layer)), -1).flatten(0, -2)


def input_grams(
    model: DenoisingModel, calibration: CalibrationSet, layers: Sequence[str], positions: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield the Gram matrix of each layer that runs, (terms, terms) float32, as many at a time as fit in `GRAM_BYTES`.

    Layers that no sample reaches, and convolutions in groups, are left out.

    Args:
        model: its backbone must be the full-precision one.
        calibration: drawn from this model.
        layers: names of layers of the backbone.
        positions: about how many columns of X to take of each layer, drawn evenly over the set.

    Raises:
        UsageError: the set belongs to another model.
        DataError: an input is NaN or infinite; names the layer.
    """
    modules = quantizable_layers(model.backbone)
    names = [name for name in layers if getattr(modules[name], "groups", 1) == 1]
    calls = -(-len(calibration) // BATCH_SIZE)
    for some in _batches_of(names, {name: 4 * modules[name].weight[0].numel() ** 2 for name in names}):
        grams: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, values: Tensor, grams: dict[str, Tensor] = grams, counts: dict[str, int] = counts) -> None:
            rows = patches(modules[name], values.detach().float(), -(-positions // calls), seed=counts.get(name, 0))
            gram = rows.T @ rows
            grams[name] = grams[name].add_(gram) if name in grams else gram
            counts[name] = counts.get(name, 0) + len(rows)

        watch_inputs(model, calibration, some, see)
        for name in list(grams):
            gram = grams.pop(name).div_(counts[name])
            check_finite(name, gram)
            yield name, gram


def input_rows(
    model: DenoisingModel, calibration: CalibrationSet, layers: Sequence[str], positions: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield what random outputs of each layer that runs are computed from, (rows, terms) float32.

    As many layers at a time as fit in `GRAM_BYTES`. Arguments, what is left out, and errors are as of `input_grams`.
    """
    modules = quantizable_layers(model.backbone)
    names = [name for name in layers if getattr(modules[name], "groups", 1) == 1]
    calls = -(-len(calibration) // BATCH_SIZE)
    each = -(-positions // calls)
    for some in _batches_of(names, {name: 4 * positions * modules[name].weight[0].numel() for name in names}):
        seen: dict[str, list[Tensor]] = {}

        def see(name: str, values: Tensor, seen: dict[str, list[Tensor]] = seen) -> None:
            parts = seen.setdefault(name, [])
            parts.append(patches(modules[name], values.detach().float(), each, seed=len(parts)))

        watch_inputs(model, calibration, some, see)
        for name in list(seen):
            rows = torch.cat(seen.pop(name))
            check_finite(name, rows)
            yield name, rows


def input_rows_by_bin(
    model: DenoisingModel, bins: Sequence[CalibrationSet], layers: Sequence[str], positions: int
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield `input_rows` of some parts of a set, as many of each, and in all `positions` or a few more."""
    each = -(-positions // len(bins))
    for parts in zip(*(input_rows(model, samples, layers, each) for samples in bins), strict=True):
        (name,) = {name for name, _ in parts}
        yield name, [rows for _, rows in parts]


def patches(layer: QuantizableLayer, values: Tensor, count: int, *, seed: int) -> Tensor:
    """Return what at most `count` random outputs of a layer are computed from, (rows, terms)."""
    if isinstance(layer, nn.Linear):
        rows = values.flatten(0, -2)
        return rows[_some(len(rows), count, seed)]
    if isinstance(layer, nn.Conv1d):
        values = values.unsqueeze(2)
    flat = [1] * (2 - len(layer.kernel_size))  # a Conv1d is a Conv2d over pictures of height 1
    kernel, stride, dilation = ((*flat, *getattr(layer, key)) for key in ("kernel_size", "stride", "dilation"))
    if layer.padding == "same":
        reach = [dilated * (size - 1) for dilated, size in zip(dilation, kernel, strict=True)]
        values = F.pad(values, [side for total in reversed(reach) for side in (total // 2, total - total // 2)])
    elif not isinstance(layer.padding, str):
        sides = [0] * len(flat) + list(layer.padding)
        values = F.pad(values, [side for size in reversed(sides) for side in (size, size)])
    windows = values
    for dimension, (size, step, apart) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        windows = windows.unfold(dimension, apart * (size - 1) + 1, step)
    windows = windows[..., :: dilation[0], :: dilation[1]]  # (n, in, height, width, kernel, kernel), a view
    positions = windows.shape[0] * windows.shape[2] * windows.shape[3]
    chosen = _some(positions, count, seed)
    sample, place = chosen // (windows.shape[2] * windows.shape[3]), chosen % (windows.shape[2] * windows.shape[3])
    picked = windows[sample, :, place // windows.shape[3], place % windows.shape[3]]
    return picked.flatten(1)


def output_error(error: Tensor, gram: Tensor) -> Tensor:
    """Return the mean squared change of a layer's outputs under a change of its weight, summed over outputs.

    Args:
        error: (..., out, terms).
        gram: (terms, terms).

    Returns:
        (...,).
    """
    return ((error @ gram) * error).sum((-2, -1))


def _some(total: int, count: int, seed: int) -> Tensor:
    if total <= count:
        return torch.arange(total)
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]


def _batches_of(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the names in order, in batches whose bytes fit in `GRAM_BYTES`."""
    some: list[str] = []
    for name in names:
        if some and sum(sizes[other] for other in (*some, name)) > GRAM_BYTES:
            yield some
            some = []
        some.append(name)
    if some:
        yield some


def gram_of_divided(gram: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the Gram matrix of inputs divided, channel by channel, by a scale.

    Args:
        gram: (terms, terms) of the inputs.
        scale: (in,), positive.
        weight: (out, in, ...) of the layer: says which channel a term is of.
    """
    terms = over_inputs(scale, weight).expand_as(weight[:1]).reshape(-1)
    return gram / terms[:, None] / terms
