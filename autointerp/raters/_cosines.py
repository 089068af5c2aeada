"""What raters that embed share: texts of scorer `embedding`, cosines and replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autointerp.questions.forms import UNKNOWN
from autointerp.questions.question import Question
from autointerp.records import Item

DIGITS = 6  # of a cosine, behind the point


def texts_to_embed(item: Item, question: Question) -> dict[str, Any]:
    """Return what is embedded: the `description` and `texts`; or `lack`, why nothing can be."""
    texts = ["".join(context.tokens) for context in item.contexts]
    if not all(text.strip() for text in texts):
        return {"lack": "a text is empty"}
    description = " ".join((item.description or UNKNOWN).split())
    return {
        "description": question.system().replace("{description}", description),
        "texts": texts,
    }


def cosines(description: npt.ArrayLike, texts: npt.ArrayLike) -> list[float]:
    """Return the cosine of a vector, [size], with each of others, [texts, size].

    Raises ValueError where they have other sizes, a vector is 0 or a value is not finite.
    """
    query, others = np.asarray(description, np.float64), np.asarray(texts, np.float64)
    if query.ndim != 1 or others.ndim != 2 or others.shape[1] != len(query):
        raise ValueError("embeddings have different sizes")
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("an embedding is 0 or not finite")
    return [float(one) for one in np.clip(others @ query / lengths, -1, 1)]


def cosines_reply(found: Sequence[float]) -> str:
    """Return the reply of form `embed` that gives these cosines."""
    given = [{"context": n, "cosine": round(one, DIGITS)} for n, one in enumerate(found, 1)]
    return json.dumps({"similarities": given})
