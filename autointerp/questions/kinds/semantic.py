"""Words of one field of meaning: family, war, money, time, colour, body, law."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 3
FIELDS = {
    "family": "family mother father son daughter brother sister husband wife child children "
    "parents widow orphan cousin uncle baby home marriage",
    "war": "war army navy troops soldiers battle enemy weapons peace military fleet attack "
    "invasion defense victory militia forces armed bombs missiles",
    "money": "money dollars bank debt tax taxes price prices cost credit currency gold silver "
    "revenue budget deficit bonds interest wages income loan",
    "time": "year years month months week weeks day days hour hours minute minutes second century "
    "decade today tomorrow yesterday morning night",
    "colour": "red green blue white black yellow brown grey gray gold silver color colors dark "
    "bright pale purple orange",
    "the body": "hand hands head eye eyes heart face foot feet arm arms blood body mouth tongue "
    "hair finger skin breast ear ears",
    "law": "law laws court courts judge justice legal crime criminal statute treaty jury trial "
    "rights constitution legislation prison police penalty",
    "farming": "farm farmers agriculture crops wheat cotton corn cattle land soil harvest grain "
    "livestock agricultural acres",
    "travel by land and sea": "ship ships vessel vessels railroad railway canal road roads port "
    "harbor highway transportation train river bridge voyage",
    "learning": "school schools education students teachers college university learn teach "
    "knowledge study science research training",
    "health": "health disease medical hospital doctor medicine care sick insurance drug patients "
    "epidemic cure physicians cancer",
    "size": "large small great big long short high low wide broad little huge vast tall deep",
    "direction": "north south east west northern southern eastern western left right up down above "
    "below",
    "speech": "say said speak spoke tell told ask asked answer answered call called reply cry word "
    "words speech",
    "files": "file files directory path folder filename document save open read write load "
    "disk backup",
    "errors": "error errors exception exceptions fail failed failure invalid warning bug fault "
    "raise raised throw wrong",
    "data types": "string integer boolean float array list object tuple function class method "
    "variable pointer char byte vector",
    "nature": "water sea river mountain mountains sun moon wind earth sky fire forest forests "
    "stars rain storm heaven light",
}


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    field = pick(sorted(FIELDS), rng)
    return Rule(f"words of {field}", text.ends_of(FIELDS[field].split()))
