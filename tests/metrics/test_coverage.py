"""Do 95 % intervals hold E[T_n], the expected score at their n, 95 % of the time? On known distributions, seeded."""

from dataclasses import dataclass

import numpy as np
import pytest

from admbench.metrics.frechet import PairedFrechet, frechet_distance
from admbench.metrics.inception import SplitInception
from admbench.metrics.intervals import Mean, Replicates
from admbench.metrics.kad import PairedKernel
from admbench.metrics.kl import kl_divergence


@dataclass(frozen=True)
class DirectFrechet:
    """`PairedFrechet` by definition, which is several times faster below 64 dimensions: (n, d) and (n, d).

    Without captions S the scatter matrix C^T C (C: centred rows) is C^T C - C_S^T C_S - (C_S^T 1)(C_S^T 1)^T / (n -
    |S|), the last term because the mean moves. With S1 = L L^T, Tr (S1 S2)^(1/2) is the sum of the roots of the
    eigenvalues of L^T S2 L: one batch of symmetric d x d problems for all subsets. Only for covariances of full rank.
    """

    generated: np.ndarray
    reference: np.ndarray

    @property
    def n(self):
        return len(self.generated)

    @property
    def value(self):
        return frechet_distance(self.generated, self.reference)

    def without(self, subsets):
        kept = self.n - subsets.shape[1]
        means, scatters = [], []
        for rows in (self.generated, self.reference):
            centred = rows - rows.mean(axis=0)
            gone = centred[subsets]
            moved = gone.sum(axis=1)
            means.append(rows.mean(axis=0) - moved / kept)
            scatter = centred.T @ centred - gone.transpose(0, 2, 1) @ gone
            scatters.append(scatter - moved[:, :, None] * moved[:, None] / kept)
        root = np.linalg.cholesky(scatters[0])
        eigenvalues = np.linalg.eigvalsh(root.transpose(0, 2, 1) @ scatters[1] @ root)
        traces = sum(np.trace(one, axis1=1, axis2=2) for one in scatters)
        norms = np.sqrt(np.maximum(eigenvalues, 0)).sum(axis=1)
        return np.square(means[0] - means[1]).sum(axis=1) + (traces - 2 * norms) / (kept - 1)


def gaussian(n, d, rng, *, shift=0.0, scale=1.0, decay=0.0, correlation=0.0):
    """Return (generated, reference): Gaussians whose standard deviations fall as k^-decay, correlated by caption."""
    spread = np.arange(1, d + 1) ** -decay
    reference = rng.normal(size=(n, d))
    generated = correlation * reference + np.sqrt(1 - correlation**2) * rng.normal(size=(n, d))
    return (generated * scale + shift) * spread, reference * spread


def coverage_of_distance(n, d, repetitions, seed=0, **regime):
    """Share of intervals of FD that hold its expected value at n."""
    rng = np.random.default_rng(seed)
    statistic = DirectFrechet if d < 64 else PairedFrechet
    intervals, values = [], [frechet_distance(*gaussian(n, d, rng, **regime)) for _ in range(2 * repetitions)]
    for _ in range(repetitions):
        replicates = Replicates.of(statistic(*gaussian(n, d, rng, **regime)))
        intervals.append(replicates.interval(ratio_scale=True))
        values.append(replicates.value)
    return share_holding(intervals, np.mean(values))


def coverage_of_difference(n, d, repetitions, *, noise, seed=0):
    """Share of intervals of FD(a) - FD(b) that hold its expected value; a and b are one set with noise of their own."""
    rng = np.random.default_rng(seed)

    def draw():
        base, reference = gaussian(n, d, rng, shift=0.3, scale=1.2, decay=0.5)
        return (*(base + sigma * rng.normal(size=(n, d)) for sigma in noise), reference)

    intervals, values = [], []
    for _ in range(repetitions):
        first, second, reference = draw()
        difference = Replicates.of(DirectFrechet(first, reference)) - Replicates.of(DirectFrechet(second, reference))
        intervals.append(difference.interval())
        values.append(difference.value)
    for _ in range(2 * repetitions):
        first, second, reference = draw()
        values.append(frechet_distance(first, reference) - frechet_distance(second, reference))
    return share_holding(intervals, np.mean(values))


def share_holding(intervals, target):
    return np.mean([low <= target <= high for low, high in intervals])


REGIMES = {
    "same distribution": {},
    "shifted": {"shift": 0.3},
    "wider": {"scale": 1.3},
    "steep spectrum, shifted": {"decay": 1.0, "shift": 0.5},
    "correlated pairs": {"correlation": 0.8, "shift": 0.2, "decay": 0.5},
}


each_regime = pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
both_differences = pytest.mark.parametrize("noise", [(0.1, 0.1), (0.1, 0.6)], ids=["no difference", "a difference"])


@each_regime
@pytest.mark.parametrize(("n", "d"), [(48, 16), (96, 16), (240, 32)])
def test_the_intervals_tried_here_are_those_of_the_score(regime, n, d):
    """To rounding: so what follows says of `PairedFrechet` what it finds."""
    pair = gaussian(n, d, np.random.default_rng(1), **regime)
    tried, scored = (Replicates.of(statistic(*pair)) for statistic in (DirectFrechet, PairedFrechet))
    assert tried.value == scored.value
    for ratio_scale in (True, False):
        assert tried.interval(ratio_scale=ratio_scale) == pytest.approx(
            scored.interval(ratio_scale=ratio_scale), rel=1e-6
        )


@each_regime
def test_distance_of_96_clips(regime):
    assert 0.90 <= coverage_of_distance(96, 16, 150, **regime) <= 1.0  # 150 repetitions: known to 0.035


@pytest.mark.slow
@each_regime
def test_distance_of_96_clips_more_closely(regime):
    assert 0.92 <= coverage_of_distance(96, 16, 300, **regime) <= 0.99


@both_differences
def test_paired_difference_of_96_clips(noise):
    assert 0.92 <= coverage_of_difference(96, 16, 100, noise=noise) <= 0.99


@pytest.mark.slow
@each_regime
def test_distance_of_240_clips(regime):
    assert 0.90 <= coverage_of_distance(240, 64, 60, **regime) <= 1.0  # 60 repetitions: known to 0.055


@pytest.mark.slow
@each_regime
def test_distance_of_48_clips_is_less_certain(regime):
    assert 0.90 <= coverage_of_distance(48, 16, 300, **regime) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "repetitions"), [(48, 16, 300), (240, 32, 200)])
@both_differences
def test_paired_difference_at_other_sizes(n, d, repetitions, noise):
    assert 0.92 <= coverage_of_difference(n, d, repetitions, noise=noise) <= 1.0


@each_regime
def test_kernel_distance_of_96_clips(regime):
    rng = np.random.default_rng(0)
    replicates = [Replicates.of(PairedKernel(*gaussian(96, 16, rng, **regime))) for _ in range(100)]
    values = [PairedKernel(*gaussian(96, 16, rng, **regime)).value for _ in range(300)]
    expected = np.mean([*values, *(one.value for one in replicates)])
    assert 0.89 <= share_holding([one.interval() for one in replicates], expected) <= 1.0  # known to 0.044


def test_inception_score_and_kl_divergence():
    rng = np.random.default_rng(0)
    scores, divergences = [], []
    for _ in range(150):
        logits, reference = rng.normal(size=(2, 96, 8)) * 2
        scores.append(Replicates.of(SplitInception(logits, 4)))
        divergences.append(Replicates.of(Mean(kl_divergence(reference, logits))))
    for replicates, ratio_scale in ((scores, False), (divergences, True)):
        expected = np.mean([one.value for one in replicates])
        intervals = [one.interval(ratio_scale=ratio_scale) for one in replicates]
        assert 0.91 <= share_holding(intervals, expected) <= 0.99
