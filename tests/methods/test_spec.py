"""Method specs: what is read, what is written back, and what the message of a mistake is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admbench.errors import UsageError
from admbench.methods.spec import BITS, MethodSpec, split_specs

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
options = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True), st.from_regex(r"[A-Za-z0-9._:/-]{1,10}", fullmatch=True)
)


@unhurried
@given(names, st.none() | st.tuples(st.sampled_from(BITS), st.sampled_from(BITS)), options)
def test_a_spec_survives_being_written_and_read(name, bits, options):
    spec = MethodSpec(name, *(bits or (None, None)), options)
    assert MethodSpec.parse(str(spec)) == spec
    assert str(MethodSpec.parse(str(spec))) == str(spec)


def test_the_parts_of_a_spec():
    spec = MethodSpec.parse("q-diffusion@w4a8[calibration=mixup-prompt,iters=500]")
    assert spec.name == "q-diffusion"
    assert spec.bits == (4, 8)
    assert spec.options == {"calibration": "mixup-prompt", "iters": "500"}
    assert hash(spec) == hash(MethodSpec.parse(str(spec)))


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("naive@w9", ['weight bits "w9"', "activation bits are missing", "2..8 or 16", "naive@w4a8"]),
        ("naive@w9a8", ['weight bits "w9"', "2..8 or 16"]),
        ("naive@w4a1", ['activation bits "a1"', "2..8 or 16"]),
        ("naive@w4a32", ['activation bits "a32"']),
        ("naive@a8", ["weight bits are missing"]),
        ("naive@w04a8", ['weight bits "w04"']),
        ("naive@4bit", ['"@4bit" names no bits', "wXaY"]),
        ("naive@", ['"@" names no bits']),
        ("naive@w4a8[weights]", ['option "weights"', "key=value"]),
        ("naive@w4a8[]", ["key=value"]),
        ("naive@w4a8[weights=tensor", ["brackets"]),
        ("naive@w4a8[a=1,a=2]", ['"a" is given twice']),
        ("", ["not a method name"]),
        ("../naive@w4a8", ["not a method name"]),
        ("@w4a8", ["not a method name"]),
    ],
)
def test_a_malformed_spec_is_told_what_is_wrong_in_one_line(text, fragments):
    with pytest.raises(UsageError) as error:
        MethodSpec.parse(text)
    for fragment in [f'method "{text}"', *fragments]:
        assert fragment in str(error.value)
    assert "\n" not in str(error.value)


def test_commas_inside_brackets_do_not_split_a_list():
    assert split_specs("fp32,naive@w4a8[a=1,b=2], bf16") == ["fp32", "naive@w4a8[a=1,b=2]", "bf16"]


@pytest.mark.parametrize("bits", [(9, 8), (8, 1), (0, 16), (32, 32), (-4, 8)])
def test_bits_that_there_are_not_reach_no_method_from_code_either(bits):
    with pytest.raises(UsageError, match="are not possible"):
        MethodSpec("naive", *bits)
