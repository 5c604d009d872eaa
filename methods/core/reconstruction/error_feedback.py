"""Rounding with error feedback: the columns that are left make up for the error of each one (GPTQ, 2210.17323)."""

from __future__ import annotations

import torch
from torch import Tensor

from admbench.methods.core.numbers.fitting import fit_part, fitted_together
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme

BLOCK = 128
"""Columns whose errors are passed on to the rest at once (section 3.3, step 2)."""


def gptq_codes(weight: Tensor, gram: Tensor, scheme: Scheme, damping: float = 0.01) -> tuple[Quantizer, Tensor]:
    """Round a weight with error feedback.

    Args:
        weight: (out, ...) float32.
        gram: (terms, terms), the layer's H up to a factor; terms is the number of weights of an output.
        scheme: static. A group's scale is found when its first column is reached, from the weights as the errors so far
            have changed them; a channel's before.
        damping: share of the mean of H's diagonal that is added to it.

    Returns:
        the quantizer, and uint8 codes of the weight's shape.
    """
    rest = weight.detach().flatten(1).double().clone()
    gram = gram.double().clone()
    dead = gram.diagonal() == 0  # inputs that are always 0: their weights may be anything, and stay nearest
    gram.diagonal()[dead] = 1
    gram.diagonal().add_(damping * gram.diagonal().mean())
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(gram)), upper=True)
    terms, whole = rest.shape[1], weight.detach().abs().max()
    together, group = fitted_together(scheme, terms), scheme.group_size or terms
    codes = torch.empty(weight.shape, dtype=torch.uint8).flatten(1)
    parts: list[Quantizer] = []
    for start in range(0, terms, BLOCK):
        end = min(start + BLOCK, terms)
        errors = torch.empty(len(rest), end - start, dtype=rest.dtype)
        for column in range(start, end):
            if column % together == 0:
                parts.append(fit_part(scheme, rest[:, column : column + together].float(), whole))
            if column % group == 0:
                own = parts[-1].of_column(column % together)
            now = rest[:, column : column + 1]
            codes[:, column : column + 1] = own.codes(now.float())
            value = own.dequantize(codes[:, column : column + 1]).double()
            error = (now - value) / factor[column, column]
            rest[:, column + 1 : end] -= error * factor[column, column + 1 : end]
            errors[:, column - start : column - start + 1] = error
        rest[:, end:] -= errors @ factor[start:end, end:]
    return type(parts[0]).joined(scheme, parts), codes.view(weight.shape)
