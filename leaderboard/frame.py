"""Records as a table: a row per record, a column per number, missing numbers empty with their reason beside them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import Record, Score

if TYPE_CHECKING:
    import pandas as pd

SCORE_ENDS = (
    "_low",
    "_high",
    "_n",
    "_backbone",
    "_reason",
    "_difference",
    "_significant",
    "_verdict",
    "_captions_needed",
)
"""Of the columns beside a score's own."""
ORDER_COLUMNS = ("board", "order_by", "rank", "rank_low", "rank_high", "letters", "not_ordered", "state")
"""Of a table that says more than records do; no score is called so."""
_ASIDE = "score."


def to_frame(records: Iterable[Record | LoadedRecord]) -> "pd.DataFrame":
    """Return a frame with one row per record, in their order.

    A score `fd` fills the columns `fd`, `fd_low`, `fd_high` (95 % interval), `fd_n`, `fd_backbone`, `fd_reason`, and,
    where it has one, `fd_difference` with `_low`, `_high`, `_significant`: the paired difference to the baseline. A
    metric that is called like another column, such as `seed` or `rank`, has `score.seed`.
    Bytes are integers, times milliseconds or as their column says, fractions between 0 and 1; missing values are NA.
    """
    import pandas as pd

    rows = [flat_row(item.record if isinstance(item, LoadedRecord) else item) for item in records]
    return pd.DataFrame(rows).convert_dtypes()


def flat_row(record: Record) -> dict[str, Any]:
    """One record as column -> number, text, bool or None."""
    bits, size, latency, audio = record.method.bits, record.size, record.latency, record.audio
    generation, provenance, environment = record.generation, record.provenance, record.environment
    row: dict[str, Any] = {
        "model": record.model.name,
        "method": record.method.spec,
        "repeat": record.method.repeat,
        "status": record.status,
        "reason": record.reason,
        "weight_bits": bits.weight if bits else None,
        "activation_bits": bits.activation if bits else None,
        "effective_bits": size.effective_bits_per_weight if size else None,
        "track": record.method.track,
        "family": record.method.family,
        "components": "+".join(record.method.components) if record.method.components else None,
        "simulated": record.method.simulated,
        "random_weights": record.model.random_weights,
        "suite": record.suite.name,
        "suite_sha256": record.suite.sha256,
        "n": record.suite.n,
        "sampler": generation.sampler if generation else None,
        "steps": generation.steps if generation else None,
        "guidance": generation.guidance if generation else None,
        "seed": generation.seed if generation else None,
    }
    for key in ("clips", "silent", "clipped", "too_short", "nan"):
        row[f"audio_{key}"] = getattr(audio, key) if audio else None
    row["captions_cut"] = audio.captions_cut.n if audio and audio.captions_cut else None
    for key in ("checkpoint_bytes", "baseline_bytes", "reduction", "nominal_bits_per_weight", "quantized_fraction"):
        row[key] = getattr(size, key) if size else None
    row["step_ms"] = latency.step_ms.median if latency and latency.step_ms else None
    row["speedup"] = latency.speedup if latency else None
    row["latency_reason"] = latency.reason if latency else None
    row["peak_bytes"] = record.memory.peak_bytes if record.memory else None
    row["cpu"] = environment.cpu if environment else None
    row["gpu"] = environment.gpu if environment else None
    row["threads"] = environment.threads if environment else None
    row["started"] = provenance.started if provenance else None
    row["seconds"] = provenance.seconds if provenance else None
    row["quantization_seconds"] = record.method.seconds
    row["calibration_seconds"] = record.calibration.seconds if record.calibration else None
    row["commit"] = provenance.git.commit if provenance and provenance.git else None
    row["dirty"] = provenance.git.dirty if provenance and provenance.git else None
    row["submitter"] = provenance.submitter if provenance else None
    row["weights_sha256"] = record.model.weights_sha256
    taken = {*row, *ORDER_COLUMNS}
    for key, score in record.scores.items():
        row |= _score_columns(score_column(key, taken), score)
    return row


def score_column(key: str, taken: set[str]) -> str:
    """Return the column of a score, `score.KEY` where it or one that goes with it is a column of something else.

    Args:
        key: of the score.
        taken: names of the other columns.

    >>> [score_column(key, {"seed", "rank_low"}) for key in ("fd", "seed", "rank", "fd_low")]
    ['fd', 'score.seed', 'score.rank', 'score.fd_low']
    """
    clashes = key in taken or any(key.endswith(end) or key + end in taken for end in SCORE_ENDS)
    return _ASIDE + key if clashes or key.startswith(_ASIDE) else key


def _score_columns(key: str, score: Score) -> dict[str, Any]:
    low, high = score.ci95 or (None, None)
    columns: dict[str, Any] = {
        key: score.value,
        f"{key}_low": low,
        f"{key}_high": high,
        f"{key}_n": score.n,
        f"{key}_backbone": score.backbone,
        f"{key}_reason": score.reason,
    }
    if score.difference is not None:
        low, high = score.difference.ci95 or (None, None)
        columns[f"{key}_difference"] = score.difference.value
        columns[f"{key}_difference_low"], columns[f"{key}_difference_high"] = low, high
        columns[f"{key}_difference_significant"] = score.difference.significant
    return columns
