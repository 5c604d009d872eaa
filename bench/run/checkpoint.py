"""The packed checkpoint of a model and a method, and what its record needs to know of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench import methods
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.measurement.size import component_bytes
from admbench.bench.models.components import Component
from admbench.bench.models.quantization import BACKBONE, DrawnSet, quantize_components, save_components
from admbench.bench.run.stages import Facts
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.spec import MethodSpec

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel
    from admbench.methods.base import Method

STAGE = "checkpoint"
"""Stage that builds it."""


def write_checkpoint(
    model: AudioDiffusionModel,
    spec: str,
    folder: Path,
    *,
    components: Sequence[str] = (BACKBONE,),
    seed: int,
    draw: int = 0,
    drawn: Mapping[Component, DrawnSet] | None = None,
) -> Facts:
    """Quantize a model, write the packed checkpoint, and return what a record says of it.

    Arguments are those of `quantize_components`, which says what is raised, too; `folder` is the checkpoint's.
    """
    started = time.perf_counter()
    quantized = quantize_components(model, spec, components, seed=seed, draw=draw, drawn=drawn)
    networks = {name: one.network for name, one in quantized.items()}
    save_components(networks, folder)
    first, calibration = next(iter(quantized.values()))
    return {
        "model": {
            "name": model.name,
            "source": model.source,
            "revision": model.revision,
            "weights_sha256": model.weights_sha256,
            "license": model.license,
            "parameters": model.parameters,
            "random_weights": model.random_weights,
        },
        "method": {
            **_kind_of_method(spec),
            "version": first.method.version,
            "config": first.method.config,
            "preset": first.method.config.get("preset"),
            "components": list(networks),
            "simulated": any(network.report.simulated for network in networks.values()),
            "layers": [layer for name, network in networks.items() for layer in _layers(name, network)],
            "seconds": round(sum(network.report.seconds for network in networks.values()), 3),
        },
        "blocks": {name: network.report.blocks_as_json() for name, network in networks.items()},
        "parameters": sum(network.report.parameters for network in networks.values()),
        "nominal_bits_per_weight": _mean_over_weights(networks, "nominal_bits_per_weight"),
        "quantized_fraction": _mean_over_weights(networks, "quantized_fraction"),
        "components": component_bytes(model),
        "calibration": calibration.summary() if calibration is not None else None,
        "peak_bytes": peak_resident_bytes(),
        "seconds": time.perf_counter() - started,
    }


def _kind_of_method(spec: str) -> dict[str, Any]:
    """Return what a method's class says: what kind of method it is, and what it is from."""
    method: type[Method] = methods.registry.get(MethodSpec.parse(spec).name)
    return {
        "track": method.track,
        "family": method.family,
        "paper": None if method.paper is None else asdict(method.paper),
    }


def _layers(component: str, network: QuantizedBackbone) -> list[dict[str, Any]]:
    """Return the report on each layer; of another component than the backbone, named with it."""
    prefix = "" if component == BACKBONE else f"{component}/"
    return [layer | {"name": prefix + layer["name"]} for layer in network.report.layers_as_json()]


def _mean_over_weights(networks: Mapping[Component, QuantizedBackbone], name: str) -> float:
    """Return the mean of a number of the reports, in which every weight counts the same."""
    reports = [network.report for network in networks.values()]
    return float(sum(getattr(one, name) * one.parameters for one in reports) / sum(one.parameters for one in reports))
