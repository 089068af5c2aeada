"""A byte-level BPE tokenizer, and documents turned into tokens with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from autointerp.errors import CorpusError
from autointerp.files import bounded_lines, check_readable_twice, json_value
from autointerp.subjects.windows import TokenisedDocuments
from autointerp.text import without_surrogates

BOS = "<|bos|>"
PAD = "<|pad|>"


def read_texts(path: Path) -> Iterator[str]:
    """Yield the `text` of each line of a JSONL file.

    Raises CorpusError, naming the line, where a line is not an object with a string `text`.
    """
    try:
        check_readable_twice(path)
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(bounded_lines(lines), 1):
                try:
                    text = json_value(line)["text"]
                except (ValueError, KeyError, TypeError):
                    text = None
                if not isinstance(text, str):
                    raise CorpusError(f"{path}, line {number}: not an object with a string `text`")
                yield without_surrogates(text)
    except (FileNotFoundError, IsADirectoryError):
        raise CorpusError(f"no JSONL file at {path}") from None
    except (OSError, ValueError) as error:  # of the file, or text that is not UTF-8
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise CorpusError(f"{path} cannot be read ({reason}); give a JSONL file in UTF-8") from None


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """Return a byte-level BPE of `vocabulary` tokens; id 0 is BOS and id 1 padding.

    Digits are split singly, as in recent models, so that numbers do not eat the vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenise(texts: Iterator[str], tokenizer: Tokenizer, batch: int = 256) -> TokenisedDocuments:
    """Return the texts as token ids, empty ones left out.

    Raises CorpusError if nothing is left.
    """
    parts: list[np.ndarray] = []
    pending: list[str] = []

    def flush() -> None:
        for encoding in tokenizer.encode_batch_fast(pending, add_special_tokens=False):
            if encoding.ids:
                parts.append(np.array(encoding.ids, dtype=np.uint16 if small else np.uint32))
        pending.clear()

    small = tokenizer.get_vocab_size() <= 1 << 16
    for text in texts:
        pending.append(text)
        if len(pending) == batch:
            flush()
    flush()
    if not parts:
        raise CorpusError(
            "the corpus holds no text; give JSON lines with a `text` that is not empty"
        )
    starts = np.cumsum([0] + [len(part) for part in parts]).astype(np.int64)
    return TokenisedDocuments(np.concatenate(parts), starts)
