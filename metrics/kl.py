"""Kullback-Leibler divergence between the class posteriors of paired clips.

Task: does each generated clip hold the sounds that the reference clip of the same caption holds?
Conventions: KL(reference || generated), softmax over the tagger's logits, natural logarithm, mean over pairs; lower is
better; 0 where all posteriors are equal. This is the direction of audioldm_eval, audiocraft ("kld") and av-benchmark;
stable-audio-metrics computes KL(generated || reference), another number. No epsilon is added: the logarithms are taken
of the softmax itself. A tagger's classes are not exclusive; softmax over them is the convention all the same, because
a sum of sigmoid terms p log(p / q) is no divergence and can be negative.

    KL = 1/n sum_i sum_k p_ik (log p_ik - log q_ik),    p = softmax(reference), q = softmax(generated)

Yang et al. 2023 (DiffSound); Kreuk et al. 2023 (AudioGen).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from admbench.metrics.arrays import as_pair
from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic


def kl_divergence(reference: ArrayLike, generated: ArrayLike) -> NDArray[np.float64]:
    """Return KL(softmax(reference) || softmax(generated)) of each pair of clips, in nats.

    Args:
        reference: (n, classes) logits.
        generated: (n, classes) logits of the clips of the same captions.

    Returns:
        (n,) float64, not negative.

    Raises:
        ValueError: no rows, different shapes, or a logit that is not finite.
    """
    expected, actual = as_pair(reference, "reference logits", generated, "generated logits")
    log_p, log_q = log_softmax(expected, axis=1), log_softmax(actual, axis=1)
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0)


class KLDivergence(Metric):
    """Mean KL divergence of the tagger's posteriors."""

    name = "kl"
    summary = "KL(reference || generated) of class posteriors, mean over captions; lower is better"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, math.inf)
    direction = "{against} || generated"
    needs = frozenset({"logits"})
    against = ("reference", "baseline")

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over pairs."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over pairs."""
        return Mean(kl_divergence(given(against)["logits"], generated["logits"]))
