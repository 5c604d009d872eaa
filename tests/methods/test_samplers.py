"""Samplers: equal budgets, whole pairs, and each one's choice where the right choice is known."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from admbench.errors import DataError, UsageError
from admbench.methods.core.calibration.calibration_set import CalibrationSet, stack_calls
from admbench.methods.core.calibration.row_buffer import RowBuffer
from admbench.methods.core.calibration.samplers import SAMPLERS
from admbench.methods.core.calibration.samplers.activation_aware import coverage, reach
from admbench.methods.core.calibration.samplers.covercal import REACH, channel_reach, cover, outliers
from admbench.methods.core.calibration.samplers.drawing import Drawing, deal
from admbench.methods.core.calibration.samplers.observing import observe
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe
from admbench.methods.core.calibration.samplers.tdac import allot, density_and_variety, middle_block
from admbench.methods.core.calibration.submodular import FacilityLocation, Reach, WeightedSum, greedy
from admbench.methods.core.layers.kinds import quantizable_layers

RECIPE = CalibrationRecipe("uniform", prompts=6, timesteps=2, steps=5, guidance=3.0)


def recipe(sampler, **changes):
    return replace(RECIPE, sampler=sampler, **changes)


def pairs_of(drawn):
    return list(
        zip(drawn.prompt_index[drawn.conditional].tolist(), drawn.step[drawn.conditional].tolist(), strict=True)
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_budget_and_both_halves_are_the_same_whatever_the_sampler(self, sampler, model, prompts):
        drawn = recipe(sampler).draw(model, prompts, seed=0)
        assert len(drawn) == 2 * 6 * 2
        halves = [
            (drawn.prompt_index[half].tolist(), drawn.step[half].tolist())
            for half in (drawn.conditional, ~drawn.conditional)
        ]
        assert halves[0] == halves[1]
        assert drawn.recipe["sampler"] == sampler

    def test_every_sample_is_of_the_trajectory_at_its_step(self, sampler, audioldm, prompts):
        drawn = recipe(sampler).draw(audioldm, prompts, seed=0)
        whole = recipe("uniform", timesteps=5).draw(audioldm, prompts, seed=0)
        for row in range(len(drawn)):
            same = (whole.step == drawn.step[row]) & (whole.prompt_index == drawn.prompt_index[row])
            (match,) = torch.nonzero(same & (whole.conditional == drawn.conditional[row]))
            assert drawn.timestep[row] == whole.timestep[match]
            assert all(torch.equal(drawn.inputs[name][row], whole.inputs[name][match[0]]) for name in whole.inputs)

    def test_the_seed_determines_the_set(self, sampler, audioldm, prompts):
        first, again = (recipe(sampler).draw(audioldm, prompts, seed=3) for _ in range(2))
        assert all(torch.equal(first.inputs[name], again.inputs[name]) for name in first.inputs)
        assert first.measured == again.measured

    def test_it_leaves_the_model_as_it_is(self, sampler, audioldm, prompts, predict):
        before = predict(audioldm)
        recipe(sampler).draw(audioldm, prompts, seed=0)
        assert torch.equal(predict(audioldm), before)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in audioldm.backbone.modules())

    def test_a_network_without_steps_has_all_its_calls_recorded(self, sampler, audioldm, prompts):
        drawn = recipe(sampler).draw(OneCall(audioldm), prompts, seed=0)
        assert len(drawn) == 2 * 6
        assert set(drawn.step.tolist()) == {0}


class OneCall:
    """A decoder or text encoder as a method sees it: all its calls are of one step."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def trajectories(self, prompts, **settings):
        calls = self._model.trajectories(prompts, **{**settings, "batch_size": 3})
        return iter([replace(call, timestep=0) for call in calls if call.step == 0])


def test_keys_tell_samplers_apart(audioldm, prompts):
    assert len({recipe(name).key(audioldm, prompts, seed=0) for name in SAMPLERS}) == len(SAMPLERS)


# per-step


def test_per_step_records_every_step_equally_often_and_every_prompt_too(audioldm, prompts):
    drawn = recipe("per-step", prompts=10, timesteps=3, steps=6).draw(audioldm, prompts, seed=0)
    assert drawn.step.bincount().tolist() == [2 * 5] * 6
    assert drawn.prompt_index.bincount().tolist() == [2 * 3] * 10
    assert len(set(pairs_of(drawn))) == 30
    uneven = recipe("per-step", prompts=4, timesteps=2).draw(audioldm, prompts, seed=0)
    assert sorted(uneven.step.bincount().tolist()) == [2, 2, 4, 4, 4]


def test_per_step_needs_a_sample_of_each_step(audioldm, prompts):
    with pytest.raises(UsageError, match="5 steps: prompts=2 times timesteps=2 are 4"):
        recipe("per-step", prompts=2).draw(audioldm, prompts, seed=0)


@pytest.mark.parametrize("per_step", [[3, 3, 3, 3], [12, 0, 0, 0], [7, 1, 1, 3], [1, 4, 4, 3]])
def test_dealing_gives_each_prompt_as_many_samples_and_repeats_none_needlessly(per_step):
    counts = deal(np.array(per_step), 4, np.random.default_rng(0))
    assert counts.sum(0).tolist() == per_step
    assert counts.sum(1).tolist() == [3] * 4
    assert all(counts[:, step].max() == -(-count // 4) for step, count in enumerate(per_step))


# tdac


def test_steps_that_are_alike_are_dense_and_one_that_is_unlike_the_others_adds_variety():
    """Four steps show one feature, a fifth another one at a right angle."""
    alike, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    features = torch.stack([alike] * 4 + [other])[:, None]
    # density: 4, 4, 4, 4, 1, scaled 1, 1, 1, 1, 0; variety: 1, 1, 1, 1, 4, scaled 0, 0, 0, 0, 1; lambda = 5
    assert density_and_variety(features) == pytest.approx([1, 1, 1, 1, 5])
    assert allot(18, density_and_variety(features)).tolist() == [2, 2, 2, 2, 10]


def test_the_scale_of_features_does_not_matter():
    features = torch.randn(6, 3, 20)
    assert density_and_variety(1024 * features) == pytest.approx(density_and_variety(features))


def test_an_allotment_adds_up_and_remainders_go_to_the_largest():
    assert allot(10, np.array([1.0, 1.0, 1.0])).sum() == 10
    assert allot(5, np.array([1.0, 0.0, 2.0])).tolist() == [2, 0, 3]
    assert allot(6, np.zeros(3)).tolist() == [2, 2, 2]


def test_the_middle_of_a_unet_is_its_middle_block(model, prompts):
    call = next(model.trajectories(prompts[:1], seeds=[0], steps=1, guidance=1.0, batch_size=1))
    assert middle_block(model, call.inputs).name.startswith("mid_block.")


def test_the_middle_of_a_stack_of_layers_is_the_middle_layer():
    stack = nn.Sequential(*(nn.Linear(3, 3) for _ in range(5)))

    class Stack:
        backbone = stack

        def call_backbone(self, inputs):
            return self.backbone(inputs["x"])

    assert middle_block(Stack(), {"x": torch.randn(1, 3)}).name == "2"


# activation-aware


def numbers_of(pairs, layers, seed=0):
    """Numbers such as `reach` returns: -low, -inner low, inner high, high, the inner ones less far out."""
    rng = np.random.default_rng(seed)
    outer = rng.normal(2, 1, (pairs, layers, 2))
    inner = outer - rng.random((pairs, layers, 2))
    return np.stack([outer[..., 0], inner[..., 0], inner[..., 1], outer[..., 1]], -1).astype(np.float32)


def value(numbers, chosen):
    terms = coverage(numbers, np.random.default_rng(0))
    for pair in chosen:
        for term in terms:
            term.add(pair)
    return [term.value for term in terms]


def test_reach_is_how_far_each_row_goes_to_either_side():
    rows = torch.stack([torch.linspace(-1, 3, 100), torch.linspace(2, 4, 100)]).reshape(2, 4, 25)
    found = reach(nn.Identity(), rows)
    assert found[:, [0, 3]].tolist() == [[1.0, 3.0], [-2.0, 4.0]]
    step = 4 / 99
    assert found[0, [1, 2]].tolist() == pytest.approx([1 - 2 * step, 3 - 2 * step], abs=1e-5)


def test_coverage_of_ranges_is_the_share_of_the_whole_range_that_is_spanned():
    """One layer: a pair that reaches from -1 to 1, and one from 0 to 3; the whole range is -1..3."""
    numbers = np.array([[[1, 1, 1, 1]], [[0, 0, 3, 3]]], dtype=np.float32)
    assert value(numbers, [0])[0] == pytest.approx(2 / 4)
    assert value(numbers, [1])[0] == pytest.approx(3 / 4)
    assert value(numbers, [0, 1]) == pytest.approx([1, 1])


def test_drift_is_covered_by_a_pair_near_every_pair():
    """Six pairs in two states: two that stand for both cover it, two of one state leave the other at distance 1."""
    numbers = np.repeat(np.array([[[1, 1, 1, 1]], [[1, 0.5, 0.5, 1]]], dtype=np.float32), 3, axis=0)
    assert value(numbers, [0, 3])[1] == pytest.approx(1)
    assert value(numbers, [0, 1])[1] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(8))
def test_the_greedy_choice_is_near_the_best_one_and_all_pairs_cover_everything(seed):
    numbers = numbers_of(9, 4, seed)
    terms = coverage(numbers, np.random.default_rng(0))
    chosen = greedy(WeightedSum([(0.5, term) for term in terms]), range(9), 3)
    best = max(sum(value(numbers, some)) for some in combinations(range(9), 3))
    assert (1 - 1 / np.e) * best <= sum(value(numbers, chosen)) <= best + 1e-9
    assert value(numbers, range(9)) == pytest.approx([1, 1])


def test_it_covers_ranges_and_drift_at_least_as_well_as_uniform_steps(model, prompts):
    drawing = Drawing(model, tuple(prompts[:6]), 0, 2, 5, 3.0, {})
    seen = observe(drawing, quantizable_layers(model.backbone), reach)
    numbers = torch.stack(list(seen.measured.values()), 1).numpy()

    def covered(drawn):
        chosen = [np.flatnonzero((seen.prompt == prompt) & (seen.step == step))[0] for prompt, step in pairs_of(drawn)]
        return value(numbers, chosen)

    uniform, aware = (recipe(name).draw(model, prompts, seed=0) for name in ("uniform", "activation-aware"))
    assert covered(aware) == pytest.approx([aware.measured["range_coverage"], aware.measured["drift_coverage"]])
    assert sum(covered(aware)) >= sum(covered(uniform))
    assert aware.summary()["measured"] == aware.measured


# covercal


def test_the_largest_activation_of_a_channel_is_over_its_positions():
    values = torch.randn(2, 3, 4, 5)
    assert torch.equal(channel_reach(nn.Conv2d(3, 3, 1), values), values.abs().amax((2, 3)))
    tokens = torch.randn(2, 6, 7)
    assert torch.equal(channel_reach(nn.Linear(7, 1), tokens), tokens.abs().amax(1))


def test_outliers_are_the_channels_far_beyond_their_layers_median_and_its_largest():
    quiet, loud = (
        torch.tensor([[1.0, 1.0, 1.0, 10.0], [1.0, 1.0, 1.0, 5.0]]),
        torch.tensor([[1.0, 2.0, 2.0], [1.0, 2.0, 1.0]]),
    )
    has, weights = outliers({"quiet": quiet, "loud": loud, "silent": torch.zeros(2, 3)})
    assert weights.tolist() == [10, 1, 1]
    assert has.tolist() == [[True, True, True], [False, True, False]]
    with pytest.raises(DataError, match="inputs of all layers are zero"):
        outliers({"silent": torch.zeros(2, 3)})


def test_a_cover_is_begun_again_when_everything_is_covered():
    has = np.array([[True, True, False], [False, False, True], [False, True, False], [True, False, True]])
    chosen, first = cover(has, np.array([5.0, 1.0, 2.0]), np.arange(4), 4)
    assert first == 2
    assert chosen.tolist()[:2] == [3, 0]  # 7, then 1: one of two equal gains, the first
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]


def test_weight_that_is_not_covered_bounds_what_is_clipped():
    """Relative to each layer's median, and with what the chosen pairs show as the range."""
    reached = torch.from_numpy(np.random.default_rng(0).pareto(1.5, (12, 200))).float()
    has, weights = outliers({"layer": reached})
    chosen, _ = cover(has, weights, np.arange(12), 2)
    largest = reached.amax(0)
    clipped = (largest - reached[chosen].amax(0)) / largest.median()
    standing_out = (largest > 3 * largest.median()).numpy()
    missed = ~has[chosen].any(0)
    assert missed.any()
    bound = weights[missed].sum() + (1 - REACH) * weights[~missed].sum()
    assert clipped[standing_out].sum().item() <= bound * (1 + 1e-6)


# observing


def test_numbers_are_those_of_the_layers_inputs_pair_by_pair(model, prompts):
    drawing = Drawing(model, tuple(prompts[:3]), 0, 2, 4, 3.0, {})
    seen = observe(drawing, {"conv_in": model.backbone.conv_in}, lambda layer, x: x.flatten(1).amax(1, keepdim=True))
    assert sorted(zip(seen.prompt.tolist(), seen.step.tolist(), strict=True)) == [
        (p, s) for p in range(3) for s in range(4)
    ]
    for prompt, step, number in zip(seen.prompt, seen.step, seen.measured["conv_in"], strict=True):
        rows = (seen.pool.prompt_index == prompt) & (seen.pool.step == step)
        assert number == seen.pool.inputs["sample"][rows].max()


def test_a_layer_whose_input_is_not_finite_is_named(audioldm, prompts):
    with torch.no_grad():
        audioldm.backbone.conv_norm_out.bias.fill_(float("inf"))
    with pytest.raises(DataError, match="conv_out: what it sees at step 0 is NaN or infinite"):
        recipe("activation-aware").draw(audioldm, prompts, seed=0)


# large sets


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_rows_beyond_the_limit_of_memory_are_read_from_disk_unchanged(dtype):
    parts = [torch.randn(5, 3, 2).mul(4).to(dtype) for _ in range(7)]
    small, large = RowBuffer(), RowBuffer(memory=64)
    for part in parts:
        small.add("x", part)
        large.add("x", part)
        large.add("y", part[:2, 0])
    assert torch.equal(small.close()["x"], torch.cat(parts))
    read = large.close()
    assert torch.equal(read["x"], torch.cat(parts))
    assert torch.equal(read["y"], torch.cat([part[:2, 0] for part in parts]))
    read["x"].zero_()  # a copy of the page, not of the file: tensors that are mapped can be written like any other


def test_a_set_on_disk_is_the_set_in_memory(model, prompts, tmp_path):
    calls = list(model.trajectories(prompts[:3], seeds=[0, 1, 2], steps=4, guidance=3.0, batch_size=2))
    small, large = (stack_calls(iter(calls), model, tuple(prompts[:3]), {}, 0.0, memory) for memory in (2**30, 1000))
    large.save(tmp_path / "set")
    loaded = CalibrationSet.load(tmp_path / "set")
    rows = torch.tensor([5, 0, 5])
    for other in (large, loaded):
        assert all(torch.equal(other.inputs[name], small.inputs[name]) for name in small.inputs)
        assert all(torch.equal(other.take(rows).inputs[name], small.inputs[name][rows]) for name in small.inputs)


# set functions


def test_reach_is_the_weighted_farthest():
    function = Reach(np.array([[1.0, 0.0], [0.5, 2.0]]), np.array([1.0, 3.0]))
    assert function.gain(1) == 6.5
    function.add(0)
    assert function.value == 1.0
    assert function.gain(1) == 6.0
    function.add(1)
    assert function.value == 7.0
    with pytest.raises(ValueError, match="not negative"):
        Reach(np.array([[-1.0]]), np.array([1.0]))
    assert FacilityLocation(np.eye(2)).gain(0) == 0.5
