"""Methods on the tiny random models that the conformance suite checks them with: AudioLDM's U-Net and TANGO's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from admbench import methods
from admbench.bench.conformance.tiny_models import TinyModel, tiny_audioldm, tiny_tango
from admbench.methods.base import CalibratedConfig
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader

from .everything import quantize_everything


@pytest.fixture(params=[tiny_audioldm, tiny_tango], ids=["audioldm", "tango"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    return request.param()


@pytest.fixture(scope="session")
def make_audioldm() -> Callable[[], TinyModel]:
    return tiny_audioldm


@pytest.fixture(scope="session")
def make_tango() -> Callable[[], TinyModel]:
    return tiny_tango


@pytest.fixture
def audioldm(make_audioldm: Callable[[], TinyModel]) -> TinyModel:
    return make_audioldm()


@pytest.fixture
def other_audioldm() -> TinyModel:
    """Return a model of the same architecture as `audioldm`, with other weights."""
    return tiny_audioldm(seed=1)


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    return [f"sound number {index}" for index in range(20)]


@pytest.fixture(scope="session")
def quantize(prompts: list[str]) -> Callable[[TinyModel, str], QuantizedBackbone]:
    """Return a function that runs a method from its spec, on a calibration of two prompts and two steps."""

    def run(model: TinyModel, spec: str) -> QuantizedBackbone:
        method = methods.from_spec(spec)
        if isinstance(method.config, CalibratedConfig):
            quick = {"prompts": "2", "timesteps": "2", "steps": "2"}
            method = methods.from_spec(replace(method.spec, options={**quick, **method.spec.options}))
        return method.quantize(model, method.calibrate(model, prompts, seed=0))

    return run


@pytest.fixture
def predict() -> Callable[[TinyModel, nn.Module | None], Tensor]:
    """Return a function that runs a backbone (default: the model's own) on four new prompts with guidance."""

    def run(model: TinyModel, backbone: nn.Module | None = None) -> Tensor:
        names = [f"unheard {index}" for index in range(4)]
        call = next(model.trajectories(names, seeds=[70, 71, 72, 73], steps=2, guidance=3.0, batch_size=4))
        own, model.backbone = model.backbone, backbone or model.backbone
        try:
            with torch.no_grad():
                return model.call_backbone(call.inputs)
        finally:
            model.backbone = own

    return run


@pytest.fixture
def everything(audioldm: TinyModel) -> tuple[nn.Module, MethodHeader, SourceHeader]:
    """Return a backbone with all that a checkpoint can hold, and headers to pack it with."""
    method = MethodHeader(name="test", spec="test@w4a8", version="1", config={})
    source = SourceHeader(model=audioldm.name, weights_sha256=audioldm.weights_sha256, license=audioldm.license)
    return quantize_everything(audioldm.backbone), method, source
