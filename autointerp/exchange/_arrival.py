"""Import: files of other tools → units and contexts of a run, rated without a model.

What a file does not say is decided here, the same way for every form: which contexts explain and
which score, what each was drawn for, and where contexts come from in which a unit is silent.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from autointerp import exchange, extensions
from autointerp.errors import BadInput, ExchangeError, RunMismatch, UnknownName
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._windows import is_finite, strongest
from autointerp.files import check_readable_twice
from autointerp.records import (
    ASSUMED_SILENT,
    SPLITS,
    Context,
    Draw,
    Outcome,
    Split,
    Unit,
    UnitSummary,
)
from autointerp.settings import HarvestSettings, RunSettings, SampleSettings, SubjectSettings
from autointerp.store.run import IMPORTED, RUNS, Run, open_run, run_exists
from autointerp.store.tables import now
from autointerp.store.units import context_row, unit_row
from autointerp.subjects.passages import near_copies_text, passages_of, share_passages
from autointerp.text import without_surrogates
from autointerp.units.draws import interval_of, random_order
from autointerp.units.sources import kind_of

INTERVALS, TOP = HarvestSettings().intervals, HarvestSettings().top
BORROWED_NOTE = f"silent contexts are other units', {ASSUMED_SILENT}"
ALIKE = 1.1  # times as long; what ends of documents cut off is less
BORROWED = 20  # contexts of other units, a unit and split, where a file has no silent ones
POOL = 4096  # that they are drawn from
ROWS = 5_000  # written at once
LENT = 100_000  # contexts of other units that are copied at once
FORM_HAS = ("recognises", "read")
NUMBERED = re.compile(r"([0-9]{1,9})([-+]?)")


@dataclass
class ImportCounts:
    """What an import added: units by source and outcome. `seen_before` if the run had the file,
    `unlike` how the run's sources can be told apart by the length of their contexts, if so."""

    form: str
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    contexts: int = 0
    borrowed_for: int = 0
    near_copies: int = 0  # contexts left out
    unlike: str = ""
    seen_before: bool = False


def forms() -> list[str]:
    """Return the names of the forms in which units come in."""
    return [
        name
        for name in extensions.names(exchange)
        if any(hasattr(_form(name), member) for member in FORM_HAS)
    ]


def _form(name: str) -> ModuleType:
    module = extensions.load(exchange, "format", name)
    if any(hasattr(module, member) for member in FORM_HAS):  # others are of exports alone
        extensions.require(module, FORM_HAS)
    return module


def recognised(path: Path) -> str:
    """Return the form of a file or folder.

    Raises ExchangeError if it is of none of them, naming those there are.
    """
    fitting = [name for name in forms() if _form(name).recognises(path)]
    if len(fitting) != 1:
        raise ExchangeError(
            f"{path} is {'of several forms' if fitting else 'of no form'} that can be imported "
            f"({', '.join(fitting or forms())}); say which it is with --format"
        )
    return fitting[0]


def import_units(
    path: Path,
    run_name: str,
    form: str = "",
    options: ImportOptions | None = None,
    runs: Path = RUNS,
) -> ImportCounts:
    """Add the units of a file to a run, created if it does not exist; all or none of them.

    The same file again does nothing. Another file adds its units. Raises ExchangeError if the file
    is not of its form, RunMismatch if the run is not an imported one or holds one of the units.
    """
    options = options or ImportOptions()
    if not path.exists():
        raise ExchangeError(f"no file or folder {path}; give an existing one")
    path = Path(os.path.abspath(path))  # its folders have names, and others stand beside them
    try:
        for place in (path, *(path.rglob("*") if path.is_dir() else ())):
            check_readable_twice(place)
    except OSError as error:
        raise ExchangeError(f"{error.filename} is {error.strerror}") from None
    if form and form not in forms():
        if form not in extensions.names(exchange):
            raise UnknownName("format", form, forms())
        raise BadInput(f"--format {form} can only be exported; give one of {', '.join(forms())}")
    form = form or recognised(path)
    is_new = not run_exists(runs / run_name)
    if not is_new:
        _check_imported(run_name, runs)
    with open_run(run_name, _settings(options.seed), folder=runs) as run:
        try:
            with run.turn.lock:  # else another thread may take the same numbers meanwhile
                return _import(run, path, form, options)
        except BaseException:
            if is_new:  # a file that is refused leaves nothing behind
                run.discard()
            raise


def _settings(seed: int) -> RunSettings:
    """Return the settings of an imported run: no subject, no density filter."""
    return RunSettings(
        subject=SubjectSettings(model=IMPORTED, site=IMPORTED),
        sample=SampleSettings(min_density=0.0),
        seed=seed,
    )


def _check_imported(name: str, runs: Path) -> None:
    with open_run(name, folder=runs, read_only=True) as run:
        if not run.is_imported or run.is_from_memory:
            raise RunMismatch(
                f"run '{name}' holds units of subject '{run.settings.subject.model}'; "
                "import into another --run"
            )


def _import(run: Run, path: Path, form: str, options: ImportOptions) -> ImportCounts:
    identity = _digest(path, form, options)
    if run.rows("SELECT 1 FROM imported WHERE digest = ?", [identity]):
        return ImportCounts(form, seen_before=True)
    arrival = _Arrival(run, path, options)
    with run.transaction():
        for unit in _read(path, form, options):
            arrival.add(unit)
        arrival.finish()
        counts = arrival.counts
        counts.unlike = _unlike_lengths(run)
        notes = [*getattr(_form(form), "NOTES", ()), *arrival.notes()]
        run.insert(
            "imported",
            [
                {
                    "digest": identity,
                    "file": str(path.resolve()),
                    "sha256": _sha256(path),
                    "form": form,
                    "options": json.dumps(_said(options)),
                    "units": arrival.unit_count,
                    "contexts": counts.contexts,
                    "notes": notes,
                    "made_at": now(),
                }
            ],
        )
    counts.form = form
    run.log("imported", file=str(path), form=form, units=arrival.unit_count)
    return counts


def _unlike_lengths(run: Run) -> str:
    """Return a sentence where contexts of one source are longer than those of another: then a rater
    can tell the sources apart, however blind the items are. Empty where they are not."""
    lengths = run.rows(
        "SELECT source, median(len(c.tokens))::INTEGER AS length FROM context c JOIN unit USING"
        " (unit_id) WHERE NOT c.silent AND outcome = 'eligible' GROUP BY source ORDER BY length"
    )
    if not lengths or lengths[-1][1] <= ALIKE * lengths[0][1]:
        return ""
    (short, least), (long, most) = lengths[0], lengths[-1]
    return (
        f"Contexts of {long} have {most} tokens in the median, those of {short} {least}: raters "
        "can tell the sources apart by that. Import again with "
        f"--each-side {(least - 1) // 2} into another run, so that they are cut alike."
    )


def _read(path: Path, form: str, options: ImportOptions) -> Iterator[ForeignUnit]:
    call = f"format '{form}': read()"
    try:
        units = _form(form).read(path, options)
        extensions.with_members(units, ("__iter__",), call, "an iterator of ForeignUnit")
        for unit in units:
            extensions.returned(unit, ForeignUnit, call, ExchangeError, "yield")
            for context in unit.contexts:
                extensions.returned(context, ForeignContext, f"{call}.contexts", verb="yield")
            yield unit
    except OSError as error:  # of the file, not of the run that is written meanwhile
        raise ExchangeError(f"cannot read {path} ({error.strerror or error})") from None


def _said(options: ImportOptions) -> dict[str, object]:
    return {
        "source": options.source,
        "tokenizer": _sha256(options.tokenizer) if options.tokenizer else "",
        "each_side": options.each_side,
        "explain_share": options.explain_share,
    }


def _digest(path: Path, form: str, options: ImportOptions) -> str:
    """Return the sha256 of all that decides what an import brings."""
    content = json.dumps([_sha256(path), form, _said(options)])
    return hashlib.sha256(content.encode()).hexdigest()


def _sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes; of a folder, of its files' names and bytes."""
    if not path.exists():
        raise ExchangeError(f"no file or folder {path}; give an existing one")
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file_path in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{file_path.relative_to(path)}\n{_sha256(file_path)}\n".encode())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------ units


@dataclass
class _Pending:
    """A unit whose contexts are written, but whose number in its source may be undecided."""

    unit_id: int
    name: str
    summary: UnitSummary


@dataclass(frozen=True, slots=True)
class _Lacking:
    """A unit that has no silent context in some splits, with what it is not to be lent: contexts
    of its own documents, and of texts that it has."""

    unit_id: int
    splits: tuple[Split, ...]
    documents: array[int]
    texts: array[int]


def _text_hash(tokens: Sequence[str]) -> int:
    """Return 64 bits of a text, the same within this process."""
    return hash("".join(tokens))


def _as_needed(order: NDArray[np.int64]) -> Iterator[int]:
    """Yield numbers of an array, of which only the first few may be wanted."""
    for begin in range(0, len(order), 2 * BORROWED):
        yield from order[begin : begin + 2 * BORROWED].tolist()


class _Arrival:
    """Writer of an import: contexts are written as they are read, units at the end."""

    def __init__(self, run: Run, path: Path, options: ImportOptions) -> None:
        self.run = run
        self.path = path
        self.seed = options.seed
        self.explain_share = options.explain_share
        self.first_unit = run.next_id("unit", "unit_id")
        self.first_context = run.next_id("context", "context_id")
        self.document = run.next_id("context", "document")
        self.unit_count = 0
        self.counts = ImportCounts("")
        self.waiting: list[dict[str, object]] = []
        self.sources: dict[str, list[_Pending]] = {}
        self.lacking: list[_Lacking] = []

    def add(self, unit: ForeignUnit) -> None:
        """Write a unit's contexts, and keep the unit."""
        unit = replace(
            unit,
            source=without_surrogates(unit.source),
            name=without_surrogates(unit.name),
            note=without_surrogates(unit.note),
            contexts=tuple(
                replace(one, focus=strongest(one.activations)) if one.focus is None else one
                for one in unit.contexts
            ),
        )
        if not unit.source.strip() or not unit.source.isprintable() or not unit.name.strip():
            raise ExchangeError(
                f"{self.path}: unit {unit.name!r} of source {unit.source!r}; both need a name"
            )
        unit_id = self.first_unit + self.unit_count
        peak = max((max(c.activations) for c in unit.contexts), default=0.0)
        outcome: Outcome = "eligible" if peak > 0 else "dead"
        peak = max(peak, unit.peak or 0.0)
        if not is_finite(peak):
            raise ExchangeError(
                f"{self.path}: unit '{unit.name}' of source '{unit.source}' has an activation of "
                f"{peak:g}; it must be a finite float of 32 bits"
            )
        summary = UnitSummary(
            Unit(unit.source, 0),
            density=unit.density,
            tokens=unit.tokens,
            peak=peak,
            order=0,
            outcome=outcome,
            note=unit.note,
        )
        self.sources.setdefault(unit.source, []).append(_Pending(unit_id, unit.name, summary))
        self.unit_count += 1
        self.counts.units[unit.source, outcome] += 1
        if outcome == "eligible":
            contexts = self._decided(unit, peak)
            self._write(unit_id, contexts)
            # A file that says its draws has random ones: that none is silent is a fact.
            silent = {context.split for context in contexts if context.silent}
            if len(silent) < len(SPLITS) and not any(c.draw for c in unit.contexts):
                self.lacking.append(
                    _Lacking(
                        unit_id,
                        tuple(split for split in SPLITS if split not in silent),
                        array("q", (context.document for context in contexts)),
                        array("q", (_text_hash(context.tokens) for context in contexts)),
                    )
                )

    def _decided(self, unit: ForeignUnit, peak: float) -> list[Context]:
        """Return the unit's contexts with split, draw, interval and place.

        Raises ExchangeError if a document is in both splits.
        """
        decided = assigned_splits(unit.contexts, self.explain_share)
        kept = [c for c, split in zip(unit.contexts, decided, strict=True) if split]
        splits = [split for split in decided if split]
        self.counts.near_copies += len(decided) - len(kept)
        draws = assigned_draws(kept, splits)
        made = []
        where: dict[int, Split] = {}
        for foreign in unit.contexts:  # those that are left out, too
            if foreign.place is not None and foreign.split is not None:
                self._check_document(unit, where, foreign.place[0], foreign.split)
        for foreign, split, draw in zip(kept, splits, draws, strict=True):
            focus = foreign.focus or 0
            activation = foreign.activations[focus]
            interval = foreign.interval
            if interval is None and activation > 0:
                values = np.array([activation], dtype=np.float32)
                interval = 1 + int(interval_of(values, np.array(peak), INTERVALS)[0])
            if foreign.place is None:
                document, position = self.document, focus
                self.document += 1
            else:
                document, position = foreign.place
            self._check_document(unit, where, document, split)
            made.append(
                Context(
                    tuple(map(without_surrogates, foreign.tokens)),
                    foreign.activations,
                    focus,
                    draw,
                    interval if activation > 0 else None,
                    split,
                    not any(foreign.activations),
                    document,
                    position,
                )
            )
        return made

    def _check_document(
        self, unit: ForeignUnit, where: dict[int, Split], document: int, split: Split
    ) -> None:
        if where.setdefault(document, split) != split:
            raise ExchangeError(
                f"{self.path}: unit '{unit.name}' of source '{unit.source}' has document "
                f"{document} both to explain and to score"
            )

    def _write(self, unit_id: int, contexts: Sequence[Context]) -> None:
        for context in contexts:
            number = self.first_context + self.counts.contexts
            self.waiting.append(context_row(number, unit_id, context))
            self.counts.contexts += 1
        if len(self.waiting) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        self.run.insert("context", self.waiting)
        self.waiting = []

    def finish(self) -> None:
        """Lend silent contexts to units that have none, and write the units."""
        self._flush()
        borrowers = self._borrow()
        self.counts.borrowed_for = len(borrowers)
        for source, pending in self.sources.items():
            before = self.run.rows(
                "SELECT count(*), coalesce(max(idx), -1) FROM unit WHERE source = ?", [source]
            )[0]
            units = _numbered(self.path, source, pending, int(before[1]) + 1)
            self._check_new(source, units)
            order = random_order(self.seed, source, len(pending))
            rows: list[dict[str, object]] = []
            for place, (unread, unit, named) in enumerate(zip(pending, *units, strict=True)):
                note = unread.summary.note
                parts = [note] if named and note.startswith(named) else [named, note]
                if unread.unit_id in borrowers and BORROWED_NOTE not in unread.summary.note:
                    parts.append(BORROWED_NOTE)
                summary = replace(
                    unread.summary,
                    unit=unit,
                    order=int(before[0]) + int(order[place]),
                    note="; ".join(filter(None, parts)),
                )
                rows.append(unit_row(unread.unit_id, summary))
                if len(rows) >= ROWS:
                    self.run.insert("unit", rows)
                    rows = []
            self.run.insert("unit", rows)
            self.run.replace_source(source, int(before[0]) + len(pending), kind_of(source))

    def _check_new(self, source: str, units: tuple[list[Unit], list[str]]) -> None:
        names = {note for (note,) in self.run.rows(
            "SELECT note FROM unit WHERE source = ? AND starts_with(note, 'called ')", [source]
        )}  # fmt: skip
        again = [named for named in units[1] if named and any(
            note == named or note.startswith(f"{named}; ") for note in names)]  # fmt: skip
        twice = [named for named, times in Counter(filter(None, units[1])).items() if times > 1]
        if again or twice:
            raise RunMismatch(
                f"{self.path}: source '{source}' has a unit {(again or twice)[0]} already; "
                "import into another --run, or under another source"
            )
        held = {
            Unit(source, index, sign)
            for index, sign in self.run.rows(
                "SELECT idx, sign FROM unit WHERE source = ?", [source]
            )
        }
        both = held.intersection(units[0])
        if both:
            raise RunMismatch(
                f"{self.path}: run '{self.run.name}' holds {min(both)} already, from another "
                "file; import into another --run, or under another source"
            )

    def _borrow(self) -> set[int]:
        """Write contexts of other units, silent as is assumed, where a unit has none of its own.

        Returns the units that were lent some. Only numbers are drawn here; the database copies the
        contexts, of which there are many times as many as of the units' own.
        """
        if not self.lacking:
            return set()
        rng = np.random.default_rng([self.seed, 0x6C656E64])
        pools = {split: self._pool(split, rng) for split in SPLITS}
        borrowers: set[int] = set()
        lent: list[tuple[int, int]] = []  # pairs of unit and context
        for unit in self.lacking:
            # No text twice, nor one that the unit has itself, in either split.
            texts, documents = set(unit.texts), set(unit.documents)
            for split in unit.splits:
                pool = pools[split]
                most = len(lent) + BORROWED
                for at in _as_needed(rng.permutation(len(pool))):
                    context, donor, document, text = pool[at]
                    if donor != unit.unit_id and document not in documents and text not in texts:
                        texts.add(text)
                        borrowers.add(unit.unit_id)
                        lent.append((unit.unit_id, context))
                        if len(lent) == most:
                            break
            if len(lent) >= LENT:
                self._lend(lent)
                lent = []
        self._lend(lent)
        self.run.execute("DROP TABLE IF EXISTS pool")
        return borrowers

    def _lend(self, lent: Sequence[tuple[int, int]]) -> None:
        """Copy contexts of the pool for units, silent, in the order of the pairs."""
        if not lent:
            return
        import pandas

        first = self.first_context + self.counts.contexts
        pairs = pandas.DataFrame(lent, columns=["unit_id", "pool_id"])
        pairs["context_id"] = np.arange(first, first + len(lent))
        self.run.connection.execute(  # which finds the frame by its name
            "INSERT INTO context (context_id, unit_id, draw, interval, split, silent, focus,"
            " document, position, tokens, activations) SELECT pairs.context_id, pairs.unit_id,"
            " 'random', NULL, split, true, focus, document, position, tokens, quiet FROM pairs"
            " JOIN pool USING (pool_id) ORDER BY pairs.context_id"
        )
        self.counts.contexts += len(lent)

    def _pool(self, split: Split, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
        """Return firing contexts of the import: number, unit, document and text of each; they are
        in the temporary table `pool`, too.
        """
        ids = self.run.frame(
            "SELECT context_id FROM context WHERE context_id >= ? AND split = ? AND NOT silent"
            " ORDER BY context_id",
            [self.first_context, split],
        ).context_id.to_numpy()
        chosen = np.sort(rng.choice(ids, min(POOL, len(ids)), replace=False)).tolist()
        columns = (
            "SELECT context_id AS pool_id, split, focus, document, position, tokens,"
            " list_transform(activations, lambda a: 0::FLOAT) AS quiet FROM context WHERE"
        )
        self.run.execute(f"CREATE TEMP TABLE IF NOT EXISTS pool AS {columns} false")
        self.run.execute(
            f"INSERT INTO pool {columns} context_id IN (SELECT unnest(?::BIGINT[]))", [chosen]
        )
        return [
            (context, unit, document, _text_hash(tokens))
            for context, unit, document, tokens in self.run.rows(
                "SELECT context_id, unit_id, document, tokens FROM context"
                " WHERE context_id IN (SELECT unnest(?::BIGINT[])) ORDER BY context_id",
                [chosen],
            )
        ]

    def notes(self) -> list[str]:
        """Return what the report is to say of this import, beside the form's own notes."""
        notes = []
        if self.counts.borrowed_for:
            notes.append(
                f"{self.counts.borrowed_for:,} of {self.unit_count:,} units came without silent "
                f"contexts: up to {BORROWED} contexts of other units stand in for them in each "
                "split, and that the unit is silent there is assumed, not computed. Raters that "
                "look at silent contexts rest on it; a context lent by a unit that fires on the "
                "same things counts against both."
            )
        if self.counts.near_copies:
            notes.append(near_copies_text(self.counts.near_copies))
        if self.counts.unlike:
            notes.append(self.counts.unlike)
        dead = sum(n for (_, outcome), n in self.counts.units.items() if outcome == "dead")
        if dead:
            none = "unit fires in none of its" if dead == 1 else "units fire in none of their"
            notes.append(f"{dead:,} {none} contexts and cannot be rated.")
        return notes


def assigned_splits(
    contexts: Sequence[ForeignContext], explain_share: float = 0.5
) -> list[Split | None]:
    """Return the split of each context, by the file or in turn; None: it is to be left out.

    From the strongest on they go to `explain` and `score` in turn, so that both have the unit's
    full range; so do the silent ones. The same text is never in both, nor are two of one document
    or that share a passage: a copy goes where its like is, and is left out where that is both, or
    where the file says that it is for `score` though its like serves to explain.
    """

    def nth(place: int) -> Split:
        before, after = (math.ceil(round(n * explain_share, 9)) for n in (place, place + 1))
        return "explain" if after > before else "score"

    given = [context.split for context in contexts if context.split]
    if len(given) == len(contexts):
        return _without_copies(contexts, given)
    texts: dict[tuple[str, ...], float] = {}
    for context in contexts:
        texts[context.tokens] = max(max(context.activations), texts.get(context.tokens, 0.0))
    strongest_first = sorted(texts, key=lambda text: -texts[text])  # stable: ties in file order
    shared = dict(zip(strongest_first, _shared_passages(strongest_first), strict=True))
    for context in contexts:
        if context.place is not None:
            shared[context.tokens].add(~context.place[0])  # a document; below 0, as no passage is
    split_of_text: dict[tuple[str, ...], Split | None] = {}
    held: dict[Split, set[int]] = {split: set() for split in SPLITS}
    for is_firing in (True, False):
        place = 0
        for text, marks in shared.items():
            if (texts[text] > 0) is not is_firing:
                continue
            like = [split for split in SPLITS if not marks.isdisjoint(held[split])]
            if not like:
                like = [nth(place)]
                place += 1
            split_of_text[text] = like[0] if len(like) == 1 else None
            if len(like) == 1:
                held[like[0]] |= marks
    return [split_of_text[context.tokens] for context in contexts]


def _shared_passages(texts: Sequence[Sequence[str]]) -> list[set[int]]:
    """Return of each text the passages that another one has too; usually none."""
    bits, row = passages_of(texts)
    if not len(bits):
        return [set() for _ in texts]
    pairs = np.unique(np.stack([bits, row.astype(np.uint64)], axis=1), axis=0)
    again = pairs[1:, 0] == pairs[:-1, 0]
    shared: list[set[int]] = [set() for _ in texts]
    for bit, text in pairs[np.append(again, False) | np.append(False, again)].tolist():
        shared[text].add(bit)
    return shared


def _without_copies(
    contexts: Sequence[ForeignContext], splits: Sequence[Split]
) -> list[Split | None]:
    """Return the splits, None for what is for `score` and is, or nearly is, one to explain."""
    explained = [c.tokens for c, split in zip(contexts, splits, strict=True) if split == "explain"]
    same = set(explained)
    near = share_passages([context.tokens for context in contexts], explained)
    return [
        None if split == "score" and (copies or context.tokens in same) else split
        for context, split, copies in zip(contexts, splits, near.tolist(), strict=True)
    ]


def assigned_draws(contexts: Sequence[ForeignContext], splits: Sequence[Split]) -> list[Draw]:
    """Return what each context counts as drawn for, by the file or by its activations.

    In each split the strongest 20 are `top`, the rest `interval`, the silent ones `random`.
    """
    draws: list[Draw] = ["random"] * len(contexts)
    for split in SPLITS:
        firing = [
            place
            for place, context in enumerate(contexts)
            if splits[place] == split and any(context.activations)
        ]
        firing.sort(key=lambda place: -contexts[place].activations[contexts[place].focus or 0])
        for rank, place in enumerate(firing):
            draws[place] = "top" if rank < TOP else "interval"
    return [context.draw or draw for context, draw in zip(contexts, draws, strict=True)]


def _numbered(
    path: Path, source: str, pending: Sequence[_Pending], next_index: int
) -> tuple[list[Unit], list[str]]:
    """Return the units with their numbers, and what is to be noted of their names.

    Where every name of the source is a number, that is the unit's; else they are counted in the
    order of the file. Raises ExchangeError if two units have one number.
    """
    matches = [NUMBERED.fullmatch(unread.name.removeprefix(f"{source}/")) for unread in pending]
    if not all(matches):
        units = [Unit(source, next_index + place) for place in range(len(pending))]
        return units, [f"called '{unread.name.removeprefix(f'{source}/')}'" for unread in pending]
    units = [Unit(source, int(name[1]), -1 if name[2] == "-" else 1) for name in matches if name]
    if len(set(units)) < len(units):
        twice = next(unit for unit, times in Counter(units).items() if times > 1)
        raise ExchangeError(f"{path}: unit {twice} is in the file under two names; remove one")
    return units, [""] * len(units)
