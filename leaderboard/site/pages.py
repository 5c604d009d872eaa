"""The pages behind the front page: one a cell, one a model, one a method."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from admbench.errors import DataError
from admbench.leaderboard.boards import BACKBONE, Row
from admbench.leaderboard.component_table import SCORES as COMPONENT_SCORES
from admbench.leaderboard.component_table import ComponentRow, component_rows
from admbench.leaderboard.inference.sentences import measured
from admbench.leaderboard.matrix import MethodRow
from admbench.leaderboard.record import FULL_PRECISION, Record
from admbench.leaderboard.site import summary
from admbench.leaderboard.site.columns import Column
from admbench.leaderboard.site.curves import On, component_data, group_data
from admbench.leaderboard.site.definitions import FAMILIES
from admbench.leaderboard.site.front import Front, FrontCell, place_of
from admbench.leaderboard.site.layers import layer_data, most_sensitive
from admbench.leaderboard.site.markup import emphasized
from admbench.leaderboard.site.method_docs import described, method_docs
from admbench.leaderboard.site.names import Names
from admbench.leaderboard.site.output import Output, Shared
from admbench.leaderboard.site.roofline import roofline_of
from admbench.leaderboard.untrusted import read_bytes
from admbench.leaderboard.view import ModelView, ViewRow
from admbench.leaderboard.view_words import model_sentences
from admbench.leaderboard.workers import Mapped
from admbench.plain_text import visible_name
from admbench.private_text import Private

LOG_FILE = "log.txt"
"""In a cell's folder: what its processes printed."""
LOG_BYTES = 4000
"""So much of a log's end is shown."""
_LARGEST_LOG = 64 * 2**20
_FIRST_SCORES, _MOST_SCORES = ("fd", "clap"), 3
"""Beside the score of the order, what a table of cells shows unless all is asked for; a screen has room for no more."""
CELLS_AT_ONCE = 50
"""That another process writes the pages of."""


@dataclass(frozen=True)
class CellPages:
    """Cells of one model, whose pages and records are written by one process."""

    columns: Sequence[Column]
    cautions: Sequence[str]
    cells: Sequence[ViewRow]
    names: Names
    """Of their records."""


def write_cells(output: Output, fronts: Sequence[Front], names: Names, mapped: Mapped = map) -> Iterator[None]:
    """Write the page and the file of each record; of a method with several calibration draws each draw has one.

    It begins at once where `mapped` is that of other processes, and is done when what is returned was gone through.
    """
    batches = list(_batches(fronts, names))
    if mapped is map:
        return map(partial(_write_batch, output), batches)
    return map(output.counted, mapped(partial(_write_elsewhere, output.share()), batches))


def _batches(fronts: Sequence[Front], names: Names) -> Iterator[CellPages]:
    for one in fronts:
        for model in one.view.models:
            for first in range(0, len(model.rows), CELLS_AT_ONCE):
                cells = model.rows[first : first + CELLS_AT_ONCE]
                own = names.of(row for cell in cells for row in cell.rows)
                yield CellPages(one.columns, one.view.cautions, cells, own)


def _write_elsewhere(shared: Shared, batch: CellPages) -> tuple[int, int]:
    output = shared.output()
    _write_batch(output, batch)
    return output.take_counts()


def _write_batch(output: Output, batch: CellPages) -> None:
    for cell in batch.cells:
        for row in cell.rows:
            _write_cell(output, batch, cell, row)
            output.write(batch.names.record(row), row.record.model_dump_json(indent=1) + "\n")


def _write_cell(output: Output, batch: CellPages, own: ViewRow, row: Row) -> None:
    record = row.record
    layers, roofline = layer_data(record), roofline_of(record)
    output.page(
        batch.names.cell(row),
        "cell.html.jinja",
        names=batch.names,
        own=own,
        row=row,
        record=record,
        state=own.states[own.rows.index(row)],
        cautions=batch.cautions,
        places={key: place_of(own, key) for key in record.scores},
        verdicts={key: f"{said.word}: {measured(said)}, margin {said.margin}" for key, said in own.verdicts.items()},
        facts=[(column, column.of(own)) for column in batch.columns] if record.status == "done" else [],
        layers=output.data("layers", layers) if layers["layers"] else None,
        roofline=output.data("roofline", roofline) if roofline else None,
        again=again(record),
        log=log_tail(row),
        settings=summary.settings(record),
    )


def again(record: Record) -> str:
    """Return the command that makes a cell's clips again, as it is typed; paths of other machines are left out."""
    words = ["bench", "run", "--models", record.model.name, "--methods", record.method.spec]
    if record.method.name != FULL_PRECISION:
        words[-1] = f"{FULL_PRECISION},{record.method.spec}"
    method, generation = record.method, record.generation
    components = method.components or [BACKBONE]
    words += ["--components", ",".join(components)] if components != [BACKBONE] else []
    words += ["--repeats", str(method.repeat + 1)] if method.repeat else []  # with the draws before it
    words += ["--suite", record.suite.name] if "/" not in record.suite.name else []
    words += ["--limit", str(record.suite.n)] if record.suite.n else []
    if generation is not None:
        words += ["--sampler", generation.sampler] if generation.sampler else []
        words += ["--seed", str(generation.seed), "--steps", str(generation.steps)]
        words += ["--guidance", f"{generation.guidance:g}", "--batch-size", str(generation.batch_size)]
    return shlex.join(words)


def log_tail(row: Row) -> str:
    """Return the end of a cell's log, without what is private here; empty where there is none that may be read."""
    path = row.loaded.cell / LOG_FILE
    if not path.is_file():
        return ""
    try:
        data = read_bytes(row.loaded.run, path, _LARGEST_LOG)
    except DataError:
        return ""
    text = data[-LOG_BYTES:].decode("utf-8", "replace")
    if len(data) > LOG_BYTES:
        text = text.partition("\n")[2]  # half a line may hold half a path
    return Private.here().hidden(text.replace(str(row.loaded.run), row.loaded.run.name)).strip()


def write_models(output: Output, fronts: Sequence[Front], names: Names) -> None:
    """Write the page of each model."""
    views: dict[str, list[tuple[Front, ModelView]]] = {}
    for one in fronts:
        for view in one.view.models:
            views.setdefault(view.name, []).append((one, view))
    for model, found in views.items():
        tables, own_cells = [], []
        for one, view in found:
            rows = [(own.spec, one.cells[model, own.spec]) for own in view.rows]
            own_cells += [On(one, cell) for _, cell in rows]
            specs = [own.spec for own in view.rows]
            said = [emphasized(sentence, specs) for sentence in model_sentences(one.view, view)]
            tables.append(_table(one, "Method", rows, said))
        cells = [on.cell for on in own_cells]
        record, components = cells[0].own.record, _components(cells)
        data = group_data(own_cells, own_cells, "method")
        output.page(
            names.model(model),
            "group.html.jinja",
            names=names,
            heading=model,
            paragraphs=[],
            facts=_model_facts(record),
            tables=tables,
            data=output.data("group", data | {"components": component_data(components, COMPONENT_SCORES)}),
            documented=None,
            sensitive=most_sensitive(cell.own.record for cell in cells if cell.own.record.status == "done"),
            components=components,
            component_scores=COMPONENT_SCORES,
            widths_title="Damage by bit width",
            trees=[("Sampling", record.generation.model_dump(mode="json"))] if record.generation else [],
        )


def _components(cells: Iterable[FrontCell]) -> list[ComponentRow]:
    """Return the cells of one component each, where several components are told of."""
    rows = component_rows(cell.own.record for cell in cells)
    return rows if len({row.component for row in rows}) > 1 else []


def write_methods(output: Output, fronts: Sequence[Front], names: Names) -> None:
    """Write the page of each method."""
    found: dict[str, list[tuple[Front, MethodRow]]] = {}
    of_name: dict[str, list[On]] = {}  # of one method at all its bit widths
    for one in fronts:
        for row in one.matrix.rows:
            found.setdefault(row.spec, []).append((one, row))
            for cell in one.of(row):
                of_name.setdefault(cell.own.record.method.name, []).append(On(one, cell))
    for spec, own_rows in found.items():
        tables, own_cells = [], []
        for one, row in own_rows:
            rows = list(zip(row.cells, one.of(row), strict=True))
            own_cells += [On(one, cell) for _, cell in rows]
            tables.append(_table(one, "Model", rows, []))
        cells = [on.cell for on in own_cells]
        names_of = dict.fromkeys(cell.own.record.method.name for cell in cells)
        record = next((cell.own.record for cell in cells if cell.own.record.status == "done"), cells[0].own.record)
        data = group_data(own_cells, [on for name in names_of for on in of_name[name]], "model")
        output.page(
            names.method(spec),
            "group.html.jinja",
            names=names,
            heading=spec,
            paragraphs=_method_paragraphs(record),
            facts=_method_facts(record),
            tables=tables,
            data=output.data("group", data | {"components": component_data((), ())}),
            sensitive=[],
            documented=method_docs(record.method.name),
            components=[],
            component_scores=(),
            widths_title="The same method at other bit widths",
            trees=_method_trees(record),
        )


def _table(one: Front, first: str, rows: Iterable[tuple[str, FrontCell]], sentences: list[Markup]) -> dict[str, Any]:
    return {
        "label": summary.suite_label(one.view.board),
        "group": first,
        "first": first,
        "rows": list(rows),
        "score": one.view.score,
        "scores": one.scores,
        "first_scores": _first_scores(one),
        "columns": one.columns,
        "sentences": sentences,
        "cautions": one.view.cautions,
    }


def _first_scores(one: Front) -> list[str]:
    """Return the scores that a table of cells shows unless all are asked for."""
    known = [choice.key for choice in one.scores]
    wanted = (one.view.score, *_FIRST_SCORES, *known)
    return list(dict.fromkeys(key for key in wanted if key in known))[:_MOST_SCORES]


def _model_facts(record: Record) -> list[tuple[str, Any]]:
    model = record.model
    found = [
        ("Source", " ".join(filter(None, (model.source, model.revision)))),
        ("Licence of the weights", model.license),
        ("Parameters of the backbone", f"{model.parameters:,}" if model.parameters else None),
        ("SHA-256 of all weights", model.weights_sha256),
        ("Weights", "random: good for timing, never for a rank" if model.random_weights else None),
    ]
    return [(key, text) for key, text in found if text]


def _method_paragraphs(record: Record) -> list[str]:
    method = record.method
    words = []
    if method.family in FAMILIES:
        words.append(
            f"{visible_name(method.name)} is a method of the family {method.family}: {FAMILIES[method.family]}."
        )
    if method.track == "fine-tuned":
        words.append("It trains the weights of the whole network, so it is on another track than the others.")
    if method.paper is not None and method.paper.read == "abstract":
        words.append("Of its paper only the abstract could be read; it is reconstructed from that.")
    own = described(method.name)
    paragraphs = [" ".join(words)] if words else []
    if own is not None:
        paragraphs += own.text.split("\n")
        if method.version is not None and own.version not in (None, method.version):
            paragraphs.append(f"This is said of version {own.version}; the cells here are of version {method.version}.")
    return paragraphs


def _method_facts(record: Record) -> list[tuple[str, Any]]:
    method = record.method
    paper: Any = None
    if method.paper is not None:
        cited, url = method.paper.citation, method.paper.url
        paper = {"text": cited, "url": url} if url else cited
    bits, docs = method.bits, method_docs(method.name)
    found = [
        ("Paper", paper),
        ("Step by step, and measured", {"text": "documentation", "url": docs.url} if docs else None),
        ("Track", method.track),
        ("Family", method.family),
        ("Nominal bits", f"weights {bits.weight}, activations {bits.activation}" if bits and bits.weight else None),
        ("Version", method.version),
        ("Preset", method.preset),
        ("Components", ", ".join(method.components or ())),
    ]
    return [(key, text) for key, text in found if text]


def _method_trees(record: Record) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if record.method.config:
        found.append(("Configuration", summary.bounded(record.method.config)))
    if record.calibration is not None:
        found.append(("Calibration set", summary.bounded(record.calibration.model_dump(mode="json"))))
    return found
