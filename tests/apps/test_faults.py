"""What is wrong with a value, in our words."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from autointerp.apps._faults import fault_text


class Given(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""

    @field_validator("name")
    @classmethod
    def _checked(cls, name: str) -> str:
        if name == "a/b":
            raise ValueError("a/b is no name")
        return name


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "x", "must be true or false"),
        (str, 3, "must be a text"),
        (list[str], 3, "must be a list"),
        (dict[str, str], 3, "must be an object"),
        (Given, 3, "must be an object"),
        (Given, {"names": ""}, "is not known"),
        (Given, {"name": "a/b"}, "a/b is no name"),
        (Annotated[int, Field(ge=1)], 0, "must be at least 1"),
        (Annotated[int, Field(le=1000)], 1001, "must be at most 1,000"),
        (Annotated[float, Field(gt=0)], 0, "must be over 0"),
        (Annotated[float, Field(lt=1)], 1, "must be under 1"),
        (Annotated[float, Field(allow_inf_nan=False)], "inf", "must be a finite number"),
        (Literal["csv", "jsonl"], "x", "must be 'csv' or 'jsonl'"),
        (Annotated[str, Field(max_length=1)], "ab", "must have at most 1 character"),
        (Annotated[str, Field(min_length=2)], "a", "must have at least 2 characters"),
        (Annotated[str, Field(pattern="^a$")], "b", "must match ^a$"),
        (Annotated[list[str], Field(max_length=1)], ["a", "b"], "must have at most 1 entry"),
        (Annotated[list[str], Field(min_length=2)], [], "must have at least 2 entries"),
        (datetime, "x", "must be a time such as 2026-01-31T12:00:00Z"),
        (None, 3, "is not valid"),
    ],
)
def test_a_fault_is_told_in_our_words(kind: Any, value: Any, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    assert fault_text(raised.value.errors()[0]) == said
