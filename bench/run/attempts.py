"""What a cell is left with when it fails or is skipped: an attempt never replaces a result."""

from __future__ import annotations

from admbench.bench.run.answers import read_tail
from admbench.bench.run.jobs import CellJob
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.records import Section, write_record
from admbench.errors import DataError
from admbench.files import remove, write_bytes_atomic, write_text_atomic
from admbench.leaderboard.untrusted import read_json

_LOG_BYTES = 1 << 20


def has_result(folder: JobFolder) -> bool:
    """Return whether the folder of a cell holds a result of some run: a record that is done, and its other half."""
    try:
        return read_json(folder.path, folder.record)["status"] == "done" and folder.per_caption.is_file()
    except (DataError, KeyError, TypeError):
        return False


def write_attempt(job: CellJob, record: Section, *, log: bool = False) -> None:
    """Leave the record of a cell that failed or was skipped and, of one that ran, the end of its log.

    Where the cell has a result, that stays what it is, for the board and for the next run of what gave it; the attempt
    lies beside it, until the next result takes the place of both.

    Raises:
        DataError: the record contradicts the schema: a mistake of the harness.
        OSError: it cannot be written.
    """
    target = job.target
    beside = has_result(target)
    if not beside:
        remove(target.per_caption)  # without its record it says nothing
        write_text_atomic(target.job, job.model_dump_json(indent=2) + "\n")
    write_record(target.attempt if beside else target.record, record)
    if log:
        write_bytes_atomic(target.attempt_log if beside else target.log, _said(job))


def _said(job: CellJob) -> bytes:
    """Return the end of what a cell's two processes said, that of its quantization first."""
    logs = (RunLayout(job.run).work(job.checkpoint).log, job.quantized.log, job.work.log)
    return b"".join(read_tail(log, _LOG_BYTES) or b"" for log in logs)
