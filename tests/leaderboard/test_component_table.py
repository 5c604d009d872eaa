"""The table of components is a view of records: one row for each that was quantized alone."""

from admbench.leaderboard.component_table import component_rows
from admbench.leaderboard.record import Record

from .conftest import record


def of(component: str, spec: str, *others: str) -> Record:
    made = record(spec=spec)
    made["method"]["components"] = [component, *others]
    return Record.model_validate(made)


def test_each_record_of_one_component_is_a_row_in_their_order() -> None:
    rows = component_rows([of("vae", "naive@w8a8"), of("backbone", "naive@w4a8")])
    assert [(row.model, row.component, row.method, row.n) for row in rows] == [
        ("tiny-tango", "vae", "naive@w8a8", 4),
        ("tiny-tango", "backbone", "naive@w4a8", 4),
    ]
    first = rows[0]
    assert first.bytes is not None
    assert first.baseline_bytes is not None
    assert first.bytes < first.baseline_bytes
    score = first.scores["fd_vs_baseline"]
    assert score is not None
    assert score.value == 6.0
    assert first.scores["kl_vs_baseline"] is None, "this record has no such score"


def test_full_precision_several_components_and_failed_cells_have_no_row() -> None:
    failed = record(spec="naive@w2a8")
    failed["method"]["components"] = None
    rows = component_rows([of("backbone", "fp32"), of("backbone", "naive@w4a8", "vae"), Record.model_validate(failed)])
    assert rows == []
