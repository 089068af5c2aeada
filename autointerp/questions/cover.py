"""Is a concept what a unit is about? Concepts from a file, and the question about one unit.

A unit is judged by its description and its strongest contexts, whether it was chosen for the
concept or drawn at random, which the judge cannot know.
Source: Templeton et al. 2024, "Scaling Monosemanticity", feature completeness (SEEDS §3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import BadInput
from autointerp.questions.forms import LOUDEST, UNKNOWN
from autointerp.questions.question import Shows, fenced
from autointerp.questions.rubric import Rubric, context_fields
from autointerp.records import Context, Item, ItemContext, storable
from autointerp.text import whole_characters

CONTEXTS = 10
BETWEEN = "|"  # prompts
MOST_CONCEPTS = 10_000


@dataclass(frozen=True)
class Concept:
    """A concept, and prompts in which it is named; units are read at its last token there."""

    name: str
    prompts: tuple[str, ...]

    def end_in(self, prompt: str) -> int:
        """Return where the concept ends in a prompt, in characters: behind the last place in which
        it stands, whatever its case; the prompt's end where it is not named.
        """
        at = prompt.lower().rfind(self.name.lower())
        # A letter whose lower case is longer would move all places behind it.
        if at < 0 or len(prompt.lower()) != len(prompt):
            return len(prompt)
        return at + len(self.name)


def read_concepts(path: Path) -> list[Concept]:
    """Return the concepts of a file: `NAME: PROMPT | PROMPT` a line, or NAME alone.

    A concept without prompts is its own prompt. Empty lines and those that begin with # are passed
    over. Raises BadInput, with the line, for a file that cannot be read or is empty, a line without
    a name, an empty prompt, or a concept that stands twice.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a device might never end
        raise BadInput(f"{path}: is no file; give a text file of concepts, one a line")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except OSError as error:
        raise BadInput(
            f"{path}: {error.strerror}; give a text file of concepts, one a line"
        ) from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; give a text file of concepts") from None
    concepts: dict[str, Concept] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        name = " ".join(name.split())
        prompts = tuple(prompt.strip() for prompt in rest.split(BETWEEN)) if colon else (name,)
        if not name or not all(prompts):
            what = "no name before the colon" if not name else "an empty prompt"
            raise BadInput(
                f"{path}, line {number}: {what}; write NAME: PROMPT {BETWEEN} PROMPT, or NAME alone"
            )
        if name.lower() in concepts:
            raise BadInput(
                f"{path}, line {number}: '{name}' stands twice; put its prompts in one line, "
                f"with {BETWEEN} between"
            )
        concepts[name.lower()] = Concept(name, prompts)
    if not concepts:
        raise BadInput(f"{path} holds no concepts; write one a line, as in `king: The old king`")
    if len(concepts) > MOST_CONCEPTS:
        raise BadInput(f"{path} holds {len(concepts):,} concepts; give {MOST_CONCEPTS:,} at most")
    return list(concepts.values())


class CoverRubric(Rubric):
    """The question; its item carries the concept as the first of `descriptions`."""

    def user(self, item: Item) -> str:
        """Return the concept, the description and the contexts as lines of JSON in a fence."""
        lines = [context_fields(self.shows, context) for context in item.contexts]
        lines.insert(0, {"description": item.description or UNKNOWN})
        lines.insert(0, {"concept": item.descriptions[0]})
        return fenced(item, lines[: 2 + self.shows.contexts])


COVER = CoverRubric(
    id="cover",
    version=1,
    title="Is the concept what the unit is mainly about?",
    scale=(
        (0, "no: the unit is about something else, about something much wider of which the concept "
            "is one case among many, or about a part of the concept's name or spelling alone"),
        (1, "yes: the concept, or a name of it, is the main thing that the strong contexts share"),
    ),
    shows=Shows(
        draws=("top",),
        split="explain",
        contexts=CONTEXTS,
        activations="scaled",
        mark=True,
        each_side=16,
        description=True,
    ),
    asks=(),
    text="""You are shown a concept, and where one unit of a language model fires. A unit is a \
number that the model computes at every token of a text; it fires where that number is above zero. \
Say whether the concept is the main thing that the unit responds to.

What you are shown begins with a line that holds the concept. After it: {shown}

Judge by the contexts in which the unit fires most strongly; the description may be wrong. That \
the concept occurs in some contexts is not enough: it must be what they have in common.

{scale}

{reply}""",
)  # fmt: skip


def shown_contexts(contexts: Sequence[Context], peak: float) -> tuple[ItemContext, ...]:
    """Return the strongest of a unit's contexts as the question shows them."""
    chosen = sorted(contexts, key=lambda context: -context.activation)[:CONTEXTS]
    scale = LOUDEST / peak if peak > 0 else 0.0
    shown = []
    for context in chosen:
        levels = tuple(scale * a for a in context.activations)
        tokens, scaled, focus = whole_characters(context.tokens, levels, context.focus)
        shown.append(ItemContext(tuple(tokens), scaled, focus, context.split, silent=False))
    return tuple(shown)


def cover_item(
    seed: int, unit: str, concept: str, description: str | None, contexts: Sequence[ItemContext]
) -> Item:
    """Return a concept and a unit as one item; what is the same has the same id, which is opaque.

    The id does not say whether the unit was chosen for the concept.
    """
    content = [unit, concept, description, [[c.tokens, c.activations, c.focus] for c in contexts]]
    key = hashlib.sha256(f"autointerp/{seed}".encode()).digest()
    text = storable(json.dumps([COVER.digest, content]))
    identifier = hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()
    return Item(
        id=f"cover-{identifier}",
        rubric=COVER.id,
        contexts=tuple(contexts),
        description=description,
        descriptions=(concept,),
    )
