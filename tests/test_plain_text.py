"""Text on one line that hides nothing; what hides nothing is left as it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admbench.lookalikes import LOOKALIKES
from admbench.plain_text import MOST_MARKS, visible, visible_name

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "a\u0430\u03b1\u0251\uff20\u2010b \n\u200b\u200d\u202e\u00ad\u0301\u0327\ufe0f\U000e0041\u3164\\u2"
        ),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    "text", ["naive@w4a8[x=1]", "шум дождя", "باران می بارد", "größer", "日本語 v2", "雨☔", "\u03b1 = 0.5"]
)
def test_what_hides_nothing_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nerror: b\r\nc\x85d\u2028e", "a error: b c d e"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("ab\u202ecd\u2066", "ab\\u202ecd\\u2066"),
        ("na\u200bi\u200dve\u00ad\ufeff", "na\\u200bi\\u200dve\\u00ad\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("heart\u2764\ufe0f", "heart\u2764\\ufe0f"),
        ("a\u00a0b\u3000c", "a b c"),
        ("p\u0430ypal", "p\\u0430ypal"),
        ("tiny-t\u03b1ngo \u03b1", "tiny-t\\u03b1ngo \u03b1"),
        ("fp\U0001d7d1\uff12", "fp\\U0001d7d1\\uff12"),
        ("x" + "\u0300" * 5, "x" + "\u0300" * 3 + "\\u0300" * 2),
        ("e\u0301", "\u00e9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_hides_something_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "name",
    ["naive@w4a8[x=1]", "модель", "шум-2", "\u03a6", "باران", "größer", "日本語 v2", "Đặng", "പാഠം", "ノート", "עברית"],
)
def test_names_in_their_own_scripts_are_left_as_they_are(name: str) -> None:
    assert visible_name(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tiny-t\u0251ngo", "tiny-t\\u0251ngo"),
        ("na\u0131ve", "na\\u0131ve"),
        ("\u0274aive", "\\u0274aive"),
        ("naive\uff20w4a8", "naive\\uff20w4a8"),
        ("\uff46\uff50\uff13\uff12", "\\uff46\\uff50\\uff13\\uff12"),
        ("\U0001d41f\U0001d429", "\\U0001d41f\\U0001d429"),
        ("tiny\u2010tango\u2014a\u2212b", "tiny\\u2010tango\\u2014a\\u2212b"),
        ("\u0441\u043e\u0441\u043e", "\\u0441\\u043e\\u0441\\u043e"),
        ("\u0440\u0430\u0441\u0435-шум", "\\u0440\\u0430\\u0441\\u0435-шум"),
        ("a\u2215b", "a\\u2215b"),
    ],
)
def test_what_reads_as_ascii_in_a_name_is_shown_as_its_escape(name: str, shown: str) -> None:
    assert visible_name(name) == shown


@pytest.mark.parametrize(
    "text",
    ["\u0131l\u0131k bir yağmur", "a \u2014 b", "\u2018I\u2019", "\u0430 \u043e \u0441\u043e\u0441\u043e", "m\u00b2"],
)
def test_captions_may_have_what_names_may_not(text: str) -> None:
    assert visible(text) == text != visible_name(text)


def test_look_alikes_are_none_of_those_that_other_rules_know() -> None:
    forms = [unicodedata.normalize("NFKC", one) for one in LOOKALIKES]
    assert not [one for one in forms if one.isascii() and len(one) == 1]
    assert not {"Pd", "Mn", "Mc", "Me", "Zs", "Cf"} & {unicodedata.category(one) for one in LOOKALIKES}
    assert {"\u0430", "\u0435", "\u043e", "\u0440", "\u0441", "\u03bf", "\u0251", "\u0131"} <= LOOKALIKES


@pytest.mark.parametrize("name", [False, True])
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(TEXTS)
def test_what_it_returns_is_one_line_that_it_leaves_as_it_is(name: bool, text: str) -> None:
    shown = visible(text, name=name)
    assert visible(shown, name=name) == shown
    assert "\n" not in shown
    assert "  " not in shown
    assert shown.encode("utf-8").decode("utf-8") == shown
    categories = [unicodedata.category(character) for character in shown]
    assert not {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} & set(categories)
    marks = "".join("m" if category in ("Mn", "Me") else " " for category in categories)
    assert max(map(len, marks.split()), default=0) <= MOST_MARKS


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(TEXTS, st.integers(40, 60))
def test_a_text_is_cut_to_its_limit_and_says_so(text: str, limit: int) -> None:
    shown = visible(text * 5, limit)
    assert len(shown) <= limit
    assert visible(shown, limit) == shown
    assert shown.endswith(" more]") == (len(visible(text * 5)) > limit)
