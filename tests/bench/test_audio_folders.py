"""Every entry of a folder of audio is scored, left out for a stated reason, or an error; captions go by one rule."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import admbench
from admbench.bench.cli.app import main
from admbench.bench.scoring.audio_folder import read_audio_folder
from admbench.bench.scoring.captions import give_captions
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.suites import load_suite
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import DataError

RATE = 16_000


def tone(file: Path, seconds: float = 1.0, hertz: float = 440) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)
    soundfile.write(file, wave, RATE, format="WAV")
    return file


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips."""
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    tone(tmp_path / "made" / "a.wav")
    tone(tmp_path / "made" / "b.WAVE", hertz=880)
    return tmp_path / "made"


def test_what_is_no_clip_is_left_out_for_a_stated_reason(made: Path) -> None:
    tone(made / "within" / "c.wav")
    for name in ("._a.wav", ".DS_Store", "song.m4a", "notes.txt"):
        (made / name).write_text("no audio")
    found = read_audio_folder(made)
    assert [clip.name for clip in found.clips] == ["a", "b"]
    assert found.left_out == {
        "._a.wav": "a note of macOS on another file",
        ".DS_Store": "a hidden file",
        "notes.txt": "its suffix is of no audio format that is read",
        "song.m4a": "its suffix is of no audio format that is read",
        "within/": "a folder within; name it to score what is in it",
    }


def test_beside_the_folder_of_a_run_other_audio_is_left_out_and_said(tmp_path: Path) -> None:
    write_clips(tmp_path, ["a"], ["rain"], [0], [np.zeros(RATE, np.float32)], RATE)
    tone(tmp_path / "beside.wav")
    tone(tmp_path / "audio" / "more.wav")
    found = read_audio_folder(tmp_path)
    assert [(clip.name, clip.caption) for clip in found.clips] == [("a", "rain")]
    assert found.left_out == {
        "beside.wav": "beside the folder audio/, whose clips are read",
        "more.wav": "not listed in captions.json",
    }


def test_a_folder_of_folders_says_where_its_audio_may_be(tmp_path: Path) -> None:
    tone(tmp_path / "set" / "rain" / "a.wav")
    with pytest.raises(DataError, match=r"set: no audio; .*; found rain/ \(a folder within; name it"):
        read_clips(tmp_path / "set")


def test_all_files_that_cannot_be_scored_are_named_at_once(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(made / "pipe.wav")
    (made / "gone.wav").symlink_to(made / "nowhere")
    data = tone(made / "cut.wav", seconds=6).read_bytes()
    (made / "cut.wav").write_bytes(data[: len(data) // 3])
    bad = tone(made.parent / "real" / "a.wav")
    bad.write_text("no audio")
    (made / "caf\udce9.wav").write_text("no audio")
    command = ["score", "--generated", str(made), "--reference", str(bad.parent), "--metrics", "fd"]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: 5 files cannot be scored: ")
    for part in (
        "cut.wav: cut off: its header says 192000 bytes",
        "gone.wav: no such file",
        "pipe.wav: no regular file",
        "real/a.wav: not a readable audio file",
        "caf\\udce9.wav: not a readable audio file",
    ):
        assert part in line


def test_every_command_that_reads_folders_says_what_it_left_out(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "song.m4a").write_text("no audio")
    folders = ["--generated", str(made), "--baseline", str(made)]
    expected = "left out of the generated folder: song.m4a: its suffix is of no audio format that is read"
    assert main(["score", *folders, "--metrics", "lmd", "--quiet"]) == 0
    assert expected in capsys.readouterr().err.splitlines()
    assert main(["gate", *folders, "--max", "lmd_vs_baseline=1", "--allow-undecided", "--quiet"]) == 0
    assert f"warning: {expected}" in capsys.readouterr().err.splitlines()
    folders[2] = "--reference"
    convention = ["--convention", "audioldm_eval", "--tagger", "tiny-tagger"]
    assert main(["score", *folders, *convention, "--quiet"]) == 0
    assert expected in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"id": "a", "caption": "x", "file": "../a.wav"}, r'entry 0: "file" must be a path within the folder'),
        ({"id": "a", "caption": "x", "file": ["a.wav"]}, r'entry 0: "file" must be a path'),
        ({"id": "a", "caption": "x"}, r"audio/a\.wav: no such file"),
    ],
)
def test_captions_json_lists_what_is_there(entry: dict[str, object], expected: str, made: Path) -> None:
    (made / "captions.json").write_text(json.dumps([entry]))
    with pytest.raises(DataError, match=expected):
        read_clips(made)


def test_a_clip_much_shorter_than_its_partner_is_said(made: Path) -> None:
    full = made.parent / "full"
    tone(full / "a.wav", seconds=3)
    tone(full / "b.wav", hertz=880)
    report = admbench.score_report(made, baseline=full, metrics=["lmd"])
    assert report["sets"]["baseline"]["shorter"] == {"generated": ["a"], "baseline": []}
    with pytest.raises(DataError, match=r"clip a is 1\.00 s long and its baseline 3\.00 s, one of 1 that differ"):
        admbench.gate_folders(made, full, margins=["lmd_vs_baseline=1"])


# captions by name

CLOTHO = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
NAMES = ["Rain (1)", "\u0434\u043e\u0436\u0434\u044c (2)", "a b", "c#d", "plain"]


@pytest.fixture
def named(tmp_path: Path) -> Path:
    for name in NAMES:
        tone(tmp_path / "named" / f"{name}.wav")
    return tmp_path / "named"


def captions_file(folder: Path, kind: str) -> Path:
    header, row = {
        "clotho": (CLOTHO, "{0}.wav,of {0},v,w,x,y\n"),
        "ids": ("id,caption\n", "{0},of {0}\n"),
        "file names": ("caption,file_name\n", "of {0},{0}.wav\n"),
        "references": ("caption,id,reference\n", "of {0},own-{1},named/{0}.wav\n"),
    }[kind]
    file = folder / "captions.csv"
    file.write_text(header + "".join(row.format(name, number) for number, name in enumerate(NAMES)), encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["clotho", "ids", "file names", "references"])
def test_any_names_of_files_are_found_by_score_and_by_run(named: Path, kind: str) -> None:
    file = captions_file(named.parent, kind)
    found = give_captions({"generated": read_clips(named)}, str(file))
    assert {clip.id: clip.caption for clip in found.clips["generated"]} == {name: f"of {name}" for name in NAMES}
    if kind != "references":  # with `audio` these are names in the folder, without one paths beside the file
        suite = load_suite(CaptionFileSpec(file=file, audio=named))
        assert [item.reference for item in suite.items] == [f"{name}.wav" for name in NAMES]
        assert all(item.id.isascii() and " " not in item.id for item in suite.items)


def test_clips_of_a_run_and_real_clips_under_their_own_names_are_pairs(named: Path) -> None:
    file = captions_file(named.parent, "clotho")
    items = load_suite(file).items
    run = named.parent / "run"
    write_clips(run, [i.id for i in items], [i.caption for i in items], range(5), [np.ones(RATE, np.float32)] * 5, RATE)
    clips = {"generated": read_clips(run), "reference": read_clips(named)}
    found = give_captions(clips, str(file)).clips
    assert {clip.id for clip in found["reference"]} == {clip.id for clip in found["generated"]} == {i.id for i in items}


def test_the_same_letters_composed_or_not_are_one_name(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "cafe\u0301.wav")
    (tmp_path / "a.csv").write_text("id,caption\ncaf\u00e9,a bar\n", encoding="utf-8")
    (clip,) = give_captions({"generated": read_clips(tmp_path / "clips")}, str(tmp_path / "a.csv")).clips["generated"]
    assert (clip.id, clip.caption) == ("caf\u00e9", "a bar")


def test_several_clips_of_a_caption_have_a_number_behind_its_name(tmp_path: Path) -> None:
    for name in ("rain", "rain_1", "rain-2", "rain (3)", "rain_1_4", "wind"):
        tone(tmp_path / "clips" / f"{name}.wav")
    (tmp_path / "a.csv").write_text("id,caption\nrain,R\nrain_1,other\nwind,W\nsnow,S\n")
    found = give_captions({"generated": read_clips(tmp_path / "clips")}, str(tmp_path / "a.csv"))
    assert {clip.id: clip.caption for clip in found.clips["generated"]} == {
        "rain": "R",
        "rain_1": "other",
        "rain-2": "R",
        "rain (3)": "R",
        "rain_1_4": "other",
        "wind": "W",
    }
    assert (found.without_clip, found.repeated) == (("snow",), 2)


def test_the_start_of_an_audiocaps_clip_is_no_number_of_a_clip(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("audiocap_id,youtube_id,start_time,caption\n7,abcdefghijk,30,rain\n")
    tone(tmp_path / "clips" / "abcdefghijk_60.wav")
    with pytest.raises(DataError, match="no caption for clip abcdefghijk_60; its captions are of abcdefghijk_30"):
        give_captions({"generated": read_clips(tmp_path / "clips")}, str(tmp_path / "a.csv"))


def test_a_clip_that_could_be_of_two_captions_is_an_error(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text("id,caption,reference\none,x,a.wav\ntwo,y,a.wav\n")
    with pytest.raises(DataError, match="clip a could be of one and of two"):
        give_captions({"generated": read_clips(tmp_path)}, str(tmp_path / "a.csv"))


def test_score_follows_its_own_advice_on_encodings(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made.parent / "latin.csv"
    file.write_bytes("id,caption\na,caf\u00e9\nb,rain\n".encode("iso-8859-1"))
    command = ["score", "--generated", str(made), "--metrics", "clap", "--prompts", str(file)]
    assert main(command) == 2
    assert "iso-8859-1, windows-1252), say so (--encoding" in capsys.readouterr().err
    assert main([*command, "--encoding", "iso-8859-1"]) == 0
    assert main([*command[:-2], "--encoding", "iso-8859-1"]) == 2
    assert "goes with a caption file, named by --prompts" in capsys.readouterr().err


# what was said without a word, or of arrays


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--metrics", ""], "error: --metrics: expected names, separated by commas; found none"),
        (["--tagger", ","], "error: --tagger: expected names, separated by commas; found none"),
        (["--metrics", "fd"], "error: no score has a value; fd: no reference audio"),
    ],
)
def test_no_command_ends_without_a_word(
    made: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--generated", str(made), "--quiet", *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == expected


def test_one_clip_is_too_few_and_that_is_the_reason(tmp_path: Path) -> None:
    tone(tmp_path / "a" / "a.wav")
    scores = admbench.score_folders(tmp_path / "a", tmp_path / "a", metrics=["fd", "kad"])
    assert scores["fd"]["reason"] == scores["kad"]["reason"] == "generated: needs at least 2 clips, got 1"
    (cell,) = admbench.gate_folders(tmp_path / "a", tmp_path / "a", margins=["lmd_vs_baseline=1"]).cells
    assert cell.verdicts["lmd_vs_baseline"].reason == "an interval needs at least 4 captions, got 1"


def test_the_judges_of_ratings_have_a_flag(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--generated", str(made), "--metrics", "is", "--aesthetics", "tiny-tagger"]) == 2
    assert 'aesthetics "tiny-tagger": this judge can be a tagger only' in capsys.readouterr().err
