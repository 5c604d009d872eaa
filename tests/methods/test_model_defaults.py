"""Calibration runs a model as it is meant to be run: in its own number of steps and with its own guidance."""

from __future__ import annotations

import pytest

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.base import QUICK_STEPS


@pytest.fixture
def few_step(audioldm):
    """Return a model that is meant to be run in four steps, its guidance distilled."""
    audioldm.default_steps, audioldm.default_guidance = 4, 1.0
    return audioldm


def test_steps_and_guidance_are_the_models_own(few_step, prompts):
    drawn = methods.from_spec("naive@w4a8[prompts=2]").calibrate(few_step, prompts, seed=0)
    assert (drawn.recipe["steps"], drawn.recipe["guidance"]) == (4, 1.0)
    assert drawn.conditional.all()  # no guidance, no unconditional half


def test_typed_steps_and_guidance_win(few_step, prompts):
    method = methods.from_spec("naive@w4a8[prompts=2,timesteps=3,steps=6,guidance=2]")
    recipe = method.calibrate(few_step, prompts, seed=0).recipe
    assert (recipe["timesteps"], recipe["steps"], recipe["guidance"]) == (3, 6, 2.0)


@pytest.mark.parametrize("spec", ["naive@w4a8[prompts=2]", "q-diffusion@w4a8[prompts=2,preset=paper]"])
def test_a_preset_records_every_step_of_a_model_that_has_fewer(few_step, prompts, spec):
    drawn = methods.from_spec(spec).calibrate(few_step, prompts, seed=0)
    assert drawn.recipe["timesteps"] == 4
    assert sorted(set(drawn.step.tolist())) == [0, 1, 2, 3]


def test_more_typed_timesteps_than_the_models_steps_are_refused(few_step, prompts):
    method = methods.from_spec("naive@w4a8[prompts=2,timesteps=5]")
    with pytest.raises(UsageError, match="timesteps=5 cannot be recorded of steps=4, the default of tiny-audioldm"):
        method.calibration_key(few_step, prompts, seed=0)


def test_a_set_is_the_same_whether_its_numbers_are_typed_or_the_models(few_step, prompts):
    own = methods.from_spec("naive@w4a8[prompts=2]")
    typed = methods.from_spec("naive@w4a8[prompts=2,timesteps=4,steps=4,guidance=1]")
    key = own.calibration_key(few_step, prompts, seed=0)
    assert key == typed.calibration_key(few_step, prompts, seed=0)
    few_step.default_steps = 2
    assert key != own.calibration_key(few_step, prompts, seed=0)


def test_a_checkpoint_states_the_numbers_that_were_used(few_step, prompts):
    method = methods.from_spec("naive@w4a8[prompts=2]")
    quantized = method.quantize(few_step, method.calibrate(few_step, prompts, seed=0))
    config = quantized.method.config
    assert (config["timesteps"], config["steps"], config["guidance"]) == (4, 4, 1.0)


@pytest.fixture
def many_step(audioldm):
    """Return a model that is meant to be run in two hundred steps, as the published ones are."""
    audioldm.default_steps = 200
    return audioldm


def test_preset_quick_walks_no_more_than_its_cap_and_says_so(many_step, prompts):
    method = methods.from_spec("naive@w4a8[prompts=2]")
    drawn = method.calibrate(many_step, prompts, seed=0)
    assert drawn.recipe["steps"] == QUICK_STEPS == 50
    assert drawn.summary()["steps"] == QUICK_STEPS
    assert int(drawn.step.max()) == QUICK_STEPS - 1
    assert method.quantize(many_step, drawn).method.config["steps"] == QUICK_STEPS


@pytest.mark.parametrize("spec", ["naive@w4a8[steps=200]", "naive@w4a8[preset=paper]"])
def test_typed_steps_and_preset_paper_are_not_cut(many_step, spec):
    assert methods.from_spec(spec).config.recipe_for(many_step).steps == 200


def test_more_typed_timesteps_than_the_cap_are_refused_with_the_reason(many_step, prompts):
    method = methods.from_spec("naive@w4a8[prompts=2,timesteps=60]")
    with pytest.raises(UsageError, match=r"of steps=50, which preset quick takes of the 200 of tiny-audioldm"):
        method.calibration_key(many_step, prompts, seed=0)
