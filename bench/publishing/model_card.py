"""What a model card says of a cell, in the two forms that the Hugging Face Hub reads.

`.eval_results/*.yaml` beside the card names a dataset on the Hub that is a benchmark
(https://huggingface.co/docs/hub/eval-results); `model-index` in the card's own metadata is the older form, which asks
for none. Both are made by `huggingface_hub`, whose classes are their definition.
"""

from __future__ import annotations

from typing import Any

import yaml

from admbench.errors import UsageError
from admbench.leaderboard.record import Record, Score

TASK = "text-to-audio"
"""The Hub's name of what the models do."""


def eval_results(record: Record, dataset: str, *, revision: str | None = None, url: str | None = None) -> str:
    """Return the YAML of a file in `.eval_results/`, an entry a score.

    Args:
        record: of a finished cell.
        dataset: OWNER/NAME of the benchmark on the Hub; the score's key is the task.
        revision: of the dataset.
        url: where the results are, such as a board.

    Raises:
        UsageError: the cell has no scores, or the dataset's name is none of the Hub's.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(dataset)
    except HFValidationError as error:
        raise UsageError(f"--dataset {dataset}: {' '.join(str(error).split())}") from None
    started = record.provenance.started if record.provenance else None
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=key,
            value=score.value,
            dataset_revision=revision,
            date=started,
            source_url=url,
            source_name="admbench" if url else None,
            notes=_notes(record, score),
        )
        for key, score in _scores(record).items()
    ]
    return _yaml(eval_result_entries_to_yaml(entries))


def model_index(record: Record, *, url: str | None = None) -> str:
    """Return the `model-index` of a card's metadata, as YAML; arguments and errors as of `eval_results`."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=record.suite.name,
            dataset_name=f"{record.suite.name}, {score.n} captions",
            dataset_split=record.suite.split,
            dataset_revision=record.suite.sha256,
            metric_type=key,
            metric_name=f"{key} ({_notes(record, score)})",
            metric_value=score.value,
            source_name="admbench" if url else None,
            source_url=url,
        )
        for key, score in _scores(record).items()
    ]
    name = f"{record.model.name} {record.method.spec}"
    return _yaml({"model-index": eval_results_to_model_index(name, results)})


def _scores(record: Record) -> dict[str, Score]:
    """Return the scores that have values."""
    found = {key: score for key, score in record.scores.items() if score.value is not None}
    if not found:
        raise UsageError(f"{record.model.name} {record.method.spec}: no scores; the cell is {record.status}")
    return found


def _notes(record: Record, score: Score) -> str:
    """Return what a value means nothing without: how it was quantized, its interval, its captions and its judge."""
    notes = [record.method.spec]
    if score.ci95 is not None:
        notes.append(f"95% interval {score.ci95[0]:.4g} to {score.ci95[1]:.4g}")
    notes.append(f"{score.n} captions of {record.suite.name}")
    if score.backbone is not None:
        notes.append(f"judged by {score.backbone}")
    return ", ".join(notes)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
