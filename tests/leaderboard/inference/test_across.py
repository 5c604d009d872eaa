"""Several models: ratios and counts, and what is said of them in words."""

import numpy as np
import pytest

from admbench.leaderboard.inference.across import across_models
from admbench.leaderboard.inference.equivalence import judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import parse_margin
from admbench.leaderboard.inference.pairs import all_pairs
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.inference.sentences import (
    across_sentence,
    conclusion,
    listed,
    nearest_sentence,
    verdict_sentence,
)

LEVELS = {"one": 1.0, "two": 20.0, "three": 400.0}
"""Models whose distances are of quite different size."""


def model(level, ratio, seed=0, n=96, spread=0.3):
    """Return all pairs of a model: rounding at a level, and a method at a ratio of it."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    own = rng.normal(size=(2, n))

    def cell(mean, noise):
        numbers = shared + 0.5 * noise
        return Influence.of_clips(mean * (1 + spread * (numbers - numbers.mean())))

    cells = {"naive@w4a8": cell(level, own[0]), "better@w4a8": cell(level * ratio, own[1])}
    return all_pairs(cells, KINDS["kl"])


def models(ratios=(0.5, 0.4, 0.6), **options):
    return {
        name: model(level, ratio, seed, **options)
        for seed, ((name, level), ratio) in enumerate(zip(LEVELS.items(), ratios, strict=True))
    }


@pytest.mark.parametrize("shared", [True, False])
def test_the_mean_is_geometric_and_free_of_units(shared):
    found = across_models(models(), "better@w4a8", "naive@w4a8", shared_captions=shared)
    assert found.mean == pytest.approx((0.5 * 0.4 * 0.6) ** (1 / 3))
    assert found.low < found.mean < found.high
    assert {name: round(one.ratio, 6) for name, one in found.models.items()} == {"one": 0.5, "two": 0.4, "three": 0.6}
    assert (found.crossed is not None) is shared


def test_the_other_way_round_is_the_inverse():
    found = across_models(models(), "better@w4a8", "naive@w4a8", shared_captions=True)
    inverse = across_models(models(), "naive@w4a8", "better@w4a8", shared_captions=True)
    assert (inverse.mean, inverse.low, inverse.high) == pytest.approx((1 / found.mean, 1 / found.high, 1 / found.low))
    assert (inverse.better, inverse.worse, inverse.untold) == (found.worse, found.better, found.untold) == (0, 3, 0)


def test_models_that_disagree_make_it_long():
    alike = across_models(models((0.5, 0.5, 0.5)), "better@w4a8", "naive@w4a8", shared_captions=True)
    apart = across_models(models((0.1, 0.5, 2.5)), "better@w4a8", "naive@w4a8", shared_captions=True)
    assert apart.mean == pytest.approx(alike.mean)
    assert np.log(apart.high / apart.low) > 5 * np.log(alike.high / alike.low)
    assert apart.crossed.share_draws > 0.9


def test_counts_are_read_from_each_models_letters():
    found = across_models(models((0.5, 1.0, 2.0)), "better@w4a8", "naive@w4a8", shared_captions=True)
    assert (found.better, found.untold, found.worse) == (1, 1, 1)
    for name, pairs in models((0.5, 1.0, 2.0)).items():
        shared = bool(set(pairs.letters["better@w4a8"]) & set(pairs.letters["naive@w4a8"]))
        assert (found.models[name].better is None) is shared


def test_what_is_missing_has_a_reason():
    some = models()
    lonely = all_pairs({"naive@w4a8": Influence.of_clips(np.arange(1.0, 97.0))}, KINDS["kl"])
    found = across_models(some | {"four": lonely}, "better@w4a8", "naive@w4a8", shared_captions=True)
    assert found.missing == {"four": "no score of better@w4a8"}
    one = across_models({"one": some["one"]}, "better@w4a8", "naive@w4a8", shared_captions=True)
    assert (one.low, one.reason) == (None, "one model says nothing of others: no interval over models")
    none = across_models({"four": lonely}, "better@w4a8", "naive@w4a8", shared_captions=True)
    assert (none.mean, none.reason) == (None, "no model has this ratio")
    assert across_sentence(none) == "better@w4a8 and naive@w4a8 stand on no model together."


def test_across_models_in_words():
    found = across_models(models((0.5, 1.0, 2.0)), "better@w4a8", "naive@w4a8", shared_captions=True)
    assert across_sentence(found) == (
        "better@w4a8 is shown to be better than naive@w4a8 on 1 of 3 models, worse on 1, not told apart on 1; "
        f"geometric mean of the ratios 1 [{found.low:.2g}, {found.high:.2g}]."
    )


def test_the_nearest_in_words():
    pairs = model(1.0, 0.5)
    every = pairs.order
    assert nearest_sentence("m", pairs, every, "at 4-bit weights") == (
        "m: at 4-bit weights better@w4a8 comes first, told apart from naive@w4a8."
    )
    tied = model(1.0, 0.99, spread=0.5)
    assert nearest_sentence("m", tied, every, "at 4-bit weights") == (
        "m: at 4-bit weights better@w4a8 comes first, but is not told apart from naive@w4a8."
    )
    assert nearest_sentence("m", pairs, every[:1], "of 4 bits") == "m: better@w4a8 is the only cell of 4 bits."
    assert nearest_sentence("m", pairs, [], "of 3 bits") == "m: no cell of 3 bits."
    assert listed(["a", "b"]) == "a and b"


def said(margin, cell, full=None):
    parsed = parse_margin(margin)
    base = full and {parsed.of or parsed.key: full}
    return verdict_sentence(
        "x@w4a8", judge(parsed, KINDS[parsed.key.removesuffix("_vs_baseline")], {parsed.key: cell}, base)
    )


def test_verdicts_in_words():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=96)
    noise -= noise.mean()
    full = Influence.of_clips(1 + 0.5 * noise)
    near, far = Influence.of_clips(1.02 + 0.5 * noise), Influence.of_clips(1.5 + 0.5 * noise)
    other = Influence.of_clips(1.0 + 0.3 * rng.permutation(noise))
    assert said("kl=+5%", near, full).startswith(
        "x@w4a8 is no worse than full precision though measurably different (kl +2.0 % ["
    )
    assert said("kl=+5%", far, full).startswith("x@w4a8 is worse than full precision (kl +50.0 % [")
    text = said("kl=+5%", other, full)
    assert text.startswith("Whether x@w4a8 is no worse than full precision cannot be told (kl +0.0 % [")
    assert text.endswith(" captions would tell.")
    assert said("kl=+5%", near) == "Whether x@w4a8 is no worse by kl cannot be told: full precision has no kl."
    assert "10.0 % of full precision's kl [" in said("kl_vs_baseline=5%", full.scaled(0.1), full)


def test_a_paragraph_says_each_caution_once():
    assert conclusion(["One.", "Two."], ["few", None, "few"]) == "One. Two. Caution: few."
