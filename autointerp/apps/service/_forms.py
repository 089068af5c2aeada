"""Forms of the owner's pages, made from the models that `/v1` takes: no field can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel

Kind = Literal["text", "number", "integer", "checkbox", "select", "several", "textarea"]
# What JSON schema calls a value, and the field that takes it.
KINDS: Mapping[str, Kind] = {"integer": "integer", "number": "number", "boolean": "checkbox",
                             "array": "several"}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Fields that stand together, by their names in the model; one that is not open is folded."""

    title: str
    names: tuple[str, ...]
    is_open: bool = True


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        hint: Shown while it is empty.
        options: Values with their descriptions: of a select, of several that may be ticked, or
            suggested for a text.
        value: What it holds first.
    """

    name: str = ""
    label: str = ""
    kind: Kind | None = None
    about: str = ""
    hint: str = ""
    options: Sequence[tuple[str, str]] = field(default_factory=tuple)
    value: Any = None
    least: float | None = None
    most: float | None = None


def fields_of(
    model: type[BaseModel],
    parts: Sequence[Part],
    labels: Mapping[str, str],
    known: Mapping[str, Field],
    values: Mapping[str, Any] | None = None,
) -> list[tuple[Part, list[Field]]]:
    """Return the fields of a model, part by part; those that no part names stand in the last one.

    Args:
        known: What is known of a field beside its model: kind, hint, options.
        values: What fields hold first; else the model's defaults.
    """
    properties = model.model_json_schema()["properties"]
    named = {name for part in parts for name in part.names}
    rest = tuple(name for name in properties if name not in named)
    parts = [*parts[:-1], replace(parts[-1], names=parts[-1].names + rest)]
    return [
        (
            part,
            [
                _field(name, properties[name], labels, known.get(name, Field()), values or {})
                for name in part.names
            ],
        )
        for part in parts
    ]


def _field(
    name: str,
    schema: Mapping[str, Any],
    labels: Mapping[str, str],
    known: Field,
    values: Mapping[str, Any],
) -> Field:
    """Return a field as its JSON schema and what is known of it say."""
    of_value = next(
        (one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"), schema
    )
    kind: Kind = known.kind or KINDS.get(str(of_value.get("type")), "text")
    options = list(known.options)
    if "enum" in of_value:
        kind = "select"
        options = options or [(one, "") for one in of_value["enum"]]
        if schema.get("default") is None:
            options.insert(0, ("", ""))
    return replace(
        known,
        name=name,
        label=labels.get(name, name.replace("_", " ")),
        kind=kind,
        # A hint says as much while the field is empty, and two lines say it twice.
        about=known.about or ("" if known.hint else str(schema.get("description", ""))),
        options=options,
        value=values.get(name, schema.get("default")),
        least=of_value.get("minimum", of_value.get("exclusiveMinimum")),
        most=of_value.get("maximum", of_value.get("exclusiveMaximum")),
    )
