"""Prompts of labs: texts as a subject's model reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from autointerp.errors import BadInput
from autointerp.subjects import Subject
from autointerp.subjects.token_texts import TokenTexts


def several(text: str) -> list[str]:
    """Return the prompts that an option names: a JSON list of texts, or one text as it is."""
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, list) and parsed and all(isinstance(one, str) for one in parsed):
        return parsed
    return [text]


def token_ids(subject: Subject, text: str, cut: int | None = None) -> list[int]:
    """Return the ids of a prompt as the model reads it, begun as the subject's windows are.

    `cut`: the first of them at most. Raises BadInput where nothing is left of it, or the subject
    has no tokenizer.
    """
    ids = [*([] if subject.bos is None else [subject.bos]), *_ids(subject, text)][:cut]
    if not ids:
        raise BadInput(
            f"prompt {text!r} has no tokens, and windows of '{subject.name}' do not begin with "
            "BOS; give a prompt"
        )
    if len(ids) > subject.longest:
        raise BadInput(
            f"prompt {text[:40]!r} has {len(ids):,} tokens, and '{subject.name}' reads at most "
            f"{subject.longest:,}; shorten it"
        )
    return ids


def one_token(subject: Subject, text: str, option: str) -> int:
    """Return the id of the token whose text this is: the only one of that text, else what the
    tokenizer makes of it, which some tokenizers begin with a space.

    Raises BadInput if it is none, or several, or one that the vocabulary lacks.
    """
    alike = [index for index, one in enumerate(subject.token_texts) if one == text]
    ids = alike if len(alike) == 1 else _ids(subject, text)
    hint = "" if text.startswith(" ") else f" (words mostly begin with a space: {' ' + text!r})"
    if len(ids) != 1:
        parts = ", ".join(repr(one) for one in token_strings(subject, ids)) or "none"
        raise BadInput(
            f"{option} {text!r} is {len(ids)} tokens ({parts}), and one is asked for; give one "
            f"token{hint}"
        )
    if ids[0] in subject.special and subject.token_texts[ids[0]] != text:
        raise BadInput(
            f"{option} {text!r} is not in the vocabulary of '{subject.name}', whose tokenizer "
            f"reads it as {subject.token_texts[ids[0]]!r}; give a token that it has{hint}"
        )
    return ids[0]


def token_strings(subject: Subject, ids: Sequence[int]) -> list[str]:
    """Return the text of each token, which together are the text."""
    texts = subject.token_texts
    if isinstance(texts, TokenTexts) and ids:
        return texts.joined(ids, 0)
    return [texts[index] for index in ids]


def as_batch(ids: Sequence[int], rows: int = 1) -> tuple[Tensor, Tensor]:
    """Return `rows` equal rows of ids, [rows, tokens], and their attention."""
    batch = torch.tensor([list(ids)]).expand(rows, -1).contiguous()
    return batch, torch.ones_like(batch, dtype=torch.bool)


def _ids(subject: Subject, text: str) -> list[int]:
    if subject.tokenise is None:
        raise BadInput(
            f"'{subject.name}' has no tokenizer of texts, so it reads no prompt; name a run of a "
            "model that reads text"
        )
    (ids,) = subject.tokenise([text])
    if ids and max(ids) >= len(subject.token_texts):
        raise BadInput(
            f"prompt {text[:40]!r} has a token beyond the vocabulary of '{subject.name}'; give "
            "the model's own tokenizer"
        )
    return ids
