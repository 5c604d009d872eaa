"""What `foley-captions` promises: captions of its own that never change, all different, balanced, also in subsets."""

import csv
import re
from collections import Counter
from importlib import resources

import pytest

from admbench.bench.suites import load_suite
from admbench.bench.suites.files import CaptionFile
from admbench.bench.suites.foley_captions import ATTRIBUTES, FoleyCaptions

FAMILIES = {"human", "animal", "music", "things", "natural", "ambiguous", "environment"}
POLYPHONIES = {"single", "simultaneous", "sequential", "several"}
SHA256 = "51c5731d847b68fe44b66bf4dc110910ee7bf4d1a1f2b0a916fb355dbd779ad6"


@pytest.fixture(scope="module")
def suite():
    return load_suite("foley-captions")


def words(caption):
    return re.findall(r"[a-z']+", caption.lower())


def kinds(items, key):
    return Counter(item.strata[key] for item in items)


def test_there_are_at_least_300_captions_with_an_id_and_a_seed_each(suite):
    assert len(suite.items) >= 300
    for values in (
        {" ".join(words(item.caption)) for item in suite.items},
        {item.id for item in suite.items},
        {item.seed for item in suite.items},
    ):
        assert len(values) == len(suite.items)
    assert all(0 <= item.seed < 2**31 for item in suite.items)


def test_the_hash_is_fixed_because_published_scores_name_it(suite):
    assert suite.sha256 == SHA256


def test_every_family_and_every_polyphony_has_the_same_share(suite):
    assert kinds(suite.items, "family") == dict.fromkeys(FAMILIES, 44)
    assert kinds(suite.items, "polyphony") == dict.fromkeys(POLYPHONIES, 77)
    cells = Counter((item.strata["family"], item.strata["polyphony"]) for item in suite.items)
    assert set(cells.values()) == {11}


def test_every_attribute_is_stated_in_every_family_and_polyphony_both_ways_round(suite):
    stated = Counter()
    for family in FAMILIES:
        for polyphony in POLYPHONIES:
            of_cell = {"family": family, "polyphony": polyphony}
            said = {
                word
                for item in suite.items
                if of_cell.items() <= item.strata.items()
                for word in item.strata["attributes"].split()
            }
            assert all(said & set(pair) for pair in ATTRIBUTES.values()), of_cell
    for item in suite.items:
        stated.update(item.strata["attributes"].split())
    assert set(stated) == {word for pair in ATTRIBUTES.values() for word in pair} | {"none"}
    assert min(stated.values()) >= 15
    assert stated["none"] == pytest.approx(5 / 11 * len(suite.items), abs=5)


def test_captions_are_plain_sentences(suite):
    for item in suite.items:
        assert 4 <= len(item.caption.split()) <= 30, item.caption
        assert item.caption == " ".join(item.caption.split()), item.caption
        assert re.fullmatch(r"[A-Z][A-Za-z' ,-]*[a-z]", item.caption), item.caption


def test_no_two_captions_are_one_sentence_with_a_word_changed(suite):
    """No pair shares most of its words: these are not fillings of a template."""
    sets = [(frozenset(words(item.caption)), item.caption) for item in suite.items]
    for index, (own, caption) in enumerate(sets):
        for other, second in sets[index + 1 :]:
            assert len(own & other) <= 0.6 * len(own | other), (caption, second)


@pytest.mark.parametrize("limit", [28, 56, 100, 200])
def test_a_subset_keeps_the_shares(suite, limit):
    taken = suite.take(limit)
    assert len({item.id for item in taken}) == limit
    families, polyphonies = kinds(taken, "family"), kinds(taken, "polyphony")
    assert set(families) == FAMILIES
    assert max(families.values()) - min(families.values()) <= 1
    assert set(polyphonies) == POLYPHONIES
    assert max(polyphonies.values()) - min(polyphonies.values()) <= 2


def test_subsets_are_nested(suite):
    ids = [item.id for item in suite.take()]
    for limit in (1, 7, 28, 150):
        assert [item.id for item in FoleyCaptions().take(limit)] == ids[:limit]


def test_there_is_no_reference_audio(suite):
    assert all(item.reference is None and suite.reference_audio(item) is None for item in suite.items)


def test_the_file_is_also_a_caption_file_and_its_attributes_are_in_fixed_words(suite):
    with resources.as_file(resources.files("admbench.bench.suites").joinpath(FoleyCaptions.file)) as path:
        copy = CaptionFile(path)
        with open(path, encoding="ascii", newline="") as file:
            rows = list(csv.DictReader(file))
    assert [(i.id, i.caption, i.seed) for i in copy.items] == [(i.id, i.caption, i.seed) for i in suite.items]
    assert [row["id"] for row in rows] == [f"{r['family']}-{r['polyphony']}-{r['id'][-2:]}" for r in rows]
