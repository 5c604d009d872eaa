"""The stress ladder: twins compute the same, and methods handle what they claim to, on tiny networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn

from admbench import methods
from admbench.bench.cli.app import main
from admbench.bench.conformance.tiny_models import TinyModel, tiny_audioldm, tiny_tango
from admbench.bench.models.twins import GAINS
from admbench.bench.studies.stress.climbing import TOLERANCE, Outcome, Row, climb, require_same
from admbench.bench.studies.stress.twins import DRIFT, HardLayer, hard_twin, hardened_layers
from admbench.errors import DataError
from admbench.leaderboard.stress import judged, read_stress
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import input_ranges
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.taxonomy import DIFFICULTIES, Difficulty

PROMPTS = [f"sound number {index}" for index in range(16)]
UNHEARD = ["a dog barks", "rain falls"]
QUICK = "prompts=2,timesteps=3,steps=6"


@pytest.fixture(params=[tiny_audioldm, tiny_tango], ids=["audioldm", "tango"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    made: Callable[[], TinyModel] = request.param
    return made()


@pytest.fixture
def calibration(model: TinyModel) -> CalibrationSet:
    drawn = methods.from_spec(f"naive@w8a8[{QUICK}]").calibrate(model, PROMPTS, seed=0)
    assert drawn is not None
    return drawn


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_twin_computes_the_same_and_leaves_the_model_as_it_is(
    difficulty: Difficulty, model: TinyModel, calibration: CalibrationSet
) -> None:
    before = copy.deepcopy(model.backbone.state_dict())
    twin = hard_twin(model, difficulty, calibration)
    for inputs in (calibration.take(torch.arange(5)).inputs, calibration.take(torch.tensor([3])).inputs):
        exact, made = model.call_backbone(inputs), twin.call_backbone(inputs)
        assert float((exact - made).abs().max() / exact.abs().max()) < TOLERANCE
    assert twin.weights_sha256 != model.weights_sha256
    after = model.backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def _hard(twin_backbone: nn.Module) -> dict[str, HardLayer]:
    return {name: layer for name, layer in twin_backbone.named_modules() if isinstance(layer, HardLayer)}


@torch.no_grad()
def test_outliers_are_where_they_are_said_to_be(model: TinyModel, calibration: CalibrationSet) -> None:
    layers = quantizable_layers(model.backbone)
    hard = _hard(hard_twin(model, "channel outliers", calibration).backbone)
    assert hard.keys() == hardened_layers(model, calibration)
    assert {layers[name].__class__.__name__ for name in hard} == {"Linear", "Conv2d"}
    for own in hard.values():
        assert own.gain is not None
        assert GAINS[0] <= float(own.gain.max()) <= GAINS[1]
        assert float(own.gain.median()) == 1
    for name, own in _hard(hard_twin(model, "heavy-tailed weights", calibration).backbone).items():
        columns = (own.layer.weight / layers[name].weight).transpose(0, 1).flatten(1).median(1).values
        assert GAINS[0] * 0.99 <= float(columns.max()) <= GAINS[1] * 1.01
        assert float(columns.median()) == 1


def test_shifted_inputs_are_of_one_sign(model: TinyModel, calibration: CalibrationSet) -> None:
    ranges = input_ranges(model, calibration, quantizable_layers(model.backbone))
    for name, own in _hard(hard_twin(model, "shifted inputs", calibration).backbone).items():
        assert own.shift is not None
        assert float(ranges[name].low + own.shift.min()) == pytest.approx(0, abs=1e-5)
        assert not any(getattr(own.layer, "padding", ()))


def test_ranges_drift_with_the_timestep(model: TinyModel, calibration: CalibrationSet) -> None:
    twin = hard_twin(model, "drifting ranges", calibration)
    inputs = calibration.take(calibration.conditional.nonzero().reshape(-1)[:1]).inputs
    first, last = torch.aminmax(calibration.inputs["timestep"])
    at = {end: {**inputs, "timestep": end[None]} for end in (first, last)}
    own = [_largest_inputs(model.backbone, lambda end=end: model.call_backbone(at[end])) for end in at]
    made = [_largest_inputs(twin.backbone, lambda end=end: twin.call_backbone(at[end])) for end in at]
    for name in _hard(twin.backbone):
        grown = [made[end][f"{name}.layer"] / own[end][name] for end in (0, 1)]
        assert grown == pytest.approx([1, DRIFT], rel=1e-3), name


def _largest_inputs(backbone: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """The largest number that each layer reads while something runs, by name."""
    seen: dict[str, float] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: float(args[0].abs().max())}))
        for name, layer in quantizable_layers(backbone).items()
    ]
    run()
    for hook in hooks:
        hook.remove()
    return seen


def test_what_is_no_twin_is_refused() -> None:
    exact = [torch.ones(2, 3)]
    require_same("channel outliers", exact, [torch.ones(2, 3) + 0.5e-4])
    with pytest.raises(DataError, match="drifting ranges is no twin"):
        require_same("drifting ranges", exact, [torch.ones(2, 3) + 2e-4])
    with pytest.raises(DataError, match="no twin"):
        require_same("drifting ranges", exact, [torch.full((2, 3), torch.nan)])


class _TransformerBlock(nn.Module):
    """Norm, two layers and a residual connection, with the timestep added in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.down(nn.functional.silu(self.up(self.norm(x) + time)))
        return x + out


class _Transformer(nn.Module):
    """A block over tokens, the least that a claim can be tried on."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(8, width), nn.Linear(width, 8)
        self.time = nn.Linear(1, width)
        self.blocks = nn.ModuleList([_TransformerBlock(width)])

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: None) -> Transformer2DModelOutput:
        x = self.proj_in(sample.flatten(2).transpose(1, 2))
        time = self.time(timestep.float().view(-1, 1, 1) / 1000)
        for block in self.blocks:
            x = block(x, time)
        return Transformer2DModelOutput(sample=self.proj_out(x).transpose(1, 2).view_as(sample))


@pytest.fixture
def transformer() -> TinyModel:
    torch.manual_seed(0)
    made = TinyModel("transformer", _Transformer(), lambda generator: {})
    made.default_steps = 6
    return made


CLAIMS = {
    f"naive@w8a8[{QUICK}]": {"shifted inputs"},
    f"smoothquant@w8a8[{QUICK}]": {"channel outliers"},
    f"vidit-q@w8a8[{QUICK}]": {"channel outliers", "drifting ranges"},
    f"sqd@w8a8[{QUICK}]": {"channel outliers", "drifting ranges"},
    f"sqd@w8a8[{QUICK},inputs=static]": {"channel outliers", "drifting ranges"},
    "convrot@w8a8": {"channel outliers", "drifting ranges"},
    f"svdquant@w8a8[{QUICK},rank=8,positions=128]": {"channel outliers", "heavy-tailed weights"},
    f"q-dit@w8a8[{QUICK},positions=128]": {"drifting ranges"},
    f"svdquant-gptq@w8a8[{QUICK},rank=8,positions=128]": {
        "channel outliers",
        "heavy-tailed weights",
        "drifting ranges",
    },
    f"dirotq@w8a8[{QUICK},positions=128]": {"channel outliers", "drifting ranges"},
    f"awq@w4a16[{QUICK}]": {"channel outliers"},
    "tfmq-dm@w8a8[iterations=0,samples=24,prompts=4,steps=6]": {"drifting ranges"},
    "efficientdm@w8a8[iterations=0,samples=24,prompts=4,steps=6]": {"drifting ranges"},
    "tcaq-dm@w8a8[iterations=0,samples=24,prompts=4,steps=6]": {"channel outliers"},
    f"mixup-prompt@w8a8[{QUICK}]": {"shifted inputs"},
}
"""Spec -> what it claims; all of it holds here."""
FAILING = {"hqq": {"heavy-tailed weights"}}
"""Method -> a claim of its own that fails on trained models; docs/stress.md says why."""


def test_every_claim_is_tried_or_known_to_fail() -> None:
    tried = {methods.from_spec(spec).spec.name: claims for spec, claims in CLAIMS.items()}
    claiming = {name: set(methods.registry.get(name).claims) for name in methods.BUILTIN if _is_here(name)}
    assert {name: claims for name, claims in claiming.items() if claims} == tried | FAILING


def _is_here(name: str) -> bool:
    return methods.registry.info(name).unavailable is None


@pytest.mark.parametrize("spec", CLAIMS)
def test_a_method_handles_what_it_claims(spec: str, transformer: TinyModel) -> None:
    claims = sorted(methods.from_spec(spec).claims)
    assert set(claims) == CLAIMS[spec]
    (row,) = climb(transformer, [spec], PROMPTS, UNHEARD, [1, 2], difficulties=claims)
    assert {name: own and own.holds for name, own in row.outcomes.items()} == dict.fromkeys(claims, True)


def test_rounding_to_nearest_loses_to_what_it_does_not_claim(transformer: TinyModel) -> None:
    inputs, weights = climb(transformer, [f"naive@w8a8[{QUICK}]", f"naive@w4a16[{QUICK}]"], PROMPTS, UNHEARD, [1, 2])
    assert {name: own and own.verdict for name, own in inputs.outcomes.items()} == {
        "channel outliers": "lost",
        "heavy-tailed weights": "lost",
        "drifting ranges": "lost",
        "shifted inputs": "undone",
    }
    assert weights.outcomes["drifting ranges"] is None
    shifted = weights.outcomes["shifted inputs"]
    assert shifted is not None
    assert shifted.lost > 1, "the constant meets the weights' error"


def test_a_claim_that_fails_is_seen() -> None:
    assert Outcome(10.0, 12.0, judged(10.0, 12.0), claimed=True).holds is False
    assert Outcome(5.0, 12.0, judged(5.0, 12.0), claimed=True).holds is True
    assert Outcome(10.0, 12.0, judged(10.0, 12.0), claimed=False).holds is None
    assert Outcome(0.1, 0.2, judged(0.1, 0.2), claimed=True).holds is None


@pytest.mark.parametrize("holds", [True, False])
def test_the_command_prints_what_is_lost_and_fails_with_a_claim(
    holds: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcomes: dict[Difficulty, Outcome | None] = dict.fromkeys(DIFFICULTIES)
    outcomes["channel outliers"] = Outcome(1.0 if holds else 20.0, 25.0, "undone" if holds else "lost", claimed=True)
    outcomes["shifted inputs"] = Outcome(0.2, 0.5, None, claimed=True)
    rows = [Row("smoothquant@w8a8", 30.0, outcomes)]
    monkeypatch.setattr("admbench.bench.studies.stress.climbing.climb", lambda *args: rows)
    file = tmp_path / "stress.json"
    code = main(["stress", "--model", "tiny-flow", "--methods", "smoothquant@w8a8", "--json", str(file), "--quiet"])
    out, err = capsys.readouterr()
    first = "1.0 undone, as claimed" if holds else "20.0 lost, NOT AS CLAIMED"
    assert out.splitlines() == [f"smoothquant@w8a8\t30.0\t{first}\t-\t-\t0.2, not hard"]
    assert code == (0 if holds else 1)
    assert ("smoothquant@w8a8 claims to handle channel outliers, and does not" in err) is not holds
    written = read_stress(file)
    assert (written.model, written.claims) == ("tiny-flow", [holds])
