"""A corpus as shuffled batches of a model's activations, in bounded memory.

The windows of the corpus are read in order, and the activations of as many as the buffer holds
are shuffled together and used up before the next ones are read. So a place in the stream is two
numbers, and a training that was stopped reads one bufferful again and goes on with the same
batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import CorpusError, SubjectError
from autointerp.subjects.corpora import Corpus, Document, stream_windows
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.windows import Windows

TOKENS_AT_ONCE = 8192  # in a forward pass to the site
HELD_OUT = 50  # one document in so many

OnRead = Callable[[int, int], None]


def is_held_out(document: Document) -> bool:
    """Return whether a document is one of those held out, by its content: copies stay together."""
    content = document.content
    raw = content.encode() if isinstance(content, str) else content.astype("<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") % HELD_OUT == 0


class ActivationWindows:
    """A model's windows over documents of a corpus, and the activations of their tokens.

    Attributes:
        held_out: Reads the documents that are held out instead of the others; None for all.
        rows: Windows in a forward pass.
    """

    def __init__(
        self,
        model: HookedLanguageModel,
        corpus: Corpus,
        window: int,
        bos: bool,
        held_out: bool | None,
        rows: int | None = None,
    ) -> None:
        self.model, self.corpus, self.window = model, corpus, window
        self.bos_id = model.bos if bos else None
        self.held_out = held_out
        self.rows = rows or max(1, TOKENS_AT_ONCE // window)
        is_text = np.ones(max(model.vocabulary, *model.special_ids, 0) + 1, dtype=bool)
        is_text[sorted(model.special_ids)] = False
        self._is_text = is_text

    def windows(self, seed: int) -> Iterator[Windows]:
        """Yield batches of windows over the documents, in an order drawn by `seed`."""
        documents = (
            document
            for document in self.corpus.shuffled(seed).documents()
            if self.held_out is None or is_held_out(document) == self.held_out
        )
        return stream_windows(
            documents, self.model.tokenise, self.window, self.bos_id, self.model.pad, self.rows,
            vocabulary=self.model.vocabulary,
        )  # fmt: skip

    def kept(self, windows: Windows) -> NDArray[np.bool_]:
        """Return which tokens [rows, tokens] are trained on, as the harvest keeps them.

        Padding, special tokens and, where there is no BOS, the first one, an attention sink, are
        left out.
        """
        kept = windows.attention & self._is_text[windows.ids]
        if self.bos_id is None:
            kept &= np.cumsum(windows.attention, 1) > 1
        return kept

    def activations(self, windows: Windows) -> Tensor:
        """Return the kept tokens' activations [tokens, d_site], float32, on the site's device."""
        device = self.model.device
        ids = torch.from_numpy(windows.ids).to(device)
        attention = torch.from_numpy(windows.attention).to(device)
        x = self.model.activations(ids, attention)
        return x[torch.from_numpy(self.kept(windows)).to(x.device)]


class ActivationBatches:
    """Batches of shuffled activations, and the place in the stream from which to go on.

    Attributes:
        chunk: Bufferfuls that were begun before the present one.
        place: Batches of the present bufferful that were given out.
        held: The present bufferful [tokens, d_site], in the order of the text.
    """

    def __init__(
        self,
        windows: ActivationWindows,
        batch: int,
        buffer: int,
        seed: int,
        on_read: OnRead = lambda done, total: None,
    ) -> None:
        self.source, self.batch, self.seed, self.on_read = windows, batch, seed, on_read
        self.buffer = buffer
        self.chunk, self.place = -1, 0
        self.held = torch.empty(0)
        self._order = torch.empty(0, dtype=torch.int64)
        self._stream = self._chunks(0)

    def next(self) -> Tensor:
        """Return the next batch [batch, d_site]. What is left of a bufferful is dropped.

        Raises CorpusError if the corpus does not fill one batch, SubjectError if an activation is
        infinite or no number.
        """
        while (self.place + 1) * self.batch > len(self.held):
            self._fill(self.chunk + 1)
        self.place += 1
        rows = self._order[(self.place - 1) * self.batch : self.place * self.batch]
        return self.held[rows]

    def go_to(self, chunk: int, place: int) -> None:
        """Go on behind `place` batches of the bufferful `chunk`, which is read again."""
        self._stream = self._chunks(chunk)
        self._fill(chunk)
        self.place = place

    def _fill(self, chunk: int) -> None:
        self.held, self.chunk, self.place = next(self._stream), chunk, 0
        order = np.random.default_rng([self.seed, chunk]).permutation(len(self.held))
        self._order = torch.from_numpy(order).to(self.held.device)

    def _chunks(self, first: int) -> Iterator[Tensor]:
        """Yield bufferfuls from the number `first` on, without a forward pass for those before."""
        chunk, epoch = 0, 0
        while True:
            windows = self.source.windows(self.seed + epoch)
            tokens = 0
            while parts := self._bufferful(windows):
                size = sum(int(self.source.kept(part).sum()) for part in parts)
                tokens += size
                if chunk >= first:
                    yield self._read(parts, size)
                chunk += 1
            if tokens < self.batch:
                raise CorpusError(
                    f"{self.source.corpus.source} has {tokens:,} tokens to train on, less than a "
                    f"batch of {self.batch:,}; give more text, or a smaller --batch"
                )
            epoch += 1

    def _bufferful(self, windows: Iterator[Windows]) -> list[Windows]:
        """Return the next windows whose kept tokens fill the buffer, or all that are left."""
        parts, size = [], 0
        while size < self.buffer and (part := next(windows, None)) is not None:
            parts.append(part)
            size += int(self.source.kept(part).sum())
        return parts

    def _read(self, parts: list[Windows], size: int) -> Tensor:
        held, filled = None, 0
        for part in parts:
            x = self.source.activations(part)
            if held is None:
                held = torch.empty(size, x.shape[1], device=x.device)
            held[filled : filled + len(x)] = x
            filled += len(x)
            self.on_read(filled, size)
        assert held is not None
        if not bool(held.isfinite().all()):
            raise SubjectError(
                f"the activations at {self.source.model.site} are not finite; give --dtype "
                "bfloat16 or float32, or fetch the model again"
            )
        return held
