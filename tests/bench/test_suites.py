"""What suites promise: fixed captions, seeds and references; nested, balanced subsets; clear words on broken files."""

import hashlib
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from admbench.bench.suites import BUILTIN, calibration_prompts, load_suite, register, registry
from admbench.bench.suites.base import Suite, SuiteItem, stratified
from admbench.bench.suites.corpus import corpus
from admbench.bench.suites.foley import Foley, compose
from admbench.errors import DataError, UsageError


@pytest.fixture(scope="module")
def foley():
    return load_suite("foley")


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(path):
    with pytest.raises(DataError) as caught:
        load_suite(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# --- foley ---


def test_foley_has_at_least_240_different_captions_with_a_seed_each(foley):
    assert len(foley.items) >= 240
    assert len({item.caption for item in foley.items}) == len(foley.items)
    assert len({item.id for item in foley.items}) == len(foley.items)
    assert len({item.seed for item in foley.items}) == len(foley.items)
    assert foley.split == "test"
    assert all(foley.clip(item).split == "test" for item in foley.items)


def test_foley_is_balanced(foley):
    assert set(Counter(item.strata["event"] for item in foley.items).values()) == {10}
    assert Counter(i.strata["structure"] for i in foley.items) == {"single": 156, "simultaneous": 65, "sequential": 39}


def test_the_hash_of_foley_is_that_of_its_file(foley):
    from admbench.bench.suites import foley as module

    path = module.__file__.replace("foley.py", "foley.jsonl")
    with open(path, "rb") as file:
        assert foley.sha256 == hashlib.sha256(file.read()).hexdigest()


def test_references_carry_the_event_of_their_caption(foley):
    for item in foley.items[::20]:
        clip = foley.clip(item)
        assert clip.caption == item.caption
        assert item.strata["event"] in {event.name for event in clip.events}
        audio = foley.reference_audio(item)
        assert audio.shape == (corpus.CLIP_SAMPLES,)
        assert audio.dtype == np.float32
        assert np.array_equal(audio, corpus.render(clip))


def test_the_file_is_what_the_corpus_composes(foley):
    """Captions and specifications everywhere; the hashes of the clips where this machine renders the shipped bits."""
    shipped = list(map(json.loads, foley.lines))
    composed = [json.loads(line) for line in compose().splitlines()]
    if not corpus.check_corpus().bit_identical:
        for line in (*shipped, *composed):
            line.pop("reference_sha256")
    assert composed == shipped


def test_foley_is_also_a_caption_file_of_its_own(foley, tmp_path):
    copy = load_suite(write(tmp_path, "copy.jsonl", foley._bytes))
    assert [(i.id, i.caption, i.seed) for i in copy.items] == [(i.id, i.caption, i.seed) for i in foley.items]


# --- subsets ---


@pytest.mark.parametrize("limit", [26, 48, 96, 200])
def test_a_subset_is_balanced_over_events_and_structures(foley, limit):
    taken = foley.take(limit)
    assert len(taken) == len({item.id for item in taken}) == limit
    events = Counter(item.strata["event"] for item in taken)
    assert len(events) == 26
    assert max(events.values()) - min(events.values()) <= 1
    structures = Counter(item.strata["structure"] for item in taken)
    for structure, share in (("single", 0.6), ("simultaneous", 0.25), ("sequential", 0.15)):
        assert structures[structure] == pytest.approx(share * limit, abs=1.5)


def test_subsets_are_nested_and_the_same_every_time(foley):
    ids = [item.id for item in foley.take(None)]
    assert sorted(ids) == sorted(item.id for item in foley.items)
    for limit in (1, 48, 96, 260):
        assert [item.id for item in Foley().take(limit)] == ids[:limit]


def test_a_limit_beyond_the_suite_is_the_whole_suite_and_one_below_1_is_an_error(foley):
    assert len(foley.take(10_000)) == len(foley.items)
    for limit in (0, -3):
        with pytest.raises(UsageError, match=rf"--limit must be at least 1, got {limit}"):
            foley.take(limit)


def test_items_without_strata_keep_their_order():
    items = [SuiteItem(str(number), "x", number) for number in range(50)]
    assert stratified(items) == items


def test_unequal_strata_are_kept_in_proportion():
    items = [SuiteItem(str(n), "x", n, strata={"kind": "rare" if n < 10 else "common"}) for n in range(100)]
    for size in (10, 20, 50, 90):
        rare = sum(item.strata["kind"] == "rare" for item in stratified(items)[:size])
        assert rare == pytest.approx(size / 10, abs=1)


# --- finding suites ---


def test_an_unknown_suite_names_the_nearest():
    with pytest.raises(UsageError, match=r'unknown suite "foly"\. Did you mean "foley"'):
        load_suite("foly")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = write(tmp_path, "captions.xlsx", "x")
    with pytest.raises(UsageError, match=r"captions.xlsx: not a caption file \(expected .csv, .jsonl, .txt"):
        load_suite(path)


def test_the_listing_needs_no_numpy_and_tells_what_foley_is():
    code = (
        "import sys; from admbench.bench.suites import registry; info = registry.info('foley'); "
        "assert '260 captions' in info.summary and info.unavailable is None; "
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert registry.names()[: len(BUILTIN)] == list(BUILTIN)


def test_a_registered_suite_loads_by_name():
    @register("two-words-for-a-test")
    class TwoWords(Suite):
        name = "two-words-for-a-test"
        summary = "two captions"
        split = "none"
        items = (SuiteItem("a", "one", 1), SuiteItem("b", "two", 2))
        sha256 = "0" * 64

    suite = load_suite("two-words-for-a-test")
    assert [item.caption for item in suite.take(1)] == ["one"]
    assert suite.reference_audio(suite.items[0]) is None


def test_calibration_prompts_are_nested_and_of_no_suite_clip(foley):
    prompts = calibration_prompts(64)
    assert len(prompts) == 64
    assert calibration_prompts(16) == prompts[:16]
    other = calibration_prompts(64, draw=1)
    assert len(set(prompts) & set(other)) < 8  # short captions come up again
    assert len(set(prompts)) > 60
    with pytest.raises(UsageError, match="at least 1 prompt, got 0"):
        calibration_prompts(0)


def test_many_calibration_prompts_are_drawn_under_a_bar(terminal):
    assert len(calibration_prompts(3)) == 3
    assert "Calibration prompts" in terminal.readouterr().err


# --- users' files ---


def test_csv_jsonl_and_txt_of_the_same_captions_are_the_same_suite(tmp_path):
    as_csv = load_suite(write(tmp_path, "a.csv", 'caption\r\n"a dog, barking"\r\nrain\r\n'))
    as_jsonl = load_suite(write(tmp_path, "a.jsonl", '{"caption": "a dog, barking"}\n\n{"caption": "rain"}\n'))
    as_txt = load_suite(write(tmp_path, "a.txt", "\ufeffa dog,  barking \n\n rain"))
    assert as_csv.items == as_jsonl.items == as_txt.items
    assert as_csv.sha256 == as_jsonl.sha256 == as_txt.sha256
    assert as_csv.name == "a.csv"
    assert [item.caption for item in as_csv.items] == ["a dog, barking", "rain"]
    assert [item.id for item in as_csv.items] == ["row-00001", "row-00002"]
    assert len({item.seed for item in as_csv.items}) == 2
    assert as_csv.reference_audio(as_csv.items[0]) is None


def test_given_ids_and_seeds_are_kept_and_other_columns_do_not_matter(tmp_path):
    path = write(
        tmp_path, "a.csv", "youtube_id,start_time,caption,caption_2,id,seed\nabc,30,rain,x,rain-1,7\nabd,60,wind,y,,\n"
    )
    first, second = load_suite(path).items
    assert (first.id, first.seed) == ("rain-1", 7)
    assert second.id == "row-00002"
    path = write(tmp_path, "a.jsonl", '{"caption": "rain", "id": 12, "seed": 9223372036854775807}')
    assert (load_suite(path).items[0].id, load_suite(path).items[0].seed) == ("12", 2**63 - 1)


def test_a_derived_seed_stays_when_rows_are_added_below(tmp_path):
    before = load_suite(write(tmp_path, "a.txt", "rain\nwind\n")).items
    after = load_suite(write(tmp_path, "a.txt", "rain\nwind\nsnow\n")).items
    assert after[:2] == before


def test_references_are_read_from_beside_the_file(tmp_path):
    (tmp_path / "audio").mkdir()
    time = np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "audio" / "a.wav", np.stack([tone, tone], 1), 8000)
    path = write(tmp_path, "a.csv", "caption,reference\na tone,audio/a.wav\nsilence,\n")
    suite = load_suite(path)
    hash_before = suite.sha256
    audio = suite.reference_audio(suite.items[0])
    assert audio.dtype == np.float32
    assert len(audio) == pytest.approx(16_000, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(audio))) == pytest.approx(440, abs=2)
    assert suite.reference_audio(suite.items[1]) is None
    soundfile.write(tmp_path / "audio" / "a.wav", 0.9 * tone, 8000)
    assert load_suite(path).sha256 != hash_before


@pytest.mark.parametrize(
    "caption",
    [
        "\u0628\u0627\u0631\u0627\u0646 \u0645\u06cc\u200c\u0628\u0627\u0631\u062f",
        "\U0001f469\u200d\U0001f3a4 sings \u2764\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f waves",
        "\u05d2\u05e9\u05dd\u200f (rain)",
        "thunder\u00adstorm",
    ],
    ids=["Persian", "joined emoji", "the flag of England", "Hebrew", "soft hyphen"],
)
def test_characters_that_cannot_be_seen_and_belong_to_the_text_are_kept(tmp_path, caption):
    (tmp_path / "a.csv").write_text(f"caption\n{caption}\n", encoding="utf-8")
    assert [item.caption for item in load_suite(tmp_path / "a.csv").items] == [caption]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "", ["no captions in it; expected at least one"]),
        ("a.csv", "caption\n", ["no captions in it"]),
        ("a.txt", " \n\n", ["no captions in it"]),
        ("a.jsonl", "", ["no captions in it"]),
        ("a.csv", "text,id\nrain,1\n", [":1: ", 'no column "caption"', "text, id"]),
        ("a.csv", "captions\nrain\n", [":1: ", 'unknown column "captions". Did you mean "caption"']),
        ("a.csv", "caption,refrence\nrain,a.wav\n", [":1: ", 'Did you mean "reference"']),
        ("a.csv", "captions,seeds\nrain,1\n", [":1: ", 'Did you mean "caption"']),
        ("a.csv", "caption,caption\nrain,wind\n", [":1: ", 'column "caption" comes twice']),
        ("a.csv", "caption,id\nrain,1\n,2\n", [":3: ", "the caption is missing"]),
        ("a.csv", "caption,id\nrain,1\nwind,1\n", [":3: ", 'id "1" is already that of line 2']),
        ("a.csv", "caption\na dog, barking\n", [":2: ", "needs quotation marks"]),
        ("a.csv", 'caption\nrain\n"wind\n', ["a.csv:", "not valid CSV"]),
        ("a.csv", "caption,seed\nrain,1.5\n", [":2: ", "seed as an integer", "'1.5'"]),
        ("a.csv", "caption,seed\nrain,-1\n", [":2: ", "seed as an integer", "'-1'"]),
        ("a.csv", "caption,id\nrain,../../x\n", [":2: ", "expected an id", "'../../x'"]),
        ("a.csv", "caption\nrain\x07\n", [":2: ", "cannot be printed"]),
        ("a.csv", f"caption\n{'rain ' * 500}\n", [":2: ", "2,499 characters", "at most 2,000"]),
        ("a.csv", "caption\nrain\u202e\n", [":2: ", "cannot be printed"]),
        ("a.csv", b"caption\nrain\nv\xf6gel\n", [":3: ", "expected UTF-8 text, found byte 0xf6"]),
        ("a.txt", "rain".encode("utf-16"), [":1: ", "expected UTF-8 text", "encoding"]),
        ("a.jsonl", '{"caption": "rain"}\n{"caption": \n', [":2: ", "expected one JSON object"]),
        ("a.jsonl", '{"caption": "rain", "caption": "wind"}\n', [":1: ", "the key 'caption' comes twice"]),
        ("a.jsonl", '{"caption": "rain"}\n["wind"]\n', [":2: ", "expected a JSON object", "found a list"]),
        ("a.jsonl", '{"text": "rain"}\n', [":1: ", 'no column "caption"']),
        ("a.jsonl", '{"caption": 3}\n', [":1: ", "caption as text, found a number"]),
        ("a.jsonl", '{"caption": "rain", "seed": true}\n', [":1: ", "seed as an integer", "True"]),
        ("a.jsonl", '{"caption": "rain", "seed": 9223372036854775808}\n', [":1: ", "2**63 - 1"]),
        ("a.jsonl", '{"caption": "\\ud800"}\n', [":1: ", "cannot be printed"]),
        ("a.jsonl", "[" * 100_000, [":1: ", "not JSON"]),
        ("a.csv", "caption,reference\nrain,gone.wav\n", [":2: ", "'gone.wav' is not there; expected an audio file"]),
        ("a.csv", "caption,reference\nrain,../a.wav\n", [":2: ", "relative path inside"]),
        ("a.csv", "caption,reference\nrain,/etc/hostname\n", [":2: ", "relative path inside"]),
        ("a.jsonl", '{"caption": "rain", "reference": "a\\u0000.wav"}\n', [":1: ", "is not a path"]),
        ("a.jsonl", '{"caption": "rain", "reference": 1}\n', [":1: ", "reference as a path, found a number"]),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_says_where_and_what_was_expected(tmp_path, name, content, expected):
    text = message(write(tmp_path, name, content))
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    "caption",
    [
        "\u0628\u0627\u0631\u0627\u0646 \u0645\u06cc\u200c\u0628\u0627\u0631\u062f",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 talk",
    ],
)
def test_joiners_that_scripts_and_emoji_are_written_with_are_text(tmp_path, caption):
    assert load_suite(write(tmp_path, "a.txt", f"{caption}\n")).items[0].caption == caption


def test_a_reference_may_not_leave_its_folder_by_a_link(tmp_path):
    (tmp_path / "suite").mkdir()
    write(tmp_path, "outside.wav", "x")
    (tmp_path / "suite" / "inside.wav").symlink_to(tmp_path / "outside.wav")
    assert "inside the caption file's folder" in message(
        write(tmp_path / "suite", "a.csv", "caption,reference\nx,inside.wav")
    )


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such caption file" in message(tmp_path / "gone.csv")
    assert "no such caption file" in message(tmp_path / "gone")
    (tmp_path / "folder.csv").mkdir()
    assert "expected a regular file" in message(tmp_path / "folder.csv")
