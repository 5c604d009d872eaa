"""What importing promises: AudioCaps, Clotho and plain files with a folder of clips, of which none gets lost unseen."""

import csv
import io
import json
import os

import numpy as np
import pytest
import soundfile

from admbench.bench.run.grid import load_grid
from admbench.bench.suites import load_suite
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import DataError, UsageError

AUDIOCAPS = "audiocap_id,youtube_id,start_time,caption"
CLOTHO = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5"
FIRST, SECOND = "abcdefghi-0", "-bcdefghi_1"
FIVE = [f"a caption, number {number}" for number in range(1, 6)]


def table(path, header, rows):
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *rows])
    path.write_text(text.getvalue())
    return path


@pytest.fixture
def audiocaps(tmp_path):
    """Two clips with five captions each, whose rows are mixed as in the published files."""
    rows = [[100 + 2 * n, FIRST, 30, caption] for n, caption in enumerate(FIVE)]
    rows += [[101 + 2 * n, SECOND, 130, f"other, {caption}"] for n, caption in enumerate(FIVE)]
    return table(tmp_path / "test.csv", AUDIOCAPS, sorted(rows))


@pytest.fixture
def clotho(tmp_path):
    rows = [["Rain (1).wav", *FIVE], ["rain.wav", *(f"other, {caption}" for caption in FIVE)]]
    return table(tmp_path / "evaluation.csv", CLOTHO, rows)


@pytest.fixture
def clips(tmp_path):
    """Make files in a folder of clips; each is a tone of its own."""
    folder = tmp_path / "clips"
    folder.mkdir()

    def make(*names):
        for number, name in enumerate(names, start=1):
            tone = 0.1 * number * np.sin(np.arange(1600) / 10)
            soundfile.write(folder / name, tone, 16_000)
        return folder

    return make


def load(file, **options):
    return load_suite(CaptionFileSpec(file=file, **options))


def refused(error, file, **options):
    with pytest.raises(error) as caught:
        load(file, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- AudioCaps ---


def test_audiocaps_is_recognised_and_gives_the_first_caption_of_a_clip(audiocaps):
    suite = load_suite(audiocaps)
    assert [(item.id, item.caption) for item in suite.items] == [
        (f"{FIRST}_30", FIVE[0]),
        (f"{SECOND}_130", f"other, {FIVE[0]}"),
    ]
    assert suite.captions == "first"
    assert suite.missing == frozenset()
    assert suite.describe(suite.items)["references"] == {"found": 0, "missing": 0, "first_missing": []}


def test_audiocaps_gives_all_captions_of_a_clip_when_asked_to(audiocaps):
    suite = load(audiocaps, captions="all")
    assert suite.captions == "all"
    assert len(suite.items) == len({item.id for item in suite.items}) == 10
    first = [item for item in suite.items if item.id.startswith(FIRST)]
    assert [item.id for item in first] == [f"{FIRST}_30_{number}" for number in range(1, 6)]
    assert [item.caption for item in first] == FIVE
    assert suite.sha256 != load_suite(audiocaps).sha256


@pytest.mark.parametrize(
    "name",
    [
        f"{FIRST}.wav",
        f"Y{FIRST}.wav",
        f"{FIRST}_30.flac",
        f"Y{FIRST}_30.wav",
        f"{FIRST}_30_40.wav",
        f"{FIRST}_30.000_40.000.wav",
        f"Y{FIRST}_30.000.wav",
        f"{FIRST}_30000_40000.WAV",
        "100.wav",
    ],
)
def test_clips_of_audiocaps_are_found_by_their_usual_names(audiocaps, clips, name):
    suite = load(audiocaps, audio=clips(name))
    first, second = suite.items
    assert first.reference == name
    assert len(suite.reference_audio(first)) == 1600
    assert second.reference is None
    assert suite.missing == {second.id}


def test_all_captions_of_a_clip_have_its_audio(audiocaps, clips):
    suite = load(audiocaps, audio=clips(f"Y{FIRST}.wav"), captions="all")
    found = [item for item in suite.items if item.reference]
    assert len(found) == 5
    assert all(np.array_equal(suite.reference_audio(item), suite.reference_audio(found[0])) for item in found)
    assert len(suite.missing) == 5


@pytest.mark.parametrize("start", ["30", "30.0", "30.000"])
def test_the_start_of_a_clip_is_a_number_however_it_is_written(tmp_path, start):
    file = table(tmp_path / "a.csv", AUDIOCAPS, [[1, FIRST, start, "rain"]])
    assert load_suite(file).items[0].id == f"{FIRST}_30"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1, "#NAME?", 30, "rain"], [":2: ", 'column "youtube_id"', "'#NAME?'"]),
        ([1, "", 30, "rain"], [":2: ", 'column "youtube_id"', "found ''"]),
        ([1, FIRST, "0:30", "rain"], [":2: ", 'expected seconds in column "start_time"', "'0:30'"]),
        ([1, FIRST], [":2: ", 'column "start_time"', "found None"]),
        ([1, FIRST, 30, " "], [":2: ", 'the caption is missing; expected some text in column "caption"']),
    ],
)
def test_a_broken_row_of_audiocaps_is_refused_with_its_line_and_column(tmp_path, row, expected):
    file = table(tmp_path / "a.csv", AUDIOCAPS, [row])
    text = refused(DataError, file)
    assert str(file) in text
    for part in expected:
        assert part in text


# --- Clotho ---


def test_clotho_is_recognised_and_its_file_names_become_safe_ids(clotho, clips):
    suite = load(clotho, audio=clips("Rain (1).wav", "rain.wav"))
    assert [item.caption for item in suite.items] == [FIVE[0], f"other, {FIVE[0]}"]
    assert [item.reference for item in suite.items] == ["Rain (1).wav", "rain.wav"]
    assert suite.items[0].id.startswith("rain-1-")
    assert suite.items[1].id == "rain"
    assert (suite.captions, suite.missing) == ("first", frozenset())


def test_clotho_gives_all_five_captions_when_asked_to(clotho):
    suite = load(clotho, captions="all")
    assert [item.caption for item in suite.items[:5]] == FIVE
    assert [item.id for item in suite.items[5:]] == [f"rain_{number}" for number in range(1, 6)]


def test_a_file_in_another_encoding_is_read_where_that_is_said_and_never_guessed_at(clotho, tmp_path):
    in_utf8 = clotho.read_text(encoding="utf-8").replace("other, ", "caf\u00e9, ")
    clotho.write_text(in_utf8, encoding="utf-8")
    other = tmp_path / "latin.csv"
    other.write_bytes(in_utf8.encode("iso-8859-1"))
    suite = load(other, encoding="iso-8859-1")
    assert suite.items[1].caption == f"caf\u00e9, {FIVE[0]}"
    assert suite.sha256 == load(clotho).sha256
    text = refused(DataError, other)
    assert ":3: expected UTF-8 text, found byte 0xe9" in text
    assert "iso-8859-1" in text
    assert "iconv" in text


def test_a_broken_row_of_clotho_is_refused_with_its_line_and_column(tmp_path):
    file = table(tmp_path / "a.csv", CLOTHO, [["a.wav", *FIVE], ["b.wav", "rain", "rain", "", "rain", "rain"]])
    assert len(load_suite(file).items) == 2
    text = refused(DataError, file, captions="all")
    assert f'{file}:3: the caption is missing; expected some text in column "caption_3"' in text
    for name in ("../a.wav", "", "a.txt"):
        file = table(tmp_path / "a.csv", CLOTHO, [[name, *FIVE]])
        assert f'{file}:2: expected an audio file\'s name in column "file_name", found {name!r}' in refused(
            DataError, file
        )


# --- plain files with a folder of clips ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_plain_file_takes_clips_from_a_folder_by_reference_or_id(tmp_path, clips, suffix):
    rows = [("rain", "a", "thunder.wav"), ("wind", "b", ""), ("snow", "c", "")]
    file = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        table(file, "caption,id,reference", rows)
    else:
        file.write_text(
            "".join(json.dumps(dict(zip(("caption", "id", "reference"), row, strict=True))) + "\n" for row in rows)
        )
    suite = load(file, audio=clips("thunder.wav", "b.flac", "unrelated.wav"))
    assert [item.reference for item in suite.items] == ["thunder.wav", "b.flac", None]
    assert suite.missing == {"c"}
    assert suite.captions is None


def test_the_hash_holds_the_bytes_of_the_clips(audiocaps, clips):
    folder = clips(f"{FIRST}.wav")
    before = load(audiocaps, audio=folder).sha256
    soundfile.write(folder / f"{FIRST}.wav", np.zeros(1600), 16_000)
    assert load(audiocaps, audio=folder).sha256 != before


def test_missing_clips_are_counted_among_the_captions_in_use_and_the_first_are_named(tmp_path, clips):
    rows = [[number, f"{number:011d}", 0, f"rain {number}"] for number in range(20)]
    file = table(tmp_path / "a.csv", AUDIOCAPS, rows)
    suite = load(file, audio=clips(*(f"{number:011d}.wav" for number in range(10))))
    section = suite.describe(suite.take(18))
    assert (section["n"], section["captions"]) == (18, "first")
    missing = [f"{number:011d}_0" for number in range(10, 15)]
    assert section["references"] == {"found": 10, "missing": 8, "first_missing": missing}


# --- mistakes ---


def test_a_format_that_the_header_does_not_have_is_refused(tmp_path):
    file = table(tmp_path / "a.csv", "youtube_id,caption", [[FIRST, "rain"]])
    text = refused(DataError, file, format="audiocaps")
    assert f'{file}:1: no column "audiocap_id" (columns found: youtube_id, caption)' in text
    assert "format audiocaps needs audiocap_id, youtube_id, start_time, caption" in text
    assert load(file, format="plain").items[0].caption == "rain"


def test_a_clip_with_two_files_is_refused_because_only_one_can_be_meant(audiocaps, clips):
    text = refused(DataError, audiocaps, audio=clips(f"{FIRST}.wav", f"Y{FIRST}.flac"))
    assert f"{audiocaps}:2: " in text
    assert f"2 files for one clip: {FIRST}.wav, Y{FIRST}.flac" in text


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/nowhere", path)])
def test_a_clip_that_is_no_regular_file_is_refused_and_not_waited_for(audiocaps, clips, make):
    folder = clips()
    make(folder / f"{FIRST}.wav")
    text = refused(DataError, audiocaps, audio=folder)
    assert text == f"{audiocaps}:2: {folder / FIRST}.wav: expected a regular file"


def test_a_folder_without_any_of_the_clips_or_no_folder_is_refused(audiocaps, clips, tmp_path):
    folder = clips("other.wav")
    assert f"{folder}: has no clip of {audiocaps}; expected files such as {FIRST}.wav" in refused(
        DataError, audiocaps, audio=folder
    )
    assert "gone: expected a folder of reference clips" in refused(DataError, audiocaps, audio=tmp_path / "gone")


def test_a_reference_with_a_folder_is_not_the_name_of_a_clip(tmp_path, clips):
    file = table(tmp_path / "a.csv", "caption,reference", [["rain", "../a.wav"]])
    assert f"{file}:2: expected the reference as the name of a file" in refused(DataError, file, audio=clips("a.wav"))


def test_options_that_do_not_fit_the_file_are_refused(tmp_path):
    plain = tmp_path / "a.txt"
    plain.write_text("rain\n")
    assert 'captions = "all" is for audiocaps and clotho' in refused(UsageError, plain, captions="all")
    assert 'format = "clotho" is for .csv files' in refused(UsageError, plain, format="clotho")
    assert "foley: not a caption file (expected .csv, .jsonl, .txt)" in refused(UsageError, "foley")


# --- in a grid ---


GRID = 'models = ["tiny-tango"]\nmethods = ["fp32"]\n'


def test_a_grid_names_a_caption_file_with_its_options_and_a_flag_replaces_all_of_it(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID + '[suite]\nfile = "a.csv"\nformat = "audiocaps"\naudio = "clips/"\ncaptions = "all"\n')
    expected = CaptionFileSpec(file="a.csv", format="audiocaps", audio="clips", captions="all")
    assert load_grid(grid, {}).suite == expected
    assert load_grid(grid, {"suite": "foley"}).suite == "foley"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('file = "a.csv"\naudi = "x"', 'unknown key "suite.audi". Did you mean "audio"?'),
        ('audio = "x"', 'key "suite.file" is missing'),
        ('file = "a.csv"\nencoding = "latin"', "suite.encoding: input should be 'utf-8', 'iso-8859-1' or"),
        ('file = "a.csv"\ncaptions = "some"', "suite.captions: input should be 'first' or 'all'; found 'some'"),
    ],
)
def test_a_mistake_in_the_suites_table_names_file_and_key(tmp_path, lines, message):
    grid = tmp_path / "grid.toml"
    grid.write_text(f"{GRID}[suite]\n{lines}\n")
    with pytest.raises(UsageError) as caught:
        load_grid(grid, {})
    assert str(caught.value).startswith(f"{grid}: ")
    assert message in str(caught.value)
