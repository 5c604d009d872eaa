"""Run folders are untrusted: what is refused, with one line that names the file."""

import json
import os

import pytest

from admbench.errors import DataError
from admbench.leaderboard import read_record, read_runs, validate
from admbench.leaderboard.clips import Clip, read_clips, read_sound
from admbench.leaderboard.untrusted import MAX_JSON_BYTES


def test_records_of_several_runs_are_read_in_order(make_run, make_record, make_failed):
    first = make_run([make_record(), make_record(spec="fp32", loss=0)], "a")
    second = make_run([make_failed()], "b")
    loaded = read_runs([first, second])
    assert [item.record.method.spec for item in loaded] == ["fp32", "naive@w4a8", "naive@w2a4"]
    assert loaded[2].run == second
    assert loaded[2].cell == loaded[2].path.parent
    assert read_record(loaded[0].path) == loaded[0].record


def test_a_run_without_records_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no records; expected a run folder"):
        read_runs([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        read_runs([tmp_path / "absent"])


def test_unfinished_cells_are_not_read(make_run, make_record, tmp_path):
    run = make_run([make_record()])
    hidden = run / "cells" / "tiny-tango" / ".half.tmp"
    hidden.mkdir()
    (hidden / "result.json").write_text("{")
    (run / "cells" / "tiny-tango" / "empty").mkdir()
    assert len(read_runs([run])) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "1e999 is not finite"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        (r'{"a": "\u0000"}', "control character U\\+0000"),
        (r'{"\u202e": 1}', "control character U\\+202E"),
        (r'{"a": "\ud800"}', "control character U\\+D800"),
        ('{"a": %s}' % ("9" * 10_000), "not valid JSON"),
    ],
)
def test_text_that_is_no_strict_json_is_refused(tmp_path, text, message):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "result.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not valid JSON"):
        read_record(path)


def test_a_huge_record_is_refused_without_reading_it_whole(tmp_path):
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.truncate(MAX_JSON_BYTES * 100)  # sparse
    with pytest.raises(DataError, match=r"larger than the limit of 16 MB"):
        read_record(path)


def test_symbolic_links_in_a_run_are_refused(make_run, make_record, tmp_path):
    run = make_run([make_record()])
    (tmp_path / "elsewhere.json").write_text(json.dumps(make_record()))
    record = next(run.glob("cells/*/*/result.json"))
    record.unlink()
    record.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DataError, match="symbolic link"):
        read_runs([run])


def test_a_linked_cells_folder_is_refused(make_run, make_record, tmp_path):
    run = make_run([make_record()])
    (run / "cells").rename(tmp_path / "cells")
    (run / "cells").symlink_to(tmp_path / "cells")
    with pytest.raises(DataError, match="symbolic link"):
        read_runs([run])


def test_a_pipe_is_refused_without_blocking(tmp_path):
    path = tmp_path / "result.json"
    os.mkfifo(path)
    with pytest.raises(DataError, match="not a regular file"):
        read_record(path)


def test_validate_lists_every_problem_of_every_record(make_run, make_record, changed):
    bad = changed(make_record(spec="naive@w3a8"), size__reduction=0.1, audio__silent=9)
    checked = validate([make_run([make_record(), bad])])
    lines = [line for item in checked for line in item.problems]
    assert len(checked) == 2
    assert [line.split(": ")[1] for line in lines] == ["audio.silent", "size.reduction"]
    assert all("result.json: " in line for line in lines)


def test_read_record_says_how_many_problems_there_are(make_run, make_record, changed):
    run = make_run([changed(make_record(), size__reduction=0.1, audio__silent=9)])
    with pytest.raises(DataError, match=r"audio\.silent: .* \(and 1 more: bench validate lists them\)"):
        read_runs([run])


@pytest.mark.parametrize("clip", ["../../secret", "/etc/passwd", "a/b", "a\\b", "", ".hidden", "a" * 200, "caf\u00e9"])
def test_ids_that_are_no_file_names_are_refused(tmp_path, clip):
    (tmp_path / "captions.json").write_text(json.dumps([{"id": clip, "caption": "x", "seed": 0, "file": "x.wav"}]))
    with pytest.raises(DataError, match=r"captions\.json: 0\.id: .* is no clip id"):
        read_clips(tmp_path, tmp_path)


@pytest.mark.parametrize("clip", ["-0BIyqJj9ZU_30", "_abc", "row-00001"])
def test_ids_of_youtube_are_file_names(tmp_path, clip):
    (tmp_path / "captions.json").write_text(json.dumps([{"id": clip, "caption": "x"}]))
    assert [one.id for one in read_clips(tmp_path, tmp_path)] == [clip]


def test_validate_checks_the_captions_beside_a_record(make_run, make_record):
    run = make_run([make_record()], audio=True)
    captions = next(run.glob("cells/*/*/captions.json"))
    captions.write_text(json.dumps([{"id": "same", "caption": "x"}] * 2))
    problem = validate([run])[0].problems[0]
    assert "the id 'same' appears twice" in problem


def test_sound_is_decoded_and_anything_else_refused(tmp_path, tone):
    clip = Clip(id="tone", caption="a tone")
    path = tmp_path / "audio" / "tone.wav"
    assert read_sound(tmp_path, tmp_path, clip) is None
    tone(path, 440.0)
    sound = read_sound(tmp_path, tmp_path, clip)
    assert sound is not None
    assert (sound.rate, sound.seconds, sound.samples.dtype) == (16_000, 0.5, "float32")
    assert abs(abs(sound.samples).max() - 0.4) < 1e-3
    path.write_bytes(b"<html>not audio</html>")
    with pytest.raises(DataError, match="not a PCM WAV file"):
        read_sound(tmp_path, tmp_path, clip)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="symbolic link"):
        read_sound(tmp_path, tmp_path, clip)
