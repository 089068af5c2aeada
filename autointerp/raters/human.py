"""A person, in the terminal: `human` or `human:NAME`; several people may rate one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

from autointerp.errors import BadInput
from autointerp.questions.question import Question
from autointerp.raters import RaterOptions
from autointerp.records import Item, Request, check_person

WHAT = "a person"
OPTIONS = ()


@dataclass(frozen=True)
class Person:
    """A person's name among the raters; `pipeline.sit` runs their session."""

    name: str
    evidence: Literal["shown", "all"] = "shown"
    is_llm: bool = False

    def request(self, item: Item, question: Question, repeat: int = 0) -> NoReturn:
        raise BadInput("a person cannot be called; start a session with `rate --rater human:NAME`")

    async def send(self, request: Request) -> NoReturn:
        raise BadInput("a person cannot be called; start a session with `rate --rater human:NAME`")


def create(model: str | None, options: RaterOptions) -> Person:
    return Person(check_person("human" if model is None else f"human:{model}"))
