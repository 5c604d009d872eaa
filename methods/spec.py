"""Method specs: `name@wXaY[key=value,...]` to its parts and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from admbench.errors import UsageError

FULL_PRECISION = "fp32"
"""Name of the method that leaves a model as it is: the baseline of every comparison."""
BITS = (2, 3, 4, 5, 6, 7, 8, 16)
"""Bit widths that a spec may name; 16 leaves that side (weights or activations) as it is."""

_GRAMMAR = re.compile(r"(?P<name>[^@\[\]]*)(?:@(?P<bits>[^\[\]]*))?(?:\[(?P<options>[^\[\]]*)\])?")
_EXPECTED = "expected name@wXaY[key=value,...], for example naive@w4a8"
_EXPECTED_BITS = "expected wXaY with X and Y in 2..8 or 16, for example naive@w4a8"


@dataclass(frozen=True)
class MethodSpec:
    """A method's name, its bits and its options, as typed; there is one spelling per spec, so `str` gives it back.

    >>> spec = MethodSpec.parse("naive@w4a8[weights=tensor]")
    >>> spec.weight_bits, spec.activation_bits, dict(spec.options)
    (4, 8, {'weights': 'tensor'})
    >>> str(spec)
    'naive@w4a8[weights=tensor]'
    """

    name: str
    """Registry name of the method."""
    weight_bits: int | None = None
    """Bits of a weight, 16 to leave weights alone; None if the spec names no bits."""
    activation_bits: int | None = None
    """Bits of an activation, 16 to leave activations alone; None if the spec names no bits."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Options by name, in the order typed; values are text, checked by the method's own configuration."""

    def __post_init__(self) -> None:
        """Raise UsageError for bits that there are not, so that no method sees any."""
        for side, bits in (("weight", self.weight_bits), ("activation", self.activation_bits)):
            if bits is not None and bits not in BITS:
                raise _error(str(self), f"{side} bits {bits} are not possible: {_EXPECTED_BITS}")

    @property
    def bits(self) -> tuple[int, int]:
        """(weight bits, activation bits).

        Raises:
            UsageError: the spec names none.
        """
        if self.weight_bits is None or self.activation_bits is None:
            raise _error(str(self), f"the bits are missing: {_EXPECTED_BITS.replace('naive', self.name)}")
        return self.weight_bits, self.activation_bits

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read a spec; whether the method exists and knows the options is not asked here.

        Raises:
            UsageError: names the part that is wrong and what is allowed there.
        """
        parts = _GRAMMAR.fullmatch(text)
        if parts is None:
            raise _error(text, f"the brackets do not match: {_EXPECTED}")
        name, bits, options = parts["name"], parts["bits"], parts["options"]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise _error(text, f'"{name}" is not a method name: {_EXPECTED}')
        weight_bits, activation_bits = (None, None) if bits is None else _parse_bits(text, bits)
        return cls(name, weight_bits, activation_bits, {} if options is None else _parse_options(text, options))

    def __str__(self) -> str:
        bits = "" if self.weight_bits is None else f"@w{self.weight_bits}a{self.activation_bits}"
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}{bits}" + (f"[{options}]" if options else "")


def split_specs(text: str) -> list[str]:
    """Split a comma-separated list of specs; commas inside brackets belong to their spec.

    >>> split_specs("fp32, naive@w4a8[weights=tensor,preset=paper]")
    ['fp32', 'naive@w4a8[weights=tensor,preset=paper]']
    """
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def _parse_bits(text: str, bits: str) -> tuple[int, int]:
    parts = re.fullmatch(r"(?:w(?P<weight>\d+))?(?:a(?P<activation>\d+))?", bits)
    if parts is None or not bits:
        raise _error(text, f'"@{bits}" names no bits: {_EXPECTED_BITS}')
    allowed = {str(value): value for value in BITS}
    problems = [
        f"the {side} bits are missing" if value is None else f'{side} bits "{side[0]}{value}" are not possible'
        for side, value in parts.groupdict().items()
        if value not in allowed
    ]
    if problems:
        raise _error(text, f"{' and '.join(problems)}: {_EXPECTED_BITS}")
    return allowed[parts["weight"]], allowed[parts["activation"]]


def _parse_options(text: str, options: str) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for item in options.split(","):
        parts = re.fullmatch(r"(?P<key>[a-z][a-z0-9_]*)=(?P<value>[^\s=]+)", item)
        if parts is None:
            raise _error(text, f'option "{item}" is not of the form key=value')
        if parts["key"] in parsed:
            raise _error(text, f'option "{parts["key"]}" is given twice')
        parsed[parts["key"]] = parts["value"]
    return parsed


def _error(text: str, problem: str) -> UsageError:
    return UsageError(f'method "{text}": {problem}')
