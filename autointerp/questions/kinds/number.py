"""Numbers of a certain form or use."""

from __future__ import annotations

import re

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
FORMS = [
    ("years from 1700 to 2099", r"(1[789]|20)\d\d"),
    ("numbers of one digit", r"\d"),
    ("numbers of two digits", r"\d\d"),
    ("numbers of three digits", r"\d\d\d"),
    ("numbers that end in 0", r"\d+0"),
    ("numbers that end in 5", r"\d+5"),
    ("numbers of five digits or more", r"\d{5,}"),
    ("numbers that begin with 0", r"0\d+"),
    ("numbers from 10 to 19", r"1\d"),
    ("even numbers of two digits or more", r"\d+[02468]"),
]
WORDS = """
two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty
hundred thousand million billion dozen
"""
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth last next"


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    choice = int(rng.integers(len(FORMS) + 3))
    if choice < len(FORMS):
        said, pattern = FORMS[choice]
        form = re.compile(pattern)
        holds = text.number_ends(form.fullmatch(number) is not None for number in text.numbers)
        return Rule(said, holds)
    if choice == len(FORMS):
        return Rule("numbers in words", text.ends_of(WORDS.split()))
    if choice == len(FORMS) + 1:
        return Rule("ordinals", text.ends_of(ORDINALS.split()))
    mark = pick(["$", ".", ",", "(", "-", "="], rng)
    marks = text.of_vocabulary(t.strip().endswith(mark) for t in text.texts)
    return Rule(f"numbers right after '{mark}'", text.before_numbers(marks))
