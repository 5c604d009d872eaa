"""Bit packing: nothing lost, nothing wasted."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admbench.methods.core.numbers.packing import pack_bits, packed_size, unpack_bits

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.integers(1, 8), st.data())
def test_codes_of_any_width_and_number_survive(bits, data):
    codes = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=70)), np.uint8)
    packed = pack_bits(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.size == packed_size(codes.size, bits) == -(-codes.size * bits // 8)
    assert np.array_equal(unpack_bits(packed, bits, codes.size), codes)


@unhurried
@given(st.integers(2, 8), st.data())
def test_the_stream_is_the_codes_bits_one_after_the_other(bits, data):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=30))
    stream = sum(code << (position * bits) for position, code in enumerate(codes))
    expected = stream.to_bytes(packed_size(len(codes), bits), "little")
    assert pack_bits(np.array(codes, np.uint8), bits).tobytes() == expected


def test_eight_codes_of_3_bits_take_3_bytes_and_two_of_4_bits_one():
    assert pack_bits(np.arange(8, dtype=np.uint8), 3).size == 3
    assert pack_bits(np.array([0xA, 0x5], np.uint8), 4).tolist() == [0x5A]


def test_a_wrong_number_of_bytes_is_refused():
    with pytest.raises(ValueError, match="9 codes of 4 bits take 5 bytes, not 4"):
        unpack_bits(np.zeros(4, np.uint8), 4, 9)


def test_bits_after_the_last_code_must_be_zero():
    with pytest.raises(ValueError, match="after the last code"):
        unpack_bits(np.array([0xFF, 0xFF], np.uint8), 4, 3)
