"""Records as a pandas frame."""

import pandas as pd

from admbench.leaderboard import read_runs, to_frame


def test_a_frame_has_scores_intervals_and_reasons(make_run, make_record, make_failed):
    frame = to_frame(read_runs([make_run([make_record(spec="fp32", loss=0), make_record(), make_failed()])]))
    rows = frame.set_index("method")
    assert list(rows.index) == ["fp32", "naive@w2a4", "naive@w4a8"]
    good = rows.loc["naive@w4a8"]
    assert (good.fd, good.fd_low, good.fd_high, good.fd_n) == (27.0, 24.5, 29.5, 4)
    assert good.fd_difference_significant
    assert good.weight_bits == 4
    broken = rows.loc["naive@w2a4"]
    assert pd.isna(broken.fd)
    assert (broken.reason, broken.fd_reason) == ("out of memory", "the cell failed")
    assert frame.checkpoint_bytes.dtype == "Int64"


def test_a_metric_cannot_overwrite_a_column_of_the_record(make_run, make_record, changed):
    value = changed(make_record(), scores__status=make_record()["scores"]["fd"])
    assert to_frame(read_runs([make_run([value])])).status.tolist() == ["done"]
