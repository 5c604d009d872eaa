"""Every rule between keys: a record that breaks it, and the line that names the key."""

import pytest

from admbench.leaderboard.consistency import problems
from admbench.leaderboard.record import Record

TIMING = {"median": 5.0, "p10": 4.0, "p90": 6.0, "values": [4.0, 5.0, 6.0]}
FULL = {"kernel": None, "reason": "no layer is quantized", "baseline_step_ms": TIMING}
KERNEL = {"kernel": "onednn-int8", "step_ms": TIMING, "baseline_step_ms": TIMING, "speedup": 1.0}

VIOLATIONS = [
    ({"reason": "x"}, "reason", "done has no reason"),
    ({"status": "failed"}, "reason", "a cell that is failed needs a reason"),
    ({"status": "skipped", "reason": "x"}, "scores.fd.value", "a skipped cell has no scores"),
    ({"model__weights_sha256": None}, "model.weights_sha256", "needs this"),
    ({"method__config": None}, "method.config", "needs this"),
    ({"suite__n": None}, "suite.n", "needs this"),
    ({"memory": None}, "memory", "needs this section"),
    ({"method__spec": "q-diffusion@w4a8"}, "method.spec", 'of method "naive"'),
    ({"method__bits__weight": 8}, "method.bits", "contradict the spec naive@w4a8"),
    ({"scores__fd__value": 99.0}, "scores.fd.ci95", "does not contain the value 99"),
    ({"scores__fd__ci95": [30.0, 20.0]}, "scores.fd.ci95", "lower bound 30 is above"),
    ({"scores__fd__ci95": None}, "scores.fd.reason", "without an interval needs a reason"),
    ({"scores__fd__value": None}, "scores.fd.reason", "a missing value needs a reason"),
    ({"scores__fd__value": None, "scores__fd__reason": "x"}, "scores.fd.ci95", "an interval without a value"),
    ({"scores__fd__n": None}, "scores.fd.n", "number of clips"),
    ({"scores__fd__n": 5}, "scores.fd.n", "5 clips, but the suite has 4 captions"),
    ({"scores__fd__higher_is_better": None}, "scores.fd.higher_is_better", "which way is better"),
    ({"scores__fd__backbone": None}, "scores.fd.backbone_sha256", "go together"),
    ({"scores__fd__against": "baseline"}, "scores.fd.against", "_vs_baseline"),
    ({"scores__fd_vs_baseline__against": "reference"}, "scores.fd_vs_baseline.against", "_vs_baseline"),
    ({"scores__fd__difference__value": 60.0}, "scores.fd.difference.ci95", "does not contain"),
    ({"scores__fd__difference__significant": False}, "scores.fd.difference.significant", "expected true"),
    ({"audio": None}, "scores.fd.value", "a score needs audio"),
    ({"audio__silent": 5}, "audio.silent", "5 of 4 clips"),
    ({"audio__clips": 3}, "audio.clips", "3 clips for 4 captions"),
    ({"size__reduction": 0.5}, "size.reduction", "1 - checkpoint_bytes / baseline_bytes = 0.87"),
    ({"size__checkpoint_bytes": None}, "size.reason", "a missing value needs a reason"),
    ({"latency": FULL | {"reason": "simulated"}}, "latency.baseline_step_ms", "nothing to report"),
    ({"latency": KERNEL}, "latency.kernel", "simulated quantization has no kernel"),
    ({"latency__reason": "no time"}, "latency.kernel", 'reason "simulated"'),
    ({"latency__speedup": 2.0}, "latency.speedup", "no kernel ran"),
    ({"latency": {"kernel": None}, "method__simulated": False}, "latency.reason", "a missing value needs a reason"),
    ({"latency": {"kernel": "x"}, "method__simulated": False}, "latency.step_ms", "its time is needed"),
    (
        {"latency__roofline": {}, "latency__roofline_reason": "not measured"},
        "latency.roofline_reason",
        "beside the reason that there is none",
    ),
    (
        {"latency__cost": {"flops": 200, "bit_operations": 102_401}},
        "latency.cost.bit_operations",
        "expected 1 to 1024 for each of 100 products",
    ),
    ({"latency": KERNEL | {"speedup": 3.0}, "method__simulated": False}, "latency.speedup", "medians = 1.000"),
    (
        {"latency": KERNEL | {"step_ms": TIMING | {"p10": 5.5}}, "method__simulated": False},
        "latency.step_ms",
        "p10 <= median",
    ),
    ({"method__track": None}, "method.track", "needs this"),
    ({"method__family": None}, "method.family", "needs this"),
    ({"scores__fd__version": None}, "scores.fd.version", "version of its metric"),
    ({"size__effective_bits_per_weight": None}, "size.effective_bits_per_weight", "has its bits a weight"),
    ({"memory__peak_bytes": None}, "memory.reason", "a missing value needs a reason"),
]


@pytest.mark.parametrize(("changes", "key", "message"), VIOLATIONS)
def test_a_violation_is_named_by_its_key(make_record, changed, changes, key, message):
    found = problems(Record.model_validate(changed(make_record(), **changes)))
    assert any(where == key and message in text for where, text in found), found


def test_consistent_records_have_no_problems(make_record, make_failed, changed):
    values = [
        make_record(),
        make_record(spec="fp32", loss=0),
        make_record(spec="naive@w4a8[weights=tensor]"),
        make_failed(),
        changed(make_record(), latency=KERNEL, method__simulated=False),
        changed(make_record(spec="fp32", loss=0), latency=FULL, method__layers=[], method__simulated=False),
    ]
    assert [problems(Record.model_validate(value)) for value in values] == [[]] * len(values)


def test_a_cell_that_broke_early_may_know_only_names(make_failed, changed):
    value = changed(make_failed(), model={"name": "m"}, method={"name": "naive", "spec": "naive"}, suite={"name": "s"})
    assert problems(Record.model_validate(value)) == []
