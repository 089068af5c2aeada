"""The corpus as it is read: in batches, then by a forward pass to the site."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import CorpusError, SubjectError
from autointerp.records import SPLITS
from autointerp.settings import LEAST_TOKENS, HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.windows import Windows
from autointerp.text import count
from autointerp.units.contents import TokenHashes, token_hashes, window_hashes
from autointerp.units.draws import place_hash, split_of
from autointerp.units.sources import Calibration, SiteBatch

CALIBRATION_TOKENS = 50_000
LOOKED = 256  # windows by which it is decided whether documents are short
PADDED = 1.25  # computed tokens for one of text from which they are


def window_length(subject: Subject, settings: HarvestSettings) -> int:
    """Return the tokens in a model window."""
    return min(settings.window or min(subject.longest, 1024), subject.longest)


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Run without autograd, and without torch's warning on arrays that are only read."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        yield


@dataclass(frozen=True)
class Reading:
    """Windows that are to be read, and what of them counts.

    Attributes:
        kept: [rows, tokens] False on padding and special tokens, and beyond the token budget.
        position: [rows, tokens] places in their documents; they mean nothing where nothing is kept.
        token_hashes: Of the vocabulary's texts.
        each_side: Tokens of a context on either side of its focus.
        order: [rows] places of the windows in the corpus.
        goes_on: Whether it is the last within the token budget, and the corpus has more.
    """

    windows: Windows
    kept: NDArray[np.bool_]
    position: NDArray[np.int64]
    token_hashes: TokenHashes
    each_side: int
    order: NDArray[np.int64]
    goes_on: bool = False

    def contents(self, seed: int) -> NDArray[np.uint64]:
        """Return 64 random bits [rows, tokens] of the text of each token's context."""
        return window_hashes(self.token_hashes, self.windows.ids, self.kept, self.each_side, seed)


def readings(subject: Subject, settings: HarvestSettings) -> Iterator[Reading]:
    """Yield the corpus in batches, before any forward pass; the same ones each time.

    Stops after `settings.tokens` kept tokens, cutting the last window short where need be, so that
    the tokens read do not depend on the batch size. Where documents are short, windows of about
    the same length go together: see `batched`.
    """
    length = window_length(subject, settings)
    yield from batched(_as_written(subject, settings), length, settings.rows)


def _as_written(subject: Subject, settings: HarvestSettings) -> Iterator[Reading]:
    """Yield batches of windows in the order of the corpus."""
    is_text = text_ids(subject)
    texts = [*subject.token_texts, *[""] * (len(is_text) - len(subject.token_texts))]
    hashes = token_hashes(texts)
    left = settings.tokens or None
    read = 0
    cut = iter(subject.cut(window_length(subject, settings), settings.rows))
    for windows in cut:
        text, position = counted(subject, settings, windows, is_text)
        goes_on = False
        if left is not None:
            of_batch = int(text.sum())
            text &= np.cumsum(text, dtype=np.int64).reshape(text.shape) <= left
            goes_on = of_batch > left or (
                of_batch == left
                and any(counted(subject, settings, one, is_text)[0].any() for one in cut)
            )
            left -= int(text.sum())
        order = np.arange(read, read + len(text))
        read += len(text)
        yield Reading(windows, text, position, hashes, settings.each_side, order, goes_on)
        if left == 0:
            return


def batched(as_written: Iterable[Reading], length: int, rows: int) -> Iterator[Reading]:
    """Yield windows of about the same length together, where a corpus is mostly of short documents.

    That is where the first `LOOKED` windows are padded to over `PADDED` times their tokens; other
    corpora are passed on as they are written. A window is computed at a width of its own, whatever
    else is in its batch, so that activations do not depend on the batch: at most 1/8 wider than it
    is. A batch has as many computed tokens as `rows` windows of full `length`; up to that many are
    held for each width, of which there are fewer than 50.
    """
    looked: list[Reading] = []
    rest = iter(as_written)
    for reading in rest:
        looked.append(reading)
        if sum(len(one.kept) for one in looked) >= LOOKED:
            break
    attention = [one.windows.attention for one in looked]
    first = np.concatenate(attention)[:LOOKED] if attention else np.zeros((0, length), bool)
    if first.size <= PADDED * first.sum():
        yield from looked
        yield from rest
        return
    widths = _widths(length)
    held: dict[int, list[Reading]] = {}
    goes_on = False
    for reading in itertools.chain(looked, rest):
        goes_on = reading.goes_on
        own = widths[np.searchsorted(widths, _lengths(reading))]
        for width in np.unique(own).tolist():
            some = some_rows(reading, np.flatnonzero(own == width))
            held.setdefault(width, []).append(_columns(some, width))
            most = rows * length // width
            if sum(len(one.kept) for one in held[width]) > most:  # the last one says what follows
                together = _stacked(held[width])
                yield some_rows(together, slice(0, most))
                held[width] = [some_rows(together, slice(most, None))]
    last = [_stacked(held[width]) for width in sorted(held)]
    last = [reading for reading in last if len(reading.kept)]
    for number, reading in enumerate(last, 1):
        yield replace(reading, goes_on=goes_on and number == len(last))


def _widths(length: int) -> NDArray[np.int64]:
    """Return the widths at which windows are computed: each up to 8, then each 1/8 wider."""
    widths = [1]
    while widths[-1] < length:
        widths.append(min(length, widths[-1] + max(1, widths[-1] // 8)))
    return np.array(widths)


def _lengths(reading: Reading) -> NDArray[np.int64]:
    """Return up to which column each window has tokens, [rows]; at least 1."""
    attention = reading.windows.attention
    columns = attention.shape[1]
    last = columns - np.argmax(attention[:, ::-1], axis=1)
    lengths: NDArray[np.int64] = np.where(attention.any(axis=1), last, 1)
    return lengths


def _columns(reading: Reading, width: int) -> Reading:
    """Return the reading with so many columns; the others are padding."""
    windows = reading.windows

    def fit(values: NDArray[Any]) -> NDArray[Any]:
        return values[:, :width]

    return replace(
        reading,
        windows=replace(windows, ids=fit(windows.ids), attention=fit(windows.attention)),
        kept=fit(reading.kept),
        position=fit(reading.position),
    )


def _stacked(held: Sequence[Reading]) -> Reading:
    """Return readings of one width as one."""

    def joined(values: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(values))

    windows = Windows(
        *(joined(getattr(one.windows, part.name) for one in held) for part in fields(Windows))
    )
    return replace(
        held[0],
        windows=windows,
        kept=joined(one.kept for one in held),
        position=joined(one.position for one in held),
        order=joined(one.order for one in held),
    )


def some_rows(reading: Reading, rows: Sequence[int] | NDArray[np.int64] | slice) -> Reading:
    """Return some windows of a reading."""
    windows = reading.windows
    return replace(
        reading,
        windows=Windows(*(getattr(windows, part.name)[rows] for part in fields(Windows))),
        kept=reading.kept[rows],
        position=reading.position[rows],
        order=reading.order[rows],
    )


def text_ids(subject: Subject) -> NDArray[np.bool_]:
    """Return whether each id is text: neither special nor beyond the vocabulary."""
    is_text = np.ones(max(len(subject.token_texts), *subject.special, 0) + 1, dtype=bool)
    is_text[sorted(subject.special)] = False
    return is_text


def counted(
    subject: Subject, settings: HarvestSettings, windows: Windows, is_text: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which tokens of windows count, and all their places in their documents."""
    text = windows.attention & is_text[windows.ids]
    # A window's first token after BOS stands at `offset`. Specials of the document have a place,
    # as `offset` counts them too.
    first = windows.ids[np.arange(len(windows.ids)), windows.attention.argmax(1)]
    before = 1 + (subject.begins_with_bos & ~is_text[first])
    position = windows.offset[:, None] + np.cumsum(windows.attention, 1, dtype=np.int64)
    position -= before[:, None]
    if first_is_none(subject, settings):
        text &= np.cumsum(windows.attention, 1) > 1
    return text, position


def first_is_none(subject: Subject, settings: HarvestSettings) -> bool:
    """Return whether a text's first token counts as none: without BOS it is an attention sink."""
    return settings.mask_first and not subject.begins_with_bos


def at_site(subject: Subject, reading: Reading, seed: int) -> SiteBatch:
    """Return the forward pass of a batch, up to the site or to the hidden neurons beside it."""
    windows = reading.windows
    on_device = _on_device(subject, reading)
    ids = on_device[0]
    x, hidden = _activations(subject, reading, on_device)
    hashes = place_hash(seed, windows.document[:, None], reading.position)
    kept = torch.from_numpy(reading.kept).to(x.device)
    return SiteBatch(x, ids.to(x.device), kept, hashes, hidden, _twin_of(subject, reading))


def _activations(
    subject: Subject, reading: Reading, on_device: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the activations of the site, and of the hidden neurons beside it if they are read.

    From the subject's cache where that has them all; otherwise the model is run, and the cache gets
    them.
    """
    recalled = _recalled(subject, reading)
    if recalled is not None:
        return recalled
    hidden = None
    if subject.read_both is None:
        x = subject.model.activations(*on_device)
    else:
        x, hidden = subject.read_both(*on_device)
        hidden = hidden.to(x.device)
    _keep(subject, reading, x, hidden)
    return x, hidden


def _recalled(
    subject: Subject, reading: Reading
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return what the subject's cache holds of a batch; None unless it holds all."""
    if subject.cache is None:
        return None
    found = subject.cache.recall(reading.order, reading.kept)
    if found is None:
        return None
    x, hidden = found
    return x.to(subject.device), None if hidden is None else hidden.to(subject.device)


def _keep(subject: Subject, reading: Reading, x: torch.Tensor, hidden: torch.Tensor | None) -> None:
    """Give the subject's cache, if it has one, the activations of a batch."""
    if subject.cache is not None:
        subject.cache.keep(reading.order, reading.kept, x, hidden)


def at_sites(subjects: Sequence[Subject], reading: Reading, seed: int) -> list[SiteBatch]:
    """Return what `at_site` does for subjects of one model, from one forward pass for all sites.

    Subjects that read one site share its activations; each has its own untrained twin.
    """
    first = subjects[0]
    if all(other.site == first.site for other in subjects):
        batch = at_site(first, reading, seed)
        return [replace(batch, read_untrained=_twin_of(one, reading)) for one in subjects]
    by_site = {one.site: one for one in subjects}
    read = {site: _recalled(one, reading) for site, one in by_site.items()}
    if any(found is None for found in read.values()):
        read = dict(_read_sites(subjects, reading))
        for site, one in by_site.items():
            found = read[site]
            assert found is not None
            _keep(one, reading, *found)
    ids, _ = _on_device(first, reading)
    hashes = place_hash(seed, reading.windows.document[:, None], reading.position)
    batches = []
    for one in subjects:
        found = read[one.site]
        assert found is not None
        x, hidden = found
        kept = torch.from_numpy(reading.kept).to(x.device)
        batches.append(SiteBatch(x, ids.to(x.device), kept, hashes, hidden, _twin_of(one, reading)))
    return batches


def _read_sites(
    subjects: Sequence[Subject], reading: Reading
) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """Return each site's activations, and those of the hidden neurons beside it where a subject
    reads them, from one forward pass."""
    from autointerp.subjects.language_model import HookedLanguageModel  # no other has several sites

    models = [one.model for one in subjects]
    beside = [one.hidden for one in subjects]
    wanted = [model for model in (*models, *beside) if isinstance(model, HookedLanguageModel)]
    ids, attention = _on_device(subjects[0], reading)
    at = wanted[0].at_all(wanted, ids, attention)
    read = dict(zip((model.site for model in wanted), at, strict=True))
    found: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}
    for one, hidden in zip(subjects, beside, strict=True):
        x = read[one.site]
        found[one.site] = (x, None if hidden is None else read[hidden.site].to(x.device))
    return found


def _on_device(subject: Subject, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(reading.windows.ids)
    attention = torch.from_numpy(reading.windows.attention)
    return ids.to(subject.device), attention.to(subject.device)


def _twin_of(subject: Subject, reading: Reading) -> Callable[[], torch.Tensor] | None:
    twin = subject.untrained
    if twin is None:
        return None
    ids, attention = _on_device(subject, reading)
    return lambda: twin().model.activations(ids, attention).to(subject.device)


def site_batches(
    subject: Subject, settings: HarvestSettings, seed: int
) -> Iterator[tuple[SiteBatch, Windows, NDArray[np.int64]]]:
    """Yield the corpus at the site, the windows, and the kept tokens' places in their documents."""
    for reading in readings(subject, settings):
        yield at_site(subject, reading, seed), reading.windows, reading.position


def require_both_splits(subject: Subject, settings: HarvestSettings, seed: int) -> None:
    """Raise CorpusError where all documents fall into one split, unless it was given all of them.

    The corpus is read, by no model, until a document of either split was seen: mostly a batch.
    """
    if settings.explain_share in (0, 1):
        return
    is_text = text_ids(subject)
    contents: set[int] = set()
    splits: set[int] = set()
    read = 0
    for windows in subject.cut(window_length(subject, settings), settings.rows):
        tokens = counted(subject, settings, windows, is_text)[0].sum(1)
        before = read + np.cumsum(tokens) - tokens
        is_read = (tokens > 0) & (before < (settings.tokens or np.inf))
        here = windows.content[is_read]
        contents.update(here.tolist())
        splits.update(split_of(seed, here, settings.explain_share).tolist())
        read += int(tokens.sum())
        if len(splits) == 2:
            return
        if settings.tokens and read >= settings.tokens:
            break
    (only,) = splits
    lost = {
        "explain": "no description could be tried on text that its writer has not seen",
        "score": "no unit could be described, or shown to a rater",
    }[SPLITS[only]]
    documents = count(len(contents), "document")
    more = "give more documents, or read more of them"
    if len(contents) > 1:  # whatever the seed, one is in one split
        more = "give more documents, read more of them, or take another --seed"
    raise CorpusError(
        f"what is read of the corpus of subject '{subject.name}' is {documents}, copies aside, all "
        f"in the split '{SPLITS[only]}', so that {lost}; {more} (harvest.explain_share = 1 gives "
        "up the other split)"
    )


def calibrate(subject: Subject, settings: HarvestSettings, seed: int) -> Calibration:
    """Return the first tokens of the corpus at the site.

    Raises CorpusError if the corpus has fewer than 2,000 tokens, SubjectError if an activation is
    infinite or no number.
    """
    activations, ids, order, total, wrong = [], [], [], 0, 0
    hidden: list[torch.Tensor] = []
    most = min(settings.tokens or CALIBRATION_TOKENS, CALIBRATION_TOKENS)
    with quiet_torch():
        for reading in readings(subject, replace(settings, tokens=most)):
            batch = at_site(subject, reading, seed)
            activations.append(batch.activations[batch.kept])
            wrong += int((~activations[-1].isfinite()).any(-1).sum())
            if batch.hidden is not None and subject.sae is None:  # what controls are matched to
                hidden.append(batch.hidden[batch.kept])
            ids.append(batch.ids[batch.kept])
            order.append(np.repeat(reading.order, reading.kept.sum(1)))
            total += len(ids[-1])
        if total < LEAST_TOKENS:
            raise CorpusError(
                f"the corpus of subject '{subject.name}' has {count(total, 'token')}; "
                f"at least {LEAST_TOKENS} are needed"
            )
        if wrong:
            # float16 overflows where a model trained in bfloat16 has a large residual stream.
            raise SubjectError(
                f"the activations at {subject.site} are not finite on {wrong:,} of "
                f"{total:,} tokens; give dtype bfloat16 or float32, or fetch the model again"
            )
        window = np.concatenate(order)
        if np.all(window[1:] >= window[:-1]):
            return Calibration(
                torch.cat(activations), torch.cat(ids), torch.cat(hidden) if hidden else None
            )
        as_written = torch.from_numpy(np.argsort(window, kind="stable")).to(batch.kept.device)
        return Calibration(
            torch.cat(activations)[as_written],
            torch.cat(ids)[as_written],
            torch.cat(hidden)[as_written] if hidden else None,
        )
