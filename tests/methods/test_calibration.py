"""Calibration sets: what is recorded, that it is reproducible, and that it belongs to one model."""

import json
from dataclasses import replace

import pytest
import torch

from admbench.errors import DataError, UsageError
from admbench.methods.core.calibration.calibration_set import CalibrationSet, stack_calls
from admbench.methods.core.calibration.ranges import input_ranges
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe

RECIPE = CalibrationRecipe("uniform", prompts=3, timesteps=3, steps=5, guidance=3.0)


def test_both_halves_of_guidance_are_recorded_at_evenly_spread_steps(model, prompts):
    drawn = RECIPE.draw(model, prompts, seed=0)
    assert len(drawn) == 3 * 3 * 2
    assert sorted(set(drawn.step.tolist())) == [0, 2, 4]
    assert sorted(set(drawn.timestep.tolist())) == [199, 599, 999]
    assert drawn.prompts == tuple(prompts[:3])
    assert drawn.prompt_index[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert drawn.conditional[:6].tolist() == [False] * 3 + [True] * 3
    assert torch.equal(drawn.inputs["sample"][:3], drawn.inputs["sample"][3:6])
    assert torch.equal(drawn.inputs["timestep"], drawn.timestep)
    condition = next(name for name in ("class_labels", "encoder_hidden_states") if name in drawn.inputs)
    assert not drawn.inputs[condition][~drawn.conditional].any()
    assert drawn.inputs[condition][drawn.conditional].any()
    assert drawn.summary() == {
        "prompts": 3,
        "samples": 18,
        "timesteps": [199, 599, 999],
        "seconds": drawn.seconds,
        "sampler": "uniform",
        "prompt_source": "given",
        "solver": None,
        "steps": 5,
        "guidance": 3.0,
        "seed": 0,
    }


def test_without_guidance_there_is_one_sample_per_prompt_and_step(audioldm, prompts):
    drawn = replace(RECIPE, guidance=1.0).draw(audioldm, prompts, seed=0)
    assert len(drawn) == 9
    assert bool(drawn.conditional.all())


def test_the_same_seed_gives_the_same_set_and_another_seed_another(audioldm, prompts):
    first, again, other = (RECIPE.draw(audioldm, prompts, seed=seed).inputs["sample"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_key_changes_with_all_that_determines_the_set_and_nothing_else(audioldm, other_audioldm, prompts):
    key = RECIPE.key(audioldm, prompts, seed=0)
    assert key == RECIPE.key(audioldm, prompts[:3], seed=0)
    others = [
        RECIPE.key(audioldm, prompts, seed=1),
        RECIPE.key(audioldm, prompts[1:], seed=0),
        RECIPE.key(other_audioldm, prompts, seed=0),
        *(replace(RECIPE, **change).key(audioldm, prompts, seed=0) for change in ({"steps": 6}, {"guidance": 2.0})),
    ]
    assert len({key, *others}) == len(others) + 1


def test_too_few_prompts_are_an_error(audioldm):
    with pytest.raises(UsageError, match="calibration needs 3 prompts, there are 2"):
        RECIPE.draw(audioldm, ["a", "b"], seed=0)


def test_a_set_is_the_same_after_saving_and_loading(model, prompts, tmp_path):
    drawn = RECIPE.draw(model, prompts, seed=0)
    drawn.save(tmp_path / "set")
    loaded = CalibrationSet.load(tmp_path / "set")
    assert loaded.inputs.keys() == drawn.inputs.keys()
    assert all(torch.equal(loaded.inputs[name], drawn.inputs[name]) for name in drawn.inputs)
    assert torch.equal(loaded.conditional, drawn.conditional)
    assert loaded.summary() == drawn.summary()
    assert loaded.prompts == drawn.prompts
    loaded.check_model(model)


def test_batches_go_through_every_sample_once_in_order(audioldm, prompts):
    drawn = RECIPE.draw(audioldm, prompts, seed=0)
    batches = list(drawn.batches(7))
    assert [len(batch["sample"]) for batch in batches] == [7, 7, 4]
    assert torch.equal(torch.cat([batch["sample"] for batch in batches]), drawn.inputs["sample"])


def test_a_set_of_another_model_is_refused(audioldm, other_audioldm, prompts):
    drawn = RECIPE.draw(audioldm, prompts, seed=0)
    with pytest.raises(UsageError, match=r"drawn from tiny-audioldm .* not from tiny-audioldm"):
        input_ranges(other_audioldm, drawn, ["conv_in"])


def test_a_damaged_set_is_refused_by_name(audioldm, prompts, tmp_path):
    RECIPE.draw(audioldm, prompts, seed=0).save(tmp_path / "set")
    file = tmp_path / "set" / "calibration.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"calibration\.safetensors"):
        CalibrationSet.load(tmp_path / "set")
    file.write_bytes(whole)
    header = tmp_path / "set" / "calibration.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "format_version": 99}))
    with pytest.raises(DataError, match="format version"):
        CalibrationSet.load(tmp_path / "set")
    with pytest.raises(DataError, match="no such file"):
        CalibrationSet.load(tmp_path / "nothing")


def test_calls_that_do_not_fit_together_are_an_error(audioldm, prompts):
    calls = list(audioldm.trajectories(prompts[:2], seeds=[0, 1], steps=2, guidance=3.0, batch_size=2))
    for broken, reason in [
        ({**calls[1].inputs, "sample": calls[1].inputs["sample"][:3]}, "input sample has 3 rows at step 1, not 4"),
        ({**calls[1].inputs, "sample": calls[1].inputs["sample"][..., :2]}, "input sample differs between calls"),
        ({"sample": calls[1].inputs["sample"]}, "differs between calls"),
        ({**calls[1].inputs, "sample": torch.full_like(calls[1].inputs["sample"], float("nan"))}, "NaN"),
    ]:
        with pytest.raises(DataError, match=reason):
            stack_calls([calls[0], replace(calls[1], inputs=broken)], audioldm, ("a", "b"), {}, 0.0)
    with pytest.raises(DataError, match="none of the steps"):
        stack_calls([], audioldm, ("a", "b"), {}, 0.0)


def test_ranges_are_those_of_the_inputs_in_the_order_in_which_layers_ran(audioldm, prompts):
    drawn = RECIPE.draw(audioldm, prompts, seed=0)
    ranges = input_ranges(audioldm, drawn, ["conv_out", "conv_in", "time_embedding.linear_1"])
    assert list(ranges) == ["time_embedding.linear_1", "conv_in", "conv_out"]
    assert ranges["conv_in"].low == drawn.inputs["sample"].min()
    assert ranges["conv_in"].high == drawn.inputs["sample"].max()


def test_observing_leaves_no_hook_behind_and_names_the_layer_whose_input_is_not_finite(audioldm, prompts):
    drawn = RECIPE.draw(audioldm, prompts, seed=0)
    with torch.no_grad():
        audioldm.backbone.conv_in.bias.fill_(float("inf"))
    with pytest.raises(DataError, match="layer conv_out: its input is NaN or infinite"):
        input_ranges(audioldm, drawn, ["conv_in", "conv_out"])
    assert not audioldm.backbone.conv_in._forward_pre_hooks


def test_normal_timesteps_are_each_prompts_own_and_lean_to_the_clean_end(audioldm, prompts):
    recipe = CalibrationRecipe("normal", prompts=20, timesteps=8, steps=5, guidance=3.0)
    drawn = recipe.draw(audioldm, prompts, seed=0)
    assert len(drawn) == 2 * 20 * 8
    assert drawn.prompt_index.bincount().tolist() == [16] * 20
    assert int(drawn.conditional.sum()) == len(drawn) // 2
    conditional = drawn.step[drawn.conditional]
    assert torch.equal(conditional.sort().values, drawn.step[~drawn.conditional].sort().values)
    counts = conditional.bincount(minlength=5) / len(conditional)
    # Normal(0.4, 0.4) * 5, cut off: 0.31 of it below 1, the cleanest step, 0.16 from 4 on, the noisiest.
    assert counts[4] == pytest.approx(0.31, abs=0.08)
    assert counts[0] == pytest.approx(0.16, abs=0.08)


def test_a_sample_of_a_timestep_is_of_the_trajectory_at_that_step(audioldm, prompts):
    recipe = CalibrationRecipe("normal", prompts=3, timesteps=2, steps=3, guidance=3.0)
    drawn = recipe.draw(audioldm, prompts, seed=0)
    whole = CalibrationRecipe("uniform", prompts=3, timesteps=3, steps=3, guidance=3.0).draw(audioldm, prompts, seed=0)
    for row in range(len(drawn)):
        same = (whole.step == drawn.step[row]) & (whole.prompt_index == drawn.prompt_index[row])
        (match,) = torch.nonzero(same & (whole.conditional == drawn.conditional[row]))
        assert drawn.timestep[row] == whole.timestep[match]
        assert torch.equal(drawn.inputs["sample"][row], whole.inputs["sample"][match[0]])
