"""What bridges to other packages share: the bits they take, what they say where the package is missing, the result."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn

from admbench.errors import CheckpointError, PluginError, UsageError
from admbench.methods.base import Method
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader
from admbench.methods.core.checkpoint.third_party import ThirdPartyFormat, guard, mark, refusals
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.third_party import ThirdPartyBackbone, third_party_report
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.registry import missing_distributions


class Bridge(Method):
    """A method whose work another package does. Subclass, set the class attributes, write `apply`.

    Raises:
        UsageError: the spec has bits that the package does not do, or an option that is not possible.
    """

    takes: ClassVar[tuple[str, ...]]
    """The bits that the package does, such as `w8a16`."""

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        weight, activation = spec.bits
        if f"w{weight}a{activation}" not in self.takes:
            possible = " or ".join(f"{spec.name}@{bits}" for bits in self.takes)
            raise UsageError(f'method "{spec}": the package does not do w{weight}a{activation}; expected {possible}')

    @abstractmethod
    def form(self) -> ThirdPartyFormat:
        """Return how the result is stored."""

    @abstractmethod
    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """Let the package quantize.

        Args:
            backbone: a copy of the model's, to change or replace.
            model: gives `call_backbone`; its own backbone is in full precision.
            calibration: what `calibrate` returned, checked.
        """

    def simulates(self, backbone: nn.Module) -> bool:
        """Return whether the package rounds some layer's input and then multiplies in floating point."""
        return False

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`.

        Raises:
            PluginError: the package is not installed.
            UsageError: it quantizes no layer, or this CPU would multiply some layer's integers wrongly.
        """
        if missing := missing_distributions(self.requires):
            raise PluginError(f'method "{self.spec}" {missing}')
        started = time.perf_counter()
        self._check_weights(model.backbone)
        module = self.apply(copy.deepcopy(model.backbone), model, self.check_calibration(model, calibration))
        form = self.form()
        layers, seconds = form.describe(module), time.perf_counter() - started
        if not layers:
            raise UsageError(f'method "{self.spec}": {form.package} quantizes no layer of {model.name}')
        on_cpu = next(model.backbone.parameters()).device.type == "cpu"
        if on_cpu and (wrong := refusals(module, form)):  # what was calibrated with such products is no good elsewhere
            name = next(iter(wrong))
            raise UsageError(f'method "{self.spec}": layer {name}: {wrong[name]}')
        return ThirdPartyBackbone(
            module=guard(mark(module, layers), form),
            report=third_party_report(model.backbone, module, form, seconds, simulated=self.simulates(module)),
            method=MethodHeader(
                name=self.name, spec=str(self.spec), version=self.version, config=self.config.model_dump(mode="json")
            ),
            source=SourceHeader(model=model.name, weights_sha256=model.weights_sha256, license=model.license),
            format=form,
        )

    @staticmethod
    def _check_weights(backbone: nn.Module) -> None:
        for name, layer in quantizable_layers(backbone).items():
            if not bool(torch.isfinite(layer.weight).all()):
                raise CheckpointError(f"layer {name}: its weight holds NaN or infinity")
