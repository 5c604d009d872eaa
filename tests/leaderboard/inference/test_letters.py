"""Cells share a letter if, and only if, nothing tells them apart."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench.leaderboard.inference.letters import compact_letters

NAMES = [f"cell {k}" for k in range(7)]
PAIRS = list(combinations(NAMES, 2))


def sets_of(letters: dict[str, str]) -> list[set[str]]:
    every = {letter for own in letters.values() for letter in own}
    return [{name for name, own in letters.items() if letter in own} for letter in every]


@given(st.sets(st.sampled_from(PAIRS)))
def test_cells_share_a_letter_if_and_only_if_they_are_not_told_apart(apart):
    letters = compact_letters(NAMES, apart)
    for pair in PAIRS:
        assert bool(set(letters[pair[0]]) & set(letters[pair[1]])) is (pair not in apart)


@given(st.sets(st.sampled_from(PAIRS)))
def test_no_letter_says_what_another_says_already(apart):
    sets = sets_of(compact_letters(NAMES, apart))
    assert not any(one <= other for one in sets for other in sets if one is not other)


def test_the_best_cell_has_the_first_letter():
    apart = [("cell 0", "cell 2"), ("cell 0", "cell 3"), ("cell 1", "cell 3")]
    letters = compact_letters(NAMES[:4], apart)
    assert letters == {"cell 0": "a", "cell 1": "ab", "cell 2": "bc", "cell 3": "c"}


def test_a_chain_of_thirty_cells_has_letters_beyond_z():
    names = [str(k) for k in range(30)]
    letters = compact_letters(names, combinations(names, 2))
    assert letters["0"] == "a"
    assert letters["25"] == "z"
    assert letters["26"] == "a1"


def test_where_nobody_could_read_them_there_are_no_letters():
    names = [str(k) for k in range(40)]
    assert compact_letters(names, [(names[k], names[k + 1]) for k in range(0, 40, 2)]) is None  # 2^20 sets


def test_double_names_are_refused():
    with pytest.raises(ValueError, match="twice"):
        compact_letters(["a", "a"], [])
