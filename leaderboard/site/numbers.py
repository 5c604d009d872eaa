"""Numbers as people read them: sensible decimals, one format per column, and positions on a scale."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the median of the values three significant digits, 0 to 4."""
    sizes = sorted(abs(value) for value in values if value)
    if not sizes:
        return 2
    return min(4, max(0, 2 - math.floor(math.log10(sizes[len(sizes) // 2]))))


def fixed(value: float, places: int, *, sign: bool = False) -> str:
    """A number with a fixed count of decimals, unless it is huge, and a true minus sign.

    >>> fixed(0.126, 2), fixed(3, 1, sign=True), fixed(-0.001, 2), fixed(5_565_131_266, 2)
    ('0.13', '+3.0', '0.00', '5.57e+09')
    """
    style = f".{places}f" if abs(value) < 1e6 else ".3g"
    text = f"{value:{'+' if sign else ''}{style}}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def interval(bounds: Sequence[float], places: int, *, sign: bool = False) -> str:
    """`[low, high]`."""
    return f"[{fixed(bounds[0], places, sign=sign)}, {fixed(bounds[1], places, sign=sign)}]"


def megabytes(count: int) -> str:
    """Bytes as MB (10^6), three significant digits.

    >>> megabytes(5_432_100), megabytes(740_000_000)
    ('5.43 MB', '740 MB')
    """
    value = count / 1e6
    return f"{value:.{decimals([value])}f} MB"


def percent(fraction: float) -> str:
    """A fraction as percent.

    >>> percent(0.8512), percent(1.0)
    ('85.1 %', '100 %')
    """
    return f"{100:d} %" if fraction == 1 else f"{fixed(100 * fraction, 1)} %"


def count(number: int, word: str) -> str:
    """A number of things.

    >>> count(1, "thread"), count(2, "thread")
    ('1 thread', '2 threads')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Scale:
    """Maps numbers to 0..1, linearly or by logarithm."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], margin: float = 0.0, log_from: float = 12) -> "Scale":
        """A scale that holds all values, with the share `margin` left free at both ends.

        It is logarithmic if the values are positive and the largest is at least `log_from` times the smallest.
        """
        low, high = min(values), max(values)
        log = low > 0 and high / low >= log_from
        if log:
            free = (high / low) ** margin
            return cls(low / free, high * free, True)
        free = (high - low or abs(high) or 1.0) * margin
        return cls(low - free, high + free, False)

    def __call__(self, value: float) -> float:
        """Position of a value, clipped to 0..1; the middle if the scale has no extent."""
        if self.high <= self.low:
            return 0.5
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, wanted: int = 5) -> list[float]:
        """About `wanted` round numbers on the scale."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
                found = [d * 10.0**e for e in decades for d in digits if self.low <= d * 10.0**e <= self.high]
                if len(found) <= wanted + 1:
                    break
            return found
        step = _round_up((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_up(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= step * (1 - 1e-9))
