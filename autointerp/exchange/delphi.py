"""Import of delphi's latent cache: `latents/{hookpoint}/{start}_{end}.safetensors`.

Each file has `locations` [firings, 3] (row, position, latent counted from `start`),
`activations` [firings] and `tokens` [rows, context], so that contexts are drawn here as a harvest
draws them: the strongest of a row, some of each interval, and positions at random.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import ExchangeError, SubjectError
from autointerp.exchange import EACH_SIDE, ForeignContext, ForeignUnit, ImportOptions
from autointerp.records import SPLITS, Draw
from autointerp.settings import HarvestSettings
from autointerp.subjects.token_texts import TokenTexts, token_texts
from autointerp.subjects.windows import content_hash
from autointerp.text import is_control_token
from autointerp.units.contents import TokenHashes, token_hashes, window_hashes
from autointerp.units.draws import interval_of, split_of

NOTES = (
    "Silent contexts were computed from the cache, for it holds every firing over 1e-5; negative "
    "activations are left out.",
    "Latents that never fired, or on special tokens alone, are not in this run.",
)

NAME = re.compile(r"([0-9]+)_([0-9]+)\.safetensors")
WANTED = HarvestSettings()


@dataclass(frozen=True)
class Corpus:
    """The rows that the cache was made from.

    Attributes:
        texts: Of the vocabulary.
        ids: [rows, context] token ids.
        is_text: [rows, context] False on special tokens: they neither fire nor are shown.
        content: [rows, context] hash of the text of the window round each token.
        split: [rows] 0 for `explain`, 1 for `score`; copies of a row have the same.
    """

    texts: TokenTexts
    ids: NDArray[np.int64]
    is_text: NDArray[np.bool_]
    content: NDArray[np.uint64]
    split: NDArray[np.int64]


def recognises(path: Path) -> bool:
    return bool(_files(path))


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield every latent that fires, file by file; one file is in memory at a time.

    Raises ExchangeError if a file lacks a tensor, the tensors do not fit together, or no tokenizer
    is given.
    """
    files = _files(path)
    if not files:
        raise ExchangeError(f"{path} holds no START_END.safetensors of a latent cache")
    if options.source and len({file.parent for file in files}) > 1:
        raise ExchangeError(f"--source {options.source}: {path} holds several hookpoints")
    if options.tokenizer is None:
        raise ExchangeError(
            f"{path} holds token ids, not texts; give the model's tokenizer.json as --tokenizer"
        )
    texts, special = _tokenizer(options.tokenizer)
    hashes = token_hashes(texts)
    found = False
    for file in files:
        for unit in _units(file, options, texts, special, hashes):
            found = True
            yield unit
    if not found:
        raise ExchangeError(f"{path}: no latent fires on a token that is text; look at its cache")


def _files(path: Path) -> list[Path]:
    """Return the files of a cache: all hookpoints of `latents`, one of them, or one file."""
    if path.is_file():
        return [path] if NAME.fullmatch(path.name) else []
    files = [p for p in path.rglob("*.safetensors") if NAME.fullmatch(p.name)]
    return sorted(files, key=lambda p: (str(p.parent), int(p.name.partition("_")[0])))


def _tokenizer(path: Path) -> tuple[TokenTexts, NDArray[np.bool_]]:
    """Return the text of each token id, and whether it is special."""
    from autointerp.subjects.tokenizers import load_tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        backend = load_tokenizer(file).backend
    except SubjectError as error:
        raise ExchangeError(f"--tokenizer {path}: {error}") from None
    described = _Described(backend)
    size = max(described.get_vocab().values(), default=-1) + 1
    texts = token_texts(described, size)
    special = np.array([is_control_token(text) for text in texts], dtype=bool)
    special[described.all_special_ids] = True
    return texts, special


class _Described:
    """A `tokenizers.Tokenizer` with the attributes that `token_texts` reads."""

    def __init__(self, backend: Any) -> None:
        self.backend_tokenizer = backend
        self.added_tokens_decoder = backend.get_added_tokens_decoder()
        self.all_special_ids = [i for i, t in self.added_tokens_decoder.items() if t.special]

    def get_vocab(self) -> dict[str, int]:
        return dict(self.backend_tokenizer.get_vocab(with_added_tokens=True))


def _units(
    file: Path,
    options: ImportOptions,
    texts: TokenTexts,
    special: NDArray[np.bool_],
    hashes: TokenHashes,
) -> Iterator[ForeignUnit]:
    start, end = (int(number) for number in file.stem.split("_"))
    locations, activations, tokens = _tensors(file, end - start + 1)
    if len(tokens) and int(tokens.max()) >= len(texts):
        raise ExchangeError(
            f"{file}: token id {int(tokens.max())} is beyond the {len(texts):,} of "
            f"{options.tokenizer}; give the tokenizer of the cached model"
        )
    each_side = EACH_SIDE if options.each_side is None else options.each_side
    is_text = ~special[tokens]
    content = np.array([content_hash(row) for row in tokens], dtype=np.uint64)
    corpus = Corpus(
        texts,
        tokens,
        is_text,
        window_hashes(hashes, tokens, is_text, each_side, options.seed),
        split_of(options.seed, content, options.explain_share),
    )
    row, position = locations[:, 0], locations[:, 1]
    in_text = is_text[row, position]
    wrong = np.flatnonzero(in_text & ~np.isfinite(activations))
    if len(wrong):  # half precision overflows on special tokens first, where nothing is read
        raise ExchangeError(
            f"{file}: an activation is not finite, that of latent "
            f"{start + int(locations[wrong[0], 2])} at row {int(row[wrong[0]])}, position "
            f"{int(position[wrong[0]])}; cache in bfloat16 or float32"
        )
    fires = in_text & (activations > 0)
    if not fires.any():
        return
    place = (row * tokens.shape[1] + position)[fires]
    latent, value = locations[fires, 2], activations[fires]
    order = np.lexsort((place, latent))
    latent, place, value = latent[order], place[order], value[order]
    numbers, begins = np.unique(latent, return_index=True)
    for number, begin, stop in zip(numbers, begins, [*begins[1:], len(latent)], strict=True):
        rng = np.random.default_rng([options.seed, start + int(number)])
        drawn = Drawn(corpus, place[begin:stop], value[begin:stop], each_side)
        if len(np.unique(drawn.places)) < stop - begin:
            raise ExchangeError(f"{file}: latent {start + int(number)} fires twice at one place")
        yield ForeignUnit(
            options.source or file.parent.name,
            str(start + int(number)),
            tuple(drawn.contexts(rng)),
            density=float((stop - begin) / is_text.sum()),
            tokens=int(is_text.sum()),
            peak=float(value[begin:stop].max()),
        )


def _tensors(
    file: Path, latents: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return locations [firings, 3], activations [firings] and tokens [rows, context]."""
    tensors = _loaded(file)
    lacking = [name for name in ("locations", "activations", "tokens") if name not in tensors]
    if lacking:
        raise ExchangeError(
            f"{file} has no {' and no '.join(lacking)} (it has {', '.join(sorted(tensors))}); "
            "delphi writes tokens where it caches with save_tokens"
        )
    locations, activations, tokens = (
        tensors[name] for name in ("locations", "activations", "tokens")
    )
    shapes = f"locations {locations.shape}, activations {activations.shape}, tokens {tokens.shape}"
    if (
        locations.ndim != 2
        or locations.shape[1] != 3
        or activations.shape != locations.shape[:1]
        or tokens.ndim != 2
        or not tokens.size
    ):
        raise ExchangeError(
            f"{file}: {shapes}; they must be [firings, 3], [firings] and [rows, context]"
        )
    if not np.issubdtype(activations.dtype, np.floating):
        raise ExchangeError(
            f"{file}: activations are of {activations.dtype}; they must be floating-point numbers"
        )
    if not all(np.issubdtype(part.dtype, np.integer) for part in (locations, tokens)):
        raise ExchangeError(f"{file}: locations and tokens must be whole numbers")
    locations, tokens = locations.astype(np.int64), tokens.astype(np.int64)
    with np.errstate(over="ignore"):  # infinite ones are refused where a text has them
        activations = activations.astype(np.float32)
    limits = (*tokens.shape, latents)
    if len(locations) and ((locations.max(0) >= limits).any() or locations.min() < 0):
        raise ExchangeError(
            f"{file}: a location lies outside rows, context and latents {limits}: "
            f"the largest is {tuple(locations.max(0).tolist())}"
        )
    if tokens.min() < 0:
        raise ExchangeError(f"{file}: token id {int(tokens.min())} is negative")
    return locations, activations, tokens


def _loaded(file: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file; numpy has no bfloat16, which is the upper half of a float32."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as tensors:
            kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
            loaded = {
                name: tensors.get_tensor(name) for name, kind in kinds.items() if kind != "BF16"
            }
        if len(loaded) == len(kinds):
            return loaded
        with file.open("rb") as raw:
            size = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(size))
            for name in kinds.keys() - loaded.keys():
                begin, end = header[name]["data_offsets"]
                raw.seek(8 + size + begin)
                upper = np.frombuffer(raw.read(end - begin), dtype="<u2").astype(np.uint32)
                values = (upper << np.uint32(16)).view(np.float32)
                loaded[name] = values.reshape(header[name]["shape"])
        return loaded
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ExchangeError(f"{file} is not a safetensors file ({error})") from None


@dataclass(frozen=True)
class Drawn:
    """The places where one latent fires, and its activations there.

    Attributes:
        places: [firings] row times context length plus position, ascending.
        values: [firings]
    """

    corpus: Corpus
    places: NDArray[np.int64]
    values: NDArray[np.float32]
    each_side: int

    def contexts(self, rng: np.random.Generator) -> Iterator[ForeignContext]:
        """Yield by split the strongest of a row, some of each interval, and some at random."""
        length = self.corpus.is_text.shape[1]
        rows = self.places // length
        level = interval_of(self.values, np.array(float(self.values.max())), WANTED.intervals)
        for split in (0, 1):
            of_split = np.flatnonzero(self.corpus.split[rows] == split)
            strongest = of_split[np.lexsort((self.places[of_split], -self.values[of_split]))]
            _, first = np.unique(rows[strongest], return_index=True)
            strongest = self._once(strongest[np.sort(first)])
            for chosen in strongest[: WANTED.top]:
                yield self._context(int(self.places[chosen]), split, "top", int(level[chosen]))
            for interval in range(WANTED.intervals):
                candidates = self._once(of_split[level[of_split] == interval])
                for chosen in np.sort(rng.permutation(candidates)[: WANTED.per_interval]):
                    yield self._context(int(self.places[chosen]), split, "interval", interval)
            for place in self._at_random(rng, split):
                at = int(np.searchsorted(self.places, place))
                fires = at < len(self.places) and self.places[at] == place
                yield self._context(place, split, "random", int(level[at]) if fires else None)

    def _once(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the firings without those whose window's text came before."""
        content = self.corpus.content.ravel()[self.places[chosen]]
        _, first = np.unique(content, return_index=True)
        return chosen[np.sort(first)]

    def _at_random(self, rng: np.random.Generator, split: int) -> list[int]:
        """Return places of text in rows of the split."""
        length = self.corpus.is_text.shape[1]
        rows = np.flatnonzero(self.corpus.split == split)
        if not len(rows):
            return []
        drawn = rng.choice(rows, 4 * WANTED.random) * length + rng.integers(
            length, size=4 * WANTED.random
        )
        drawn = drawn[self.corpus.is_text.ravel()[drawn]]
        _, first = np.unique(self.corpus.content.ravel()[drawn], return_index=True)
        places: list[int] = drawn[np.sort(first)].tolist()
        return places[: WANTED.random]

    def _context(self, place: int, split: int, draw: Draw, level: int | None) -> ForeignContext:
        length = self.corpus.is_text.shape[1]
        row, position = divmod(place, length)
        first = max(0, position - self.each_side)
        last = min(length, position + self.each_side + 1)
        # A special token is where a text ends: nothing beyond it belongs to the window.
        ends = np.flatnonzero(~self.corpus.is_text[row, first:last]) + first
        first = int(max([first, *(ends[ends < position] + 1)]))
        last = int(min([last, *ends[ends > position]]))
        activations = np.zeros(last - first, dtype=np.float32)
        begin, end = np.searchsorted(self.places, [row * length + first, row * length + last])
        activations[self.places[begin:end] - (row * length + first)] = self.values[begin:end]
        return ForeignContext(
            tuple(
                self.corpus.texts.joined(
                    self.corpus.ids[row, first:last].tolist(), position - first
                )
            ),
            tuple(activations.tolist()),
            position - first,
            SPLITS[split],
            draw,
            None if level is None else 1 + level,
            (row, position),
        )
