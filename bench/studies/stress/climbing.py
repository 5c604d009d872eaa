"""Runs methods on a model and on its hard twins, and says of each what it loses and whether its claims hold.

What is judged is the backbone's prediction: its signal-to-noise ratio (SQNR) against full precision, on the same calls
of captions that no method saw, mean over samples and steps in dB. A twin computes what the model computes, so whatever
a method loses on it, it loses to the difficulty. Rounding to nearest at the same bits says how hard the twin is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from admbench import methods
from admbench.bench.models.quantization import calibration_prompt_count
from admbench.bench.studies.stress.twins import Twin, hard_twin
from admbench.errors import DataError
from admbench.leaderboard.stress import Verdict, judged
from admbench.methods.base import Method
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.metrics.latents import signal_to_noise_of_latents
from admbench.progress import track
from admbench.taxonomy import DIFFICULTIES, Difficulty

METHODS = (
    "naive@w8a8",
    "smoothquant@w8a8",
    "vidit-q@w8a8",
    "sqd@w8a8",
    "q-dit@w8a8",
    "convrot@w8a8",
    "svdquant@w8a8",
    "svdquant-gptq@w8a8",
    "dirotq@w8a8",
    "tfmq-dm@w8a8[iterations=0]",
    "naive@w4a16",
    "gptq@w4a16",
    "awq@w4a16",
    "hqq@w4a16",
    "nf4@w4a16",
    "qera@w4a16",
    "svdquant@w4a16",
)
"""Those of the ladder unless others are named."""
ROUNDING = "naive"
CAPTIONS, STEPS = 4, 4
"""Captions whose calls are judged, and steps of each of them, evenly spread."""
TOLERANCE = 1e-4
"""Largest difference of a twin's prediction from the model's, relative to the model's largest number."""
OF_INPUTS: frozenset[Difficulty] = frozenset({"drifting ranges"})
"""What is nothing to a method that rounds no inputs: a factor that is divided off again. A shift is not of these: its
constant meets the error of the weights, and the bias takes off what it meets in full precision."""


@dataclass(frozen=True)
class Outcome:
    """A method on one twin."""

    lost: float
    """SQNR on the model as it is less that on the twin, in dB."""
    hard: float | None
    """The same of rounding to nearest at the same bits; None of what that claims to handle itself."""
    verdict: Verdict | None
    """None where rounding to nearest loses nothing, so that there is nothing to handle."""
    claimed: bool
    """Whether the method claims to handle it."""

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None without one, or where it cannot be tried."""
        return None if self.verdict is None or not self.claimed else self.verdict != "lost"


@dataclass(frozen=True)
class Row:
    """A method on a model and its twins."""

    method: str
    """Spec."""
    untouched: float
    """SQNR on the model as it is, in dB."""
    outcomes: Mapping[Difficulty, Outcome | None]
    """By twin; None where the method rounds nothing that the twin makes hard."""


def climb(
    model: DenoisingModel,
    specs: Sequence[str],
    prompts: Sequence[str],
    unheard: Sequence[str],
    seeds: Sequence[int],
    *,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
) -> list[Row]:
    """Return what methods lose on the hard twins of a model, in the order of the specs.

    Args:
        model: in full precision; left as it is.
        specs: of methods that take bits; rounding to nearest runs beside them at the same bits.
        prompts: for calibration; each method takes as many as it is configured to.
        unheard: captions whose calls are judged.
        seeds: of their noise.
        difficulties: which twins.

    Raises:
        BenchError: a spec is not valid, the model cannot be made hard in that way, or a twin does not compute the same.
    """
    wanted = [MethodSpec.parse(spec) for spec in specs]
    asked = {str(spec): spec for spec in wanted}
    asked |= {str(spec): spec for spec in map(_rounding, wanted)}
    found = {name: methods.from_spec(spec) for name, spec in asked.items()}
    calls = _calls(model, unheard, seeds)
    drawing = _Drawing(model, prompts)
    twins = {name: hard_twin(model, name, drawing.any) for name in difficulties}
    exact = [model.call_backbone(inputs) for inputs in calls]
    for name, twin in twins.items():
        require_same(name, exact, [twin.call_backbone(inputs) for inputs in calls])
    ratios: dict[str, dict[Difficulty | None, float]] = {name: {} for name in found}
    places: list[tuple[Difficulty | None, Twin]] = [(None, Twin(model, model.backbone)), *twins.items()]
    work = [(spec, *place) for spec in found for place in places if _touched(found[spec], place[0])]
    for spec, difficulty, twin in track(work, "Climbing the stress ladder"):
        method = found[spec]
        quantized = method.quantize(twin, drawing.of(method, twin)).module
        ratios[spec][difficulty] = _ratio(exact, twin, quantized, calls)
    return [_row(found[str(spec)], ratios[str(spec)], ratios[str(_rounding(spec))], difficulties) for spec in wanted]


def require_same(difficulty: Difficulty, exact: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    """Raise DataError unless predictions of a twin are those of the model, up to `TOLERANCE`."""
    pairs = zip(exact, made, strict=True)
    apart = max(float((own - other).abs().max() / own.abs().max()) for own, other in pairs)
    if not apart <= TOLERANCE:
        raise DataError(f"the twin with {difficulty} is no twin: predictions differ by {apart:.1e} of the largest")


class _Drawing:
    """Calibration sets of a model, which are those of its twins as well: they compute the same."""

    def __init__(self, model: DenoisingModel, prompts: Sequence[str]) -> None:
        self._model, self._prompts = model, prompts
        self._sets: dict[str | None, CalibrationSet | None] = {}
        drawn = self._draw(methods.from_spec(f"{ROUNDING}@w8a8[prompts={CAPTIONS}]"))
        assert drawn is not None  # rounding inputs takes their ranges
        self.any = drawn
        """A small one: which layers run, what they read."""

    def of(self, method: Method, twin: Twin) -> CalibrationSet | None:
        """Return the set that a method asks for, as one of a twin."""
        drawn = self._draw(method)
        return None if drawn is None else drawn.readdressed(twin)

    def _draw(self, method: Method) -> CalibrationSet | None:
        prompts = self._prompts[: calibration_prompt_count(method)]
        key = method.calibration_key(self._model, prompts, seed=0)
        if key not in self._sets:
            self._sets[key] = method.calibrate(self._model, prompts, seed=0)
        return self._sets[key]


def _rounding(spec: MethodSpec) -> MethodSpec:
    weights, inputs = spec.bits
    return MethodSpec.parse(f"{ROUNDING}@w{weights}a{inputs}")


def _touched(method: Method, difficulty: Difficulty | None) -> bool:
    return difficulty not in OF_INPUTS or method.spec.bits[1] != 16


def _calls(model: DenoisingModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Tensor]]:
    """Return some of the calls of the backbone on the way from the noise of some seeds."""
    steps = model.default_steps
    chosen = {round(place) for place in torch.linspace(0, steps - 1, min(STEPS, steps)).tolist()}
    taken = model.trajectories(
        prompts, seeds=seeds, steps=steps, guidance=model.default_guidance, batch_size=len(prompts)
    )
    return [call.inputs for call in taken if call.step in chosen]


def _ratio(exact: Sequence[Tensor], twin: Twin, quantized: nn.Module, calls: Sequence[dict[str, Tensor]]) -> float:
    """Return the mean SQNR of a twin's predictions with a quantized backbone, in dB."""
    own, twin.backbone = twin.backbone, quantized
    try:
        made = [twin.call_backbone(inputs) for inputs in calls]
    finally:
        twin.backbone = own
    parts = [
        signal_to_noise_of_latents(one.cpu().numpy(), other.cpu().numpy())
        for one, other in zip(exact, made, strict=True)
    ]
    return float(sum(part.mean() for part in parts) / len(parts))


def _row(
    method: Method,
    own: Mapping[Difficulty | None, float],
    rounding: Mapping[Difficulty | None, float],
    difficulties: Sequence[Difficulty],
) -> Row:
    outcomes: dict[Difficulty, Outcome | None] = {}
    rounding_claims = methods.registry.get(ROUNDING).claims
    for name in difficulties:
        if name not in own:
            outcomes[name] = None
            continue
        lost = own[None] - own[name]
        hard = None if name in rounding_claims else rounding[None] - rounding[name]
        outcomes[name] = Outcome(lost, hard, judged(lost, hard), name in method.claims)
    return Row(str(method.spec), own[None], outcomes)
