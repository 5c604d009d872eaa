"""Claims of an abstract, held against records: met, not met, or not to be told."""

import pytest

from admbench.leaderboard import ptq4adm_claims, read_runs
from admbench.leaderboard.gate import gate
from tests.leaderboard.written_results import agree, write_results


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (-1.0, "met"),  # FD 21 in full precision: the claim ends at +1.05, the interval at +0.2
        (0.5, "cannot be told"),  # -0.7 .. 1.7
        (5.0, "not met"),  # 3.8 .. 6.2
    ],
)
def test_the_interval_of_the_paired_difference_decides_on_fd(make_run, make_record, loss, verdict):
    records = read_runs([make_run([make_record(spec="fp32", loss=0), make_record(loss=loss)])])
    size, fd = ptq4adm_claims(records)
    assert fd.verdict == verdict
    assert fd.value == pytest.approx(loss / 21)
    assert fd.interval == pytest.approx(((loss - 1.2) / 21, (loss + 1.2) / 21))
    assert (fd.model, fd.method, fd.reason) == ("tiny-tango", "naive@w4a8", None)
    assert fd.caution == "only 4 captions: below 96 intervals can be too short"
    assert size.caution is None  # bytes have no error
    assert size.verdict == "met"


def test_bytes_on_disk_decide_on_size(make_run, make_record):
    records = read_runs([make_run([make_record()])])
    (size, _) = ptq4adm_claims(records)
    assert (size.verdict, size.claim) == ("met", "size reduced by at least 70%")
    assert ptq4adm_claims(records, reduction=0.9)[0].verdict == "not met"


def test_what_is_missing_cannot_be_told_and_says_why(make_run, make_record, make_failed, changed):
    lost = {"value": None, "reason": "too few clips"}
    records = [
        changed(make_record("a"), scores__fd=lost),
        changed(make_record("b"), scores__fd__difference=lost),
        changed(make_record("c"), size__reduction=None, size__checkpoint_bytes=None, size__reason="not packed"),
        make_failed("d"),
    ]
    findings = ptq4adm_claims(read_runs([make_run(records)]))
    missing = {(finding.model, finding.reason) for finding in findings if finding.value is None}
    assert missing == {("a", "too few clips"), ("b", "too few clips"), ("c", "not packed")}
    assert all(finding.verdict == "cannot be told" for finding in findings if finding.value is None)


def test_calibration_draws_are_one_finding(make_run, make_record, changed):
    draws = [changed(make_record(n=96), method__repeat=repeat) for repeat in range(3)]
    run = make_run([make_record(spec="fp32", n=96), *draws])
    write_results(run, {"fp32": 0.0, "naive@w4a8": 0.1})
    agree(run)
    size, fd = ptq4adm_claims(read_runs([run]))
    judged = next(cell for cell in gate(read_runs([run])).cells if cell.method == "naive@w4a8").verdicts["fd"]
    assert (size.draws, fd.draws) == (3, 3)
    assert fd.caution is None
    assert (fd.value, *fd.interval) == (judged.estimate - 1, judged.low - 1, judged.high - 1)


def test_draws_without_per_caption_results_cannot_be_told(make_run, make_record, changed):
    draws = [changed(make_record(), method__repeat=repeat) for repeat in range(2)]
    _, fd = ptq4adm_claims(read_runs([make_run([make_record(spec="fp32", loss=0), *draws])]))
    assert (fd.verdict, fd.value) == ("cannot be told", None)
    assert fd.reason == "2 calibration draws, and not each has per-caption results of FD"
