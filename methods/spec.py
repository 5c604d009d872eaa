"""Method specs: `name@wXaY[key=value,...]` or `name@FORMAT[key=value,...]` to its parts and back.

Weights are `wX`, integers of X bits, or the name of a number format such as `mxfp4`. Activations are `aY`, or
`:FORMAT`; behind a number format they may be left out, and then stay as they are: `naive@mxfp4` is `naive@mxfp4a16`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from admbench.errors import UsageError, nearest
from admbench.methods.core.numbers.names import FORMAT_NAMES

if TYPE_CHECKING:
    from admbench.methods.core.numbers.scheme import Side

FULL_PRECISION = "fp32"
"""Name of the method that leaves a model as it is: the baseline of every comparison."""
FLOAT_BITS = 16
"""How a spec writes a side that stays as it is."""
BITS = (2, 3, 4, 5, 6, 7, 8, FLOAT_BITS)
"""Bit widths that a spec may name; 16 leaves that side (weights or activations) as it is."""

_GRAMMAR = re.compile(r"(?P<name>[^@\[\]]*)(?:@(?P<bits>[^\[\]]*))?(?:\[(?P<options>[^\[\]]*)\])?")
_EXPECTED = "expected name@wXaY[key=value,...], for example naive@w4a8"
_EXPECTED_BITS = "expected wXaY with X and Y in 2..8 or 16, for example naive@w4a8, or a number format, naive@mxfp4"
_EXPECTED_FORMATS = f"expected one of {', '.join(FORMAT_NAMES)}"
_SIDES = re.compile(
    rf"(?:w(?P<weight>\d+)|(?P<format>{'|'.join(FORMAT_NAMES)}))?(?:a(?P<activation>\d+)|:(?P<inputs>\w+))?"
)


@dataclass(frozen=True)
class MethodSpec:
    """A method's name, its bits and its options, as typed; there is one spelling per spec, so `str` gives it back.

    >>> spec = MethodSpec.parse("naive@w4a8[weights=tensor]")
    >>> spec.weight_bits, spec.activation_bits, dict(spec.options)
    (4, 8, {'weights': 'tensor'})
    >>> str(spec)
    'naive@w4a8[weights=tensor]'
    >>> spec = MethodSpec.parse("gptq@nvfp4:mxfp8")
    >>> spec.bits, spec.weight_format, spec.activation_format
    ((4, 8), 'nvfp4', 'mxfp8')
    """

    name: str
    """Registry name of the method."""
    weight_bits: int | None = None
    """Bits of a weight's code, 16 to leave weights alone; None if the spec names no bits."""
    activation_bits: int | None = None
    """Bits of an activation's code, 16 to leave activations alone; None if the spec names no bits."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Options by name, in the order typed; values are text, checked by the method's own configuration."""

    weight_format: str | None = None
    """Number format of weights; None for integers."""
    activation_format: str | None = None
    """Number format of activations; None for integers."""

    def __post_init__(self) -> None:
        """Raise UsageError for bits and formats that there are not, so that no method sees any."""
        for side, bits, name in (
            ("weight", self.weight_bits, self.weight_format),
            ("activation", self.activation_bits, self.activation_format),
        ):
            if name is not None and (name not in FORMAT_NAMES or FORMAT_NAMES[name].bits != bits):
                raise _error(str(self), f'{side} format "{name}" of {bits} bits: {_EXPECTED_FORMATS}')
            if bits is not None and bits not in BITS:
                raise _error(str(self), f"{side} bits {bits} are not possible: {_EXPECTED_BITS}")
        if self.activation_format is not None and not FORMAT_NAMES[self.activation_format].inputs:
            raise _error(str(self), f"{self.activation_format} is a format of weights, not of activations")

    @property
    def bits(self) -> tuple[int, int]:
        """(weight bits, activation bits), of codes.

        Raises:
            UsageError: the spec names none.
        """
        if self.weight_bits is None or self.activation_bits is None:
            raise _error(str(self), f"the bits are missing: {_EXPECTED_BITS.replace('naive', self.name)}")
        return self.weight_bits, self.activation_bits

    @property
    def sides(self) -> tuple[Side, Side]:
        """(weights, activations): bits of integers, or number formats; raises as `bits`."""
        from admbench.methods.core.numbers.formats import FORMATS

        weight, activation = self.bits
        return (
            FORMATS[self.weight_format] if self.weight_format else weight,
            FORMATS[self.activation_format] if self.activation_format else activation,
        )

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the number formats that are asked for."""
        return tuple(name for name in (self.weight_format, self.activation_format) if name is not None)

    def with_bits(self, weight: int, activation: int) -> MethodSpec:
        """Return the spec with integers of other bits on both sides."""
        return replace(self, weight_bits=weight, activation_bits=activation, weight_format=None, activation_format=None)

    def of_at_least(self, bits: int) -> MethodSpec:
        """Return the spec with sides of fewer bits widened to integers of so many; as it is if it names none."""
        spec = self
        if spec.weight_bits is not None and spec.weight_bits < bits:
            spec = replace(spec, weight_bits=bits, weight_format=None)
        if spec.activation_bits is not None and spec.activation_bits < bits:
            spec = replace(spec, activation_bits=bits, activation_format=None)
        return spec

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
        parsed = {} if options is None else _parse_options(text, options)
        if bits is None:
            return cls(name, options=parsed)
        (weight_bits, weight_format), (activation_bits, activation_format) = _parse_sides(text, bits)
        return cls(name, weight_bits, activation_bits, parsed, weight_format, activation_format)

    def __str__(self) -> str:
        weight = self.weight_format or f"w{self.weight_bits}"
        activation = f":{self.activation_format}" if self.activation_format else f"a{self.activation_bits}"
        if self.weight_format and activation == f"a{FLOAT_BITS}":
            activation = ""
        bits = "" if self.weight_bits is None else f"@{weight}{activation}"
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}{bits}" + (f"[{options}]" if options else "")


def split_specs(text: str) -> list[str]:
    """Split a comma-separated list of specs; commas inside brackets belong to their spec.

    >>> split_specs("fp32, naive@w4a8[weights=tensor,preset=paper]")
    ['fp32', 'naive@w4a8[weights=tensor,preset=paper]']
    """
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def _parse_sides(text: str, sides: str) -> list[tuple[int, str | None]]:
    """Return bits and number format of weights and of activations."""
    parts = _SIDES.fullmatch(sides)
    if parts is None or not sides:
        raise _error(text, f'"@{sides}" names no bits: {_EXPECTED_BITS}{_nearest_format(sides)}')
    allowed = {str(value): value for value in BITS}
    found: list[tuple[int, str | None]] = []
    problems = []
    for side, bits, name in (
        ("weight", parts["weight"], parts["format"]),
        ("activation", parts["activation"], parts["inputs"]),
    ):
        if name in FORMAT_NAMES:
            found.append((FORMAT_NAMES[name].bits, name))
        elif name is not None:
            raise _error(text, f'activation format "{name}" is not known: {_EXPECTED_FORMATS}{_nearest_format(name)}')
        elif bits in allowed:
            found.append((allowed[bits], None))
        elif bits is None and parts["format"]:
            found.append((FLOAT_BITS, None))
        elif bits is None:
            problems.append(f"the {side} bits are missing")
        else:
            problems.append(f'{side} bits "{side[0]}{bits}" are not possible')
    if problems:
        raise _error(text, f"{' and '.join(problems)}: {_EXPECTED_BITS}")
    return found


def _nearest_format(name: str) -> str:
    hint = nearest(name.partition(":")[0], FORMAT_NAMES)
    return f".{hint}" if hint else ""


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
