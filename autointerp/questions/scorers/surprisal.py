"""Does the description make texts in which the unit fires less surprising? Losses, as an AUROC.

A language model reads a text after some descriptions with their texts, and then after either the
unit's description or a neutral one ("Various unrelated sentences."). What the description saves,
in nats a token, is compared: the score is the probability that it saves more on a text in which
the unit fires than on a silent one. Each text is read by itself. It needs a rater that reads the
probabilities of a text: `likelihood:PATH` or `openai-completions:MODEL`.

Source: EleutherAI's delphi, `delphi/scorers/surprisal`. Theirs leaves out the loss of a text's
first token and the figure to the reader; here every token counts, and texts are cut and matched
as those of `detection` are.
"""

from __future__ import annotations

from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    Figures,
    Tried,
    area_under_roc,
    texts_of_equal_length,
)

PER_CALL = 2
COUNT = 20
# The examples are of several kinds: a theme, a sign, a word, a shape.
TASK = make_task(
    "surprisal",
    1,
    "What does the description save of each text's loss?",
    "expect",
    """
The following are descriptions of what pieces of text have in common, each with such pieces.

Description: schools, degrees and exams
Sentences:
 holds a master's degree in economics from the university of
 failed the entrance examination twice before the college
 whose pupils learn to read before their first year of school

Description: the word "the" at the beginning of a sentence
Sentences:
. The town lies on the eastern bank of the
 last week. The committee did not say when
. The smallest of the four was painted

Description: closing brackets in program code
Sentences:
(self, key):\n        return self.items[key]\n
 names.append(key)\n    total += sum(values)
 if (i < 0) { throw new Error(text); }

Description: times of day and dates
Sentences:
 open from 8:30 until noon on Monday and
 was signed on 14 March 1921 in the presence
 arrives at half past six in the evening, when

Description: {description}
Sentences:
""",
)


choose = texts_of_equal_length


def measure(tried: Tried) -> Figures:
    """Return the AUROC of what the description saves."""
    return area_under_roc(tried.asked)
