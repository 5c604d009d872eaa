"""What a method is: a class whose instances hold only configuration and make a quantized backbone of a model's."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import nn

from admbench.errors import UsageError, nearest
from admbench.methods.core.backbone import QuantizedBackbone, make_report
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe, parse_calibration
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader
from admbench.methods.core.reconstruction.objective import BlockReport
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.taxonomy import Difficulty, Family, Paper, Track

QUICK_STEPS = 50
"""Most denoising steps of a trajectory of preset `quick` where `steps` was not typed: a model that is sampled in 200
would spend its minutes on calibration. Fewer steps visit the same noise levels, further apart."""


class MethodConfig(BaseModel):
    """Options that every method takes. A method adds its own, with defaults, and what its presets change.

    Methods that need no calibration accept `calibration` too, so that one option can go to a whole row of a grid.

    >>> class RoundingConfig(CalibratedConfig):
    ...     presets = {"paper": {"iterations": 20_000}}
    ...
    ...     iterations: int = Field(200, ge=0)
    >>> RoundingConfig(preset="paper").iterations, RoundingConfig(preset="paper").prompts
    (20000, 128)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Preset -> options that it sets beyond those, or other than those, of the base classes' presets of that name.

    An option that is typed wins over the preset."""

    preset: Literal["quick", "paper"] = "quick"
    """`quick`: minutes on two cores. `paper`: the effort that was published."""
    calibration: str = "uniform"
    """How calibration data is drawn: `SAMPLER`, `PROMPTS` or `PROMPTS+SAMPLER`; see `parse_calibration`."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        preset = values.get("preset", "quick")
        of_class = [vars(kind)["presets"] for kind in reversed(cls.__mro__) if "presets" in vars(kind)]
        return {key: value for presets in of_class for key, value in presets.get(preset, {}).items()} | values

    @field_validator("calibration")
    @classmethod
    def _check_calibration(cls, name: str) -> str:
        parse_calibration(name)
        return name


class CalibratedConfig(MethodConfig):
    """Options of methods that draw a calibration set."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"prompts": 16, "timesteps": 5},
        "paper": {"prompts": 128, "timesteps": 25},
    }

    prompts: int = Field(16, ge=1, le=100_000)
    """Calibration prompts."""
    timesteps: int = Field(5, ge=1, le=1000)
    """Steps recorded of each prompt's trajectory; all of them where it has fewer and the number was not typed."""
    steps: int | None = Field(None, ge=1, le=1000)
    """Denoising steps of a trajectory; None: the model's own default, of preset `quick` at most `QUICK_STEPS`."""
    guidance: float | None = Field(None, ge=0, le=100)
    """Classifier-free guidance scale of a trajectory; None: the model's own default."""

    @property
    def request(self) -> CalibrationRequest:
        """How to draw the calibration set of any model."""
        source, sampler = parse_calibration(self.calibration)
        return CalibrationRequest(
            sampler=sampler,
            prompt_source=source,
            prompts=self.prompts,
            timesteps=self.timesteps,
            steps=self.steps,
            most_steps=QUICK_STEPS if self.preset == "quick" else None,
            guidance=self.guidance,
        )

    def recipe_for(self, model: DenoisingModel) -> CalibrationRecipe:
        """Return how to draw the calibration set of a model."""
        return CalibrationRecipe.of(self.request, model)


class Method(ABC):
    """A quantization method. Subclass, set the class attributes, write `quantize`; override more if the paper does.

    >>> from admbench.bench.conformance.tiny_models import tiny_tango
    >>> from admbench.methods.core.layers.policy import quantize_layers, uniform_policy
    >>> from admbench.methods.core.numbers.quantizer import Quantizer
    >>> class NearestWeights(Method):
    ...     name, summary, version = "nearest-weights", "weights to the nearest of 2**bits values", "1"
    ...     track, family, paper = "post-training", "rounding", None
    ...
    ...     def quantize(self, model, calibration):
    ...         started, policy = time.perf_counter(), uniform_policy(self.spec.bits[0], 16, ends=())
    ...         module = quantize_layers(
    ...             model.backbone, policy, fit_weight=Quantizer.min_max, fit_activation=lambda scheme, layer: None
    ...         )
    ...         return self.result(model, module, started)
    >>> quantized = NearestWeights(MethodSpec.parse("nearest-weights@w4a16")).quantize(tiny_tango(), None)
    >>> {layer.weight_bits for layer in quantized.report.layers}
    {4}

    Args:
        spec: parsed spec; its bits and options are checked here.

    Raises:
        UsageError: bits are missing or not wanted, or an option is unknown or has a value that is not possible.
    """

    name: ClassVar[str]
    """Registry name."""
    summary: ClassVar[str]
    """One line for lists; a literal, since it is read without importing."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Distributions that must be installed beyond the package's own; a literal."""
    version: ClassVar[str]
    """Changes whenever the method's result does."""
    track: ClassVar[Track]
    """Whether it is post-training quantization; a literal, declared by the class itself."""
    family: ClassVar[Family]
    """What it does to weights, the main thing of several; a literal, declared by the class itself."""
    paper: ClassVar[Paper | None]
    """What it is from; None where there is nothing to cite, as of rounding to nearest."""
    claims: ClassVar[frozenset[Difficulty]] = frozenset()
    """What it is to handle where rounding to nearest does not: `bench stress` tries it."""
    takes_bits: ClassVar[bool] = True
    """Whether a spec names bits."""
    takes_formats: ClassVar[bool] = False
    """Whether a spec may name a number format, such as `mxfp4`, in place of bits: the method reads `spec.sides`."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    """Options."""

    def __init__(self, spec: MethodSpec) -> None:
        self.spec = spec
        if self.takes_bits:
            _ = spec.bits
        elif spec.weight_bits is not None:
            raise UsageError(f'method "{spec}": {spec.name} takes no bits')
        if spec.formats and not self.takes_formats:
            raise UsageError(
                f'method "{spec}": {spec.name} takes no number format such as {spec.formats[0]}: expected bits,'
                f" such as {spec.name}@w4a16"
            )
        try:
            self.config = self.Config.model_validate(dict(spec.options))
        except ValidationError as error:
            raise _option_error(spec, self.Config, error) from error
        except UsageError as error:
            raise UsageError(f'method "{spec}": {error}') from error

    @property
    def varies(self) -> bool:
        """Whether other calibration data may give another result, so that one draw does not say how good it is.

        What is random in `quantize` takes the calibration set's seed, so a method without a set has nothing random.
        """
        return type(self).calibrate is not Method.calibrate

    @property
    def calibration_request(self) -> CalibrationRequest | None:
        """What `calibrate` draws of any model, as data; None where it draws nothing or does it in a way of its own.

        A run draws what is asked for here once for all methods that ask alike, in a process without any of them. A
        method that is given no such set is asked to `calibrate`, and what it draws is its own.
        """
        return None

    def calibration_key(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> str | None:
        """Return the content address of what `calibrate` would return, 64 hex digits; None where it returns None.

        Equal keys are equal sets, whatever the method and its bits: a set that was drawn for `calibration_request` is
        taken only where its key is this one.
        """
        return None

    def calibrate(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> CalibrationSet | None:
        """Draw the data that `quantize` needs; None if it needs none.

        Args:
            model: in full precision.
            prompts: calibration prompts, of which the method takes as many as it is configured to.
            seed: with the prompts and the configuration, determines the set.

        Raises:
            UsageError: there are too few prompts.
        """
        return None

    @abstractmethod
    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """Return the model's backbone, quantized. The model is left as it is; set its `backbone` to use the result.

        Args:
            model: in full precision.
            calibration: what `calibrate` returned, for this very model.

        Raises:
            UsageError: the calibration set is missing, or drawn from other weights.
            CheckpointError: a weight is not finite; names the layer.
            DataError: an activation is not finite on the calibration set; names the layer.
        """

    def check_calibration(self, model: DenoisingModel, calibration: CalibrationSet | None) -> CalibrationSet | None:
        """Return the calibration set where one is needed and this one fits the model; None where none is needed.

        `quantize` calls it first.

        Raises:
            UsageError: the calibration set is missing, or drawn from other weights.
        """
        return None

    def _settings(self, model: DenoisingModel) -> dict[str, Any]:
        """Return the configuration as a checkpoint and a record state it, all defaults filled in."""
        return self.config.model_dump(mode="json")

    def result(
        self,
        model: DenoisingModel,
        module: nn.Module,
        started: float,
        *,
        original: nn.Module | None = None,
        blocks: Sequence[BlockReport] = (),
    ) -> QuantizedBackbone:
        """Return what `quantize` returns: the quantized backbone with its report and where it came from.

        Args:
            model: in full precision.
            module: its backbone, quantized.
            started: `time.perf_counter()` from before quantization.
            original: what the quantized layers are compared with, if layers were split: the backbone, split likewise.
            blocks: what reconstruction did.
        """
        return QuantizedBackbone(
            module=module.eval(),
            report=make_report(original or model.backbone, module, time.perf_counter() - started, blocks),
            method=MethodHeader(
                name=self.name, spec=str(self.spec), version=self.version, config=self._settings(model)
            ),
            source=SourceHeader(model=model.name, weights_sha256=model.weights_sha256, license=model.license),
        )


class CalibratedMethod(Method):
    """A method that draws a calibration set by its configuration's recipe.

    >>> from admbench.bench.conformance.tiny_models import tiny_tango
    >>> from admbench.methods.naive import Naive
    >>> method, model = Naive(MethodSpec.parse("naive@w4a8[prompts=2,timesteps=3,steps=6]")), tiny_tango()
    >>> calibration = method.calibrate(model, ["a dog barks", "rain falls"], seed=0)
    >>> len(calibration)  # 2 prompts, 3 steps of each, both halves of guidance
    12
    >>> len(method.quantize(model, calibration).report.unquantized)
    0
    """

    Config: ClassVar[type[CalibratedConfig]] = CalibratedConfig
    config: CalibratedConfig

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        if self.config.steps is not None:
            self._check_timesteps(self.config.steps)

    @property
    def varies(self) -> bool:
        """See `Method`: unless both sides are left as they are."""
        return self.spec.bits != (16, 16)

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Return whether these bits need calibration data of this model: unless both sides are left as they are."""
        return self.spec.bits != (16, 16)

    @property
    def calibration_request(self) -> CalibrationRequest | None:
        """See `Method`: a method that overrides `calibrate` draws for itself, as may one whose bits vary nothing."""
        own = type(self).calibrate is CalibratedMethod.calibrate
        return self.config.request if own and self.varies else None

    def calibration_key(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> str | None:
        """See `Method`."""
        return self._recipe(model).key(model, prompts, seed=seed) if self.needs_calibration(model) else None

    def calibrate(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> CalibrationSet | None:
        """See `Method`."""
        return self._recipe(model).draw(model, prompts, seed=seed) if self.needs_calibration(model) else None

    def _recipe(self, model: DenoisingModel) -> CalibrationRecipe:
        recipe = self.config.recipe_for(model)
        cut = recipe.steps < model.default_steps
        whose = f"which preset quick takes of the {model.default_steps}" if cut else "the default"
        self._check_timesteps(recipe.steps, f", {whose} of {model.name}")
        return recipe

    def _check_timesteps(self, steps: int, whose: str = "") -> None:
        """Raise UsageError if more timesteps are typed than a trajectory has steps; a preset's are cut to them."""
        if "timesteps" in self.spec.options and self.config.timesteps > steps:
            raise UsageError(
                f'method "{self.spec}": timesteps={self.config.timesteps} cannot be recorded of steps={steps}{whose}'
            )

    def _settings(self, model: DenoisingModel) -> dict[str, Any]:
        """See `Method`; with the trajectory's settings in place of the model's defaults."""
        recipe = self.config.recipe_for(model)
        chosen = {"timesteps": recipe.timesteps, "steps": recipe.steps, "guidance": recipe.guidance}
        return super()._settings(model) | chosen

    def check_calibration(self, model: DenoisingModel, calibration: CalibrationSet | None) -> CalibrationSet | None:
        """See `Method`."""
        if not self.needs_calibration(model):
            return None
        if calibration is None:
            raise UsageError(f'method "{self.spec}" needs a calibration set of {model.name}')
        calibration.check_model(model)
        return calibration


def _option_error(spec: MethodSpec, config: type[MethodConfig], error: ValidationError) -> UsageError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    options = list(config.model_fields)
    if first["type"] == "extra_forbidden":
        return UsageError(
            f'method "{spec}": unknown option "{key}".{nearest(key, options)} Options: {", ".join(options)}'
        )
    where = f'option {key}, "{first["input"]}": ' if key else ""
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f'method "{spec}": {where}{message[0].lower()}{message[1:]}')
