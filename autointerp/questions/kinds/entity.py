"""Names of one sort: countries, states, cities, people, months, organisations, products."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 3
HELD_BACK = True
SORTS = {
    "countries": "Mexico France Spain England Germany Russia China Japan Cuba Brazil Chile Peru "
    "Britain Italy Turkey Korea Vietnam Iraq Iran Israel Egypt Canada India Austria Denmark "
    "Sweden Portugal Colombia Venezuela Nicaragua Panama Haiti Afghanistan Ukraine Poland",
    "states of the USA": "California Texas Florida Virginia Georgia Alabama Mississippi Louisiana "
    "Kansas Nebraska Oregon Alaska Hawaii Ohio Indiana Illinois Michigan Missouri Iowa Arkansas "
    "Tennessee Kentucky Maryland Delaware Massachusetts Pennsylvania Arizona Utah Nevada Maine",
    "months": "January February March April June July August September October November December",
    "weekdays": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "nationalities": "American British French Spanish Mexican German Russian Chinese Japanese "
    "Indian Soviet English Italian Cuban European African Christian Jewish Korean Iraqi",
    "people": "Jefferson Madison Monroe Adams Jackson Lincoln Grant Roosevelt Truman Johnson "
    "Kennedy Nixon Reagan Clinton Bush Obama Washington Monroe Romeo Juliet Hamlet Satan Adam Eve "
    "Brutus Caesar Antony Falstaff Henry John Mary James William Charles Thomas",
    "institutions": "Congress Senate House Government Court Department Treasury Army Navy Cabinet "
    "Constitution Union Bureau Commission Committee Office Bank Board",
    "software": "Apache Django Linux Windows Unix Python Oracle Java Erlang Bootstrap SQL HTTP "
    "Unicode Ruby Symfony PHP HTML Sass Tcl Lua LibreOffice Writer Calc Basic",
}


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    sort = pick(sorted(SORTS), rng)
    names = set(SORTS[sort].split())
    return Rule(f"names of {sort}", text.word_ends(word in names for word in text.words))
