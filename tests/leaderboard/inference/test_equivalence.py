"""Margins as typed, and the three words that follow from an interval and a margin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.equivalence import captions_needed, judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import DEFAULT_MARGINS, Margin, parse_margin
from admbench.leaderboard.inference.scores import KINDS, score_kind


def clips(mean, spread, n=96, seed=0):
    """Return a score whose clips have exactly this mean and standard deviation."""
    numbers = np.random.default_rng(seed).normal(size=n)
    return Influence.of_clips(mean + spread * (numbers - numbers.mean()) / numbers.std(ddof=1))


def word(text, cell, full=None, key=None):
    margin = parse_margin(text)
    base = {key or margin.of or margin.key: full} if full else None
    return judge(margin, KINDS[margin.key.removesuffix("_vs_baseline")], {margin.key: cell}, base)


def test_every_score_has_a_default_margin_that_reads_as_it_is_written():
    keys = set(DEFAULT_MARGINS)
    assert {key.removesuffix("_vs_baseline") for key in keys} == set(KINDS)
    for key, margin in DEFAULT_MARGINS.items():
        assert margin.key == key
        assert parse_margin(str(margin)) == margin


@pytest.mark.parametrize(
    ("text", "margin", "bounded"),
    [
        ("fd=+5%", Margin("fd", 0.05, True), "ratio"),
        ("fd = 5 %", Margin("fd", 0.05, True), "ratio"),
        ("clap=-0.01", Margin("clap", -0.01, False), "change"),
        ("is=-5%", Margin("is", -0.05, True), "ratio"),
        ("fd_vs_baseline=5%", Margin("fd_vs_baseline", 0.05, True), "level"),
        ("snr_vs_baseline=20", Margin("snr_vs_baseline", 20.0, False), "level"),
        ("zimtohrli=0.002", Margin("zimtohrli_vs_baseline", 0.002, False), "level"),  # it has no other score
        ("kad=1e-2", Margin("kad", 0.01, False), "change"),
    ],
)
def test_margins_as_typed(text, margin, bounded):
    assert parse_margin(text) == margin
    assert margin.bounded == bounded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fd", "no margin"),
        ("fd=5%%", "no margin"),
        ("fd=nan", "no margin"),
        ("fd=1e999", "not finite"),
        ("fd=-5%", r"begins with \+"),
        ("clap=+0.01", "begins with -"),
        ("loudness=1", "no score that is known"),
        ("snr_vs_baseline=5%", "in its own unit"),
        ("clap_audio_vs_baseline=1.5", "cannot be"),
        ("fd_vs_baseline=-1", "cannot be"),
    ],
)
def test_margins_that_cannot_be_meant_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_margin(text)


@pytest.mark.parametrize(
    ("margin", "cell", "full", "expected"),
    [
        ("clap=-0.01", clips(0.399, 0.3), clips(0.4, 0.3), "no worse"),
        ("clap=-0.01", clips(0.37, 0.3), clips(0.4, 0.3), "worse"),
        ("clap=-0.01", clips(0.395, 0.3, seed=1), clips(0.4, 0.3), "cannot be told"),
        ("kl=+5%", clips(1.02, 0.5), clips(1.0, 0.5), "no worse"),
        ("kl=+5%", clips(1.2, 0.6), clips(1.0, 0.5), "worse"),
        ("kl=+5%", clips(1.04, 0.8, seed=1), clips(1.0, 0.5), "cannot be told"),
        ("is=-5%", clips(9.9, 1.0), clips(10.0, 1.0), "no worse"),
        ("is=-5%", clips(9.0, 1.0), clips(10.0, 1.0), "worse"),
        ("lmd_vs_baseline=1", clips(0.5, 0.5), None, "no worse"),
        ("lmd_vs_baseline=1", clips(2.0, 0.5), None, "worse"),
        ("snr_vs_baseline=20", clips(25, 5), None, "no worse"),
        ("snr_vs_baseline=20", clips(12, 5), None, "worse"),
        ("snr_vs_baseline=20", clips(20.5, 5), None, "cannot be told"),
    ],
)
def test_three_words(margin, cell, full, expected):
    assert word(margin, cell, full).word == expected


@given(st.floats(0.5, 2.0), st.floats(0.01, 1.0), st.floats(0.0, 0.3))
def test_the_word_is_what_the_shown_interval_says(mean, spread, amount):
    verdict = word(f"kl=+{100 * amount:.6f}%", clips(mean, spread, seed=1), clips(1.0, 0.3))
    if verdict.scale != "ratio":
        return
    inside, beyond = verdict.high <= verdict.limit, verdict.low > verdict.limit
    assert verdict.word == ("no worse" if inside else "worse" if beyond else "cannot be told")
    assert verdict.differs is not (verdict.low <= 1 <= verdict.high)


def test_within_the_margin_a_real_loss_is_no_worse_and_said():
    verdict = word("kl=+5%", clips(1.02, 0.5), clips(1.0, 0.5))
    assert verdict.word == "no worse"
    assert verdict.differs


def test_improvement_by_chance_is_not_called_better():
    assert word("clap=-0.01", clips(0.5, 0.3), clips(0.4, 0.3)).word == "no worse"


def test_full_precision_is_no_worse_than_itself():
    own = clips(1.0, 0.5)
    verdict = word("kl=+5%", own, own)
    assert (verdict.word, verdict.low, verdict.high, verdict.differs) == ("no worse", 1.0, 1.0, False)


def test_a_level_in_per_cent_is_of_full_precisions_own_score():
    """The distance to full precision's audio, held against full precision's distance to real audio."""
    verdict = word("fd_vs_baseline=5%", clips(1.0, 0.3), clips(60.0, 20.0), key="fd")
    assert verdict.word == "no worse"
    assert verdict.estimate == pytest.approx(1 / 60)
    assert verdict.limit == 0.05


def test_a_share_of_nothing_cannot_be_told():
    assert word("fad_inf=+5%", clips(1.0, 1.0), clips(-0.5, 1.0)).reason == (
        "full precision's fad_inf of -0.5 is not above zero: no share of it"
    )
    assert word("fd=+5%", clips(1.0, 1.0)).reason == "full precision has no fd"
    missing = judge(parse_margin("fd=+5%"), KINDS["fd"], {}, {"fd": clips(1, 1)})
    assert (missing.word, missing.reason) == ("cannot be told", "the cell has no fd")


def test_a_score_below_zero_still_has_a_ratio_to_full_precision():
    verdict = word("fad_inf=+5%", clips(-0.2, 1.0), clips(10.0, 1.0))
    assert verdict.word == "no worse"
    assert verdict.estimate == pytest.approx(-0.02)


def test_the_number_of_captions_is_the_one_that_tells():
    cell, full = clips(0.393, 0.05, seed=1), clips(0.4, 0.05)
    verdict = word("clap=-0.01", cell, full)
    assert verdict.word == "cannot be told"
    assert verdict.captions_needed
    assert verdict.captions_needed > 96
    one = contrast(cell, full)
    half = (1.985 + 0.8416) * one.standard_error
    assert verdict.captions_needed == pytest.approx(96 * (half / 0.003) ** 2, rel=0.1)


def test_at_the_margin_no_number_of_captions_is_promised():
    verdict = word("clap=-0.01", clips(0.39, 0.3, seed=1), clips(0.4, 0.3))
    assert verdict.word == "cannot be told"
    assert verdict.captions_needed is None
    assert verdict.reason == "the estimate lies at the margin, or too near to it"
    assert captions_needed(contrast(clips(0.4, 0.3), clips(0.4, 0.3)), 0.1) is None


def test_a_limit_of_zero_is_never_shown_to_hold_for_a_distance():
    assert word("kl_vs_baseline=0", clips(0.01, 0.02)).word == "worse"


def test_shown_intervals_stay_in_their_range():
    assert word("clap_audio_vs_baseline=0.95", clips(0.999, 0.5)).high == 1.0
    assert word("clap_audio_vs_baseline=0.95", clips(-0.999, 0.5)).low == -1.0
    assert word("lmd_vs_baseline=1", clips(0.05, 1.0)).low > 0, "a distance's is formed on its logarithm"
    low, high = score_kind("is").inside((0.2, 3.0))
    assert (low, high) == (1.0, 3.0)


def test_few_captions_are_a_caution():
    assert word("lmd_vs_baseline=1", clips(0.5, 0.5, n=48)).caution
    assert word("lmd_vs_baseline=1", clips(0.5, 0.5)).caution is None


def test_a_share_that_agrees_everywhere_has_an_error():
    rights = Influence.of_clips(np.ones(48))
    verdict = word("cas=-0.02", rights, rights)
    assert verdict.word == "cannot be told"
    assert verdict.high is not None
    assert not math.isclose(verdict.high, 0.0)
    assert word("cas=-0.02", *(Influence.of_clips(np.ones(240)),) * 2).word == "no worse"
