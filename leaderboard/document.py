"""The reference page of the record, its per-caption results and the ladder, made from the schema and the code.

`python -m admbench.leaderboard.document`
"""

import dataclasses
import sys
from typing import Any

from pydantic import BaseModel

from admbench.leaderboard import fields, identity, per_caption, tidy
from admbench.leaderboard.consistency import RULES
from admbench.leaderboard.ladder import Ladder
from admbench.leaderboard.record import Record

_NAMES = {"number": "number", "integer": "integer", "string": "text", "boolean": "true or false", "null": "null"}
_PATTERNS = {r"^[0-9a-f]{64}$": "64 hex digits", r"^[0-9a-f]{7,64}$": "hex digits"}


def record_markdown() -> str:
    """The whole page, as it is in docs/record.md."""
    head = f"""# The record

<!-- Generated from the schema: `python -m admbench.leaderboard.document > docs/record.md`. -->

`RUN/cells/MODEL/METHOD/result.json` holds everything about one cell, one model quantized by one method.
`bench validate RUN` checks it. All top-level keys are present; a missing number is null and a reason stands beside it.
Sections marked *open* accept further keys; all others refuse a key they do not know. Numbers are finite, types are
strict, no string is empty. A text has up to {fields.TEXT_LENGTH:,} characters, a name up to {fields.NAME_LENGTH}.

`provenance.submitter` names who ran a cell, if `bench run --submitter NAME` or `submitter` in the grid file says so;
else it is null. A cell that is finished keeps the name that it was made under.
"""
    rules = "\n".join(f"- {' '.join((rule.__doc__ or '').split())}" for rule in RULES)
    results = f"""# Per-caption results

`RUN/cells/MODEL/METHOD/{per_caption.PER_CAPTION}` holds what the record knows of each caption. Every cell that is done
has one; a record of an older run has none, and is valid. `bench validate RUN` computes the record's values, intervals
and differences to full precision from it and says where they are others, holds its captions against `captions.json`,
its faults against the record's counts, and its hashes against the clips where they are there. What may be concluded
from it: [conclusions](conclusions.md).

{_format_of(per_caption.__doc__ or "")}
"""
    ladder = """# The sanity ladder

`RUN/ladder.json` says whether the suite and the metrics put systems of known quality in their known order.
"""
    said = f"## What a record may say\n\n{_after_title(tidy.__doc__ or '')}\n\n{_limits()}\n"
    between = f"## What must hold between keys\n\n{rules}\n"
    parts = "\n".join(f"- `{one.name}`" for one in dataclasses.fields(identity.Identity))
    same = f"## What makes a cell\n\n{_after_title(identity.__doc__ or '')}\n\n{parts}\n"
    return "\n".join([head, _sections(Record), said, between, same, results, ladder, _sections(Ladder, Record)])


def _limits() -> str:
    """The limits that no table of keys shows."""
    free = f"at most {tidy.FREE_BYTES // 2**10} kB of JSON and {tidy.DEPTH} levels"
    return (
        f"- A free value (`any JSON`, and all further keys of an open section together): {free}; what was larger is "
        f'`{{"{tidy.LEFT_OUT}": its size, "sha256": its hash}}`.\n'
        f"- `method.layers`: at most {tidy.LAYERS_BYTES // 2**20} MB; beyond it names and numbers are kept.\n"
        f"- Texts in them: at most {fields.TEXT_LENGTH:,} characters; keys {fields.NAME_LENGTH}.\n"
        f"- At most {fields.MOST_REPEATS:,} entries of a list of measurements, {fields.MOST_ENTRIES:,} of a section of "
        f"names, {fields.MOST_SCORES} scores."
    )


def _after_title(docstring: str) -> str:
    """A module's docstring but for its first line."""
    return docstring.partition("\n")[2].strip()


def _format_of(docstring: str) -> str:
    """The part of a module's docstring that says how its file is made."""
    return docstring[docstring.index("Format, version") :].strip()


def _sections(model: type[BaseModel], known: type[BaseModel] | None = None) -> str:
    """A table for the model and for each model it refers to, but not for those that `known` refers to."""
    schema = model.model_json_schema()
    skipped = known.model_json_schema()["$defs"] if known else {}
    found = {model.__name__: schema} | {name: schema["$defs"][name] for name in _order(schema) if name not in skipped}
    return "\n".join(_section(name, section, schema["$defs"]) for name, section in found.items())


def _order(schema: dict[str, Any]) -> list[str]:
    """Names of the definitions in the order in which the keys of the record refer to them."""
    found: list[str] = []
    pending = [schema]
    while pending:
        section = pending.pop(0)
        for reference in _references(section.get("properties", {})):
            if reference not in found and reference != "JsonValue":
                found.append(reference)
                pending.append(schema["$defs"][reference])
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].split("/")[-1]] if "$ref" in value else []
        return own + [name for item in value.values() for name in _references(item)]
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    return []


def _section(name: str, section: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = [
        f"| `{key}` | {_type(field)} | {_meaning(field, definitions)} |" for key, field in section["properties"].items()
    ]
    text = " ".join(section["description"].split())
    return "\n".join([f"## {name}", "", text, "", "| key | value | meaning |", "|---|---|---|", *rows, ""])


def _meaning(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The description of a key; the schema leaves it out where it is that of the section it refers to."""
    text = " ".join(str(field.get("description") or definitions[_references(field)[0]]["description"]).split())
    return text.replace("|", r"\|")


def _type(field: dict[str, Any]) -> str:
    """A JSON schema as a few words."""
    if "$ref" in field:
        name = field["$ref"].split("/")[-1]
        return "any JSON" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        if field.get("minItems") == field.get("maxItems") == 2:
            return "[low, high]"
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object":
        values = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
        return f"name: {_type(values[0]) if isinstance(values[0], dict) else 'any JSON'}"
    if "type" not in field:
        return "any JSON"
    if field.get("maxLength") == fields.NAME_LENGTH:
        return "name"
    most = (
        f" of up to {field['maxLength']:,} characters"
        if field.get("maxLength") not in (None, fields.TEXT_LENGTH)
        else ""
    )
    return _PATTERNS.get(field.get("pattern", ""), _NAMES[field["type"]]) + most + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return "".join(f" {word} {field[key]:g}" for key, word in words.items() if key in field)


if __name__ == "__main__":
    sys.stdout.write(record_markdown())
