"""Words of praise, or of blame and fear."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 3
HELD_BACK = True
TONES = {
    "praise and gladness": "good great best better happy glad pleased pleasure delight joy success "
    "successful excellent beautiful love hope proud pride noble honor wise fair sweet blessed "
    "prosperity gratifying satisfaction favorable generous gracious worthy perfect friendly "
    "admirable brave triumph virtue",
    "blame": "bad worse worst evil wrong wicked shame guilty fraud corrupt corruption false abuse "
    "vile cruel injustice unjust disgrace deceit treason foul betrayed waste wasteful reckless",
    "fear and danger": "fear danger dangerous threat threats threatened terror afraid dread alarm "
    "peril risk risks terrible horror panic crisis fearful menace doom",
    "grief and hardship": "grief sorrow suffering misery poverty hunger distress pain death dead "
    "die lost loss tears weep unhappy sad despair hardship depression victims calamity disaster",
}


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    tone = pick(sorted(TONES), rng)
    return Rule(f"words of {tone}", text.ends_of(TONES[tone].split()))
