"""Ranges that clip: never worse than min-max on their own measure, the same whether searched at once or in pieces."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from admbench.methods.core.numbers import search
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme
from admbench.methods.core.numbers.search import FITS, lp_range, percentile_range

unhurried = settings(max_examples=40, deadline=None)
schemes = st.builds(
    Scheme, bits=st.integers(2, 8), granularity=st.sampled_from(["tensor", "channel"]), symmetric=st.booleans()
)


def heavy_tailed(seed: int, channels: int = 6, count: int = 200) -> torch.Tensor:
    return torch.randn(channels, count, generator=torch.Generator().manual_seed(seed)) ** 3


def error(quantizer: Quantizer, values: torch.Tensor, p: float) -> torch.Tensor:
    per_row = (quantizer.fake_quantize(values) - values).abs().double().pow(p).flatten(1).sum(1)
    return per_row if quantizer.scheme.granularity == "channel" else per_row.sum()


@unhurried
@given(schemes, st.integers(0, 2**32 - 1), st.sampled_from([2.0, 2.4]))
def test_a_searched_range_is_never_worse_than_min_max(scheme, seed, p):
    values = heavy_tailed(seed)
    searched = Quantizer.from_range(scheme, *lp_range(scheme, values, p=p))
    assert bool((error(searched, values, p) <= error(Quantizer.min_max(scheme, values), values, p) * (1 + 1e-5)).all())


def test_a_searched_range_is_the_best_of_its_candidates():
    values = heavy_tailed(0, channels=1)
    scheme = activation_scheme(4)
    low, high = values.min(), values.max()
    candidates = [Quantizer.from_range(scheme, low * (1 - i / 100), high * (1 - i / 100)) for i in range(80)]
    errors = torch.stack([error(candidate, values, 2.4) for candidate in candidates])
    searched = Quantizer.from_range(scheme, *lp_range(scheme, values, p=2.4))
    assert error(searched, values, 2.4) == pytest.approx(errors.min().item())


@unhurried
@given(schemes, st.integers(0, 2**32 - 1), st.sampled_from([2.0, 2.4]), st.sampled_from([1, 3, 0]), st.booleans())
def test_leaving_out_what_cannot_be_the_best_changes_nothing(scheme, seed, p, power, one_sided):
    values = torch.randn(6, 200, generator=torch.Generator().manual_seed(seed)) ** power  # 0: all alike
    values = values.abs() if one_sided else values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "SLACK", torch.inf)
        every = lp_range(scheme, values, p=p)
    assert all(torch.equal(*pair) for pair in zip(lp_range(scheme, values, p=p), every, strict=True))


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_memory_bounds_do_not_change_the_result(monkeypatch, granularity):
    scheme = Scheme(bits=3, granularity=granularity, symmetric=False)
    values = heavy_tailed(1, channels=7)
    whole = lp_range(scheme, values)
    for limit in (1, 450, 7 * 200 * 3):
        monkeypatch.setattr(search, "WORKING_VALUES", limit)
        assert all(torch.equal(*pair) for pair in zip(lp_range(scheme, values), whole, strict=True))


def test_percentiles_are_those_of_the_definition():
    values = torch.randn(2, 50_001, generator=torch.Generator().manual_seed(2))
    for granularity, rows in (("channel", values), ("tensor", values.reshape(1, -1))):
        low, high = percentile_range(Scheme(bits=8, granularity=granularity, symmetric=False), values)
        share = search.PERCENTILE / 100
        expected = torch.quantile(rows.double(), torch.tensor([1 - share, share], dtype=torch.double), dim=1)
        assert torch.allclose(torch.stack([low, high]).double().reshape(2, -1), expected, atol=1e-5)


@pytest.mark.parametrize("rule", FITS)
@pytest.mark.parametrize("values", [torch.zeros(3, 5), torch.full((3, 5), -2.0), torch.ones(3, 1)])
def test_zeros_and_constants_are_kept(rule, values):
    for granularity in ("tensor", "channel"):
        quantizer = FITS[rule](Scheme(bits=4, granularity=granularity, symmetric=False), values)
        assert torch.allclose(quantizer.fake_quantize(values), values, rtol=1e-5)


@pytest.mark.parametrize("rule", FITS)
def test_zero_is_a_code_under_every_rule(rule):
    values = torch.rand(2, 300) + 5
    quantizer = FITS[rule](activation_scheme(3), values)
    assert quantizer.fake_quantize(torch.zeros(4)).tolist() == [0, 0, 0, 0]
