"""Units of several SAEs and sites of one model, from one reading of the corpus.

Each member has a run of its own, which holds what a harvest of that run alone would hold. What is
shared is the reading, the forward pass and, at a site, its activations. Where an SAE's figures are
wanted, its units' columns are taken from the latents that these need, equal up to rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.records import Unit
from autointerp.stats.results import Statistic
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.text import count
from autointerp.units.dictionary_figures import (
    REMEMBERED,
    keep_figures,
    lacks_loss,
    stored_figures,
)
from autointerp.units.dictionary_sums import DictionarySums, KeptTokens, losses_recovered
from autointerp.units.first_batches import holding_first_batches
from autointerp.units.held import Place, left_to_draw, unverified
from autointerp.units.others import firing_in, store_silence
from autointerp.units.passes import Wanted, harvested_units, parts_of, places_of, take_in
from autointerp.units.sample import (
    LIKELY,
    blocks_of,
    doubts,
    first_units,
    likely_shares,
    next_units,
)
from autointerp.units.shards import Kept, forget, harvest_key, read_shards
from autointerp.units.shares import CHECKPOINTS
from autointerp.units.sources import Calibration, SiteBatch, Source, kind_of, load_source
from autointerp.units.stream import (
    Reading,
    at_sites,
    calibrate,
    require_both_splits,
    window_length,
)

FEATURES = "features"

Report = Callable[[str, int], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Member:
    """A run that takes part, its subject, and the units of each source that it wants.

    Attributes:
        measures: Its SAE's own figures are wanted, too.
    """

    run: Run
    subject: Subject
    wanted: Mapping[str, int]
    measures: bool = False

    @property
    def missing(self) -> dict[str, int]:
        """The sources that lack units, and how many are wanted; none that has no more to give."""
        return left_to_draw(self.run, self.wanted)

    @property
    def is_to_measure(self) -> bool:
        """Whether its SAE's figures are wanted and not stored."""
        return self.measures and self.run.recall(REMEMBERED) is None


def draw_together(
    members: Sequence[Member],
    loss_tokens: int,
    progress: Report = lambda label, tokens: None,
    tell: Tell = lambda text: None,
    splicing: Report = lambda label, tokens: None,
) -> None:
    """Harvest what the members' runs lack, all of them in each reading of the corpus.

    Members that lack nothing are not read again. The SAEs' figures come from the first reading;
    the loss that splicing recovers from one of `loss_tokens` tokens, which is made again for an SAE
    whose loss is of others; `splicing` hears how far that is. Stopped, the next call goes on from
    the last shard. A source that has fewer units than are wanted, as an SAE of which many latents
    are dead, gives those that it has, which goes to `tell`.

    Raises BadInput where members do not read the same windows, CorpusError if all documents of a
    new run fall into one split.
    """
    _require_alike(members)
    holding = holding_first_batches(*(member.subject for member in members))
    members = [replace(one, subject=held) for one, held in zip(members, holding, strict=True)]
    settings = members[0].run.settings
    opened: dict[tuple[int, str], Source] = {}
    calibrations: dict[str, Calibration] = {}

    def source_of(number: int, name: str) -> Source:
        if (number, name) not in opened:
            member = members[number]
            calibration = _calibrated(members, member, calibrations)
            opened[number, name] = load_source(name, member.subject, calibration, settings.seed)
        return opened[number, name]

    def lacking() -> dict[int, dict[str, int]]:
        return {n: missing for n, member in enumerate(members) if (missing := member.missing)}

    missing = lacking()
    measured = {n: member for n, member in enumerate(members) if member.is_to_measure}
    respliced = {
        n: member
        for n, member in enumerate(members)
        if member.measures and lacks_loss(member.run, loss_tokens)
    }
    if any(not members[number].run.has_rows("unit") for number in missing):
        require_both_splits(members[0].subject, settings.harvest, settings.seed)
    for number, wanted in missing.items():
        member = members[number]
        calibration = _calibrated(members, member, calibrations)
        if FEATURES in wanted:
            for doubt in doubts(
                member.subject, calibration, window_length(member.subject, settings.harvest)
            ):
                member.run.log("doubt", text=doubt)
                tell(f"run '{member.run.name}': {doubt}")
    if spliced := {**measured, **respliced}:
        label = f"loss with {count(len(spliced), 'SAE')} spliced in"
        lost = losses_recovered(
            {str(n): member.subject for n, member in spliced.items()},
            settings,
            loss_tokens,
            lambda tokens: splicing(label, tokens),
        )
    for number, member in respliced.items():
        figures = stored_figures(member.run)
        assert figures is not None
        renewed = replace(figures, loss_recovered=lost[str(number)])
        keep_figures(member.run, renewed, loss_tokens)
    likely = _likely(members, missing, source_of)
    while missing or measured:
        passes = {
            number: [
                next_units(
                    members[number].run.units(name),
                    name,
                    source_of(number, name),
                    n,
                    settings,
                    likely.get(_key_of(number, name), LIKELY),
                )
                for name, n in wanted.items()
            ]
            for number, wanted in missing.items()
        }
        sums = {}
        for number, member in measured.items():
            sae = member.subject.sae
            assert sae is not None
            sums[number] = DictionarySums(sae, settings.harvest.fires)
        _read(members, passes, sums, progress)
        for number, one in sums.items():
            _store(members[number].run, one, lost[str(number)], loss_tokens)
        measured = {}
        missing = lacking()
    for member in members:
        for name, n in member.wanted.items():
            held = len(member.run.sampled(name, n))
            if held < n:
                tell(
                    f"run '{member.run.name}': {held} of {n} {name} asked for, for only as many "
                    "pass the density filter"
                )
    _verify(members, source_of)


def _require_alike(members: Sequence[Member]) -> None:
    """Raise BadInput unless all members read the same windows of one corpus with one model."""
    first = members[0]
    length = window_length(first.subject, first.run.settings.harvest)
    for member in members[1:]:
        one, other = member.subject, first.subject
        names = f"runs '{first.run.name}' and '{member.run.name}'"
        if one.begins_with_bos != other.begins_with_bos:
            raise BadInput(
                f"{names}: by their files one SAE was trained on windows that begin with BOS and "
                "the other was not; set subject.bos to yes or no for all, or sweep them apart"
            )
        for part in ("model", "corpus"):
            if one.digests.get(part) != other.digests.get(part):
                raise BadInput(f"{names} have different {part} files; a sweep reads one")
        ours, theirs = member.run.settings, first.run.settings
        if (ours.harvest, ours.sample, ours.seed) != (
            theirs.harvest, theirs.sample, theirs.seed
        ) or window_length(one, ours.harvest) != length:  # fmt: skip
            raise BadInput(f"{names} were made with different harvest settings; sweep them apart")


def _calibrated(
    members: Sequence[Member], member: Member, calibrations: dict[str, Calibration]
) -> Calibration:
    """Return the first tokens at a member's site, read once a site, as the member alone has them.

    Neurons beside the site are matched to only where there is no SAE.
    """
    subject, settings = member.subject, member.run.settings
    if subject.site not in calibrations:
        at_site = [other.subject for other in members if other.subject.site == subject.site]
        lead = next((one for one in at_site if one.sae is None), subject)
        calibrations[subject.site] = calibrate(lead, settings.harvest, settings.seed)
    found = calibrations[subject.site]
    return replace(found, hidden=found.hidden if subject.sae is None else None, matched={})


def _likely(
    members: Sequence[Member],
    missing: Mapping[int, Mapping[str, int]],
    source_of: Callable[[int, str], Source],
) -> dict[str, float]:
    """Return what `likely_shares` says of each member's sources: one reading for all members."""
    settings = members[0].run.settings
    sources: dict[str, Source] = {}
    looked_at: dict[str, NDArray[np.int64]] = {}
    owners: dict[str, int] = {}
    for number, wanted in missing.items():
        held = {name: members[number].run.units(name) for name in wanted}
        opened = {name: source_of(number, name) for name in wanted}
        for name, units in first_units(opened, wanted, held, settings).items():
            key = _key_of(number, name)
            sources[key], looked_at[key], owners[key] = opened[name], units, number
    if not owners:
        return {}
    lead = members[min(owners.values())].subject
    return likely_shares(lead, sources, looked_at, settings, _reader(members, owners))


def _key_of(number: int, source: str) -> str:
    """Return a name for a source of a member."""
    return f"{number} {source}"


def _reader(
    members: Sequence[Member], owners: Mapping[str, int]
) -> Callable[[Reading], dict[str, SiteBatch]]:
    """Return the function that reads a batch for sources, by the numbers of their members."""
    taking = sorted(set(owners.values()))
    subjects = [members[number].subject for number in taking]
    seed = members[0].run.settings.seed

    def read(reading: Reading) -> dict[str, SiteBatch]:
        batches = dict(zip(taking, at_sites(subjects, reading, seed), strict=True))
        return {key: batches[number] for key, number in owners.items()}

    return read


def _read(
    members: Sequence[Member],
    passes: Mapping[int, list[Wanted]],
    sums: Mapping[int, DictionarySums],
    progress: Report,
) -> None:
    """Read the corpus once for all members, and store what was kept in each member's run."""
    settings = members[0].run.settings
    taking = sorted({*passes, *sums})
    subjects = [members[number].subject for number in taking]
    parts = {n: parts_of(passes.get(n, []), settings.harvest, settings.seed) for n in taking}
    for number, one in sums.items():  # what all latents are computed for is not computed again
        parts[number] = [
            replace(part, block=one.block(part.numbers)) if part.want.name == FEATURES else part
            for part in parts[number]
        ]
    kept = Kept([part for n in taking for part in parts[n]], list(sums.values()))
    folder = members[taking[0]].run.path / CHECKPOINTS
    units = sum(len(want.numbers) for wanted in passes.values() for want in wanted)
    label = f"{units} units of {len(taking)} runs"

    def take(reading: Reading, is_first: bool) -> int:
        tokens: dict[str, KeptTokens] = {}
        places = places_of(reading, settings.harvest, settings.seed, is_first)
        for number, batch in zip(taking, at_sites(subjects, reading, settings.seed), strict=True):
            if number in sums:
                site = members[number].subject.site
                if site not in tokens:
                    tokens[site] = KeptTokens.of(batch, reading)
                sums[number].take(batch, tokens[site])
            take_in(parts[number], batch, places)
        return int(reading.kept.sum())

    def note_cut() -> None:
        for number in taking:
            members[number].run.note_cut()

    tokens = read_shards(
        subjects[0],
        settings,
        folder / _key(members, passes, sums, taking),
        kept,
        take,
        progress=lambda tokens: progress(label, tokens),
        on_cut=note_cut,
    )
    assert tokens is not None
    least, most = settings.sample.min_density, settings.sample.max_density
    for number in taking:
        member = members[number]
        if not parts[number]:
            continue
        near_copies = member.run.add_harvest(
            {want.name: (want.source.size, kind_of(want.name)) for want in passes[number]},
            harvested_units(member.subject, parts[number], tokens, least, most),
        )
        member.run.log(
            "harvested",
            units={want.name: len(want.numbers) for want in passes[number]},
            near_copies=near_copies,
            tokens=settings.harvest.tokens or "all",
            corpus_goes_on=member.run.is_cut(),
            together_with=[members[n].run.name for n in taking if n != number],
        )
    forget(folder)


def _key(
    members: Sequence[Member],
    passes: Mapping[int, list[Wanted]],
    sums: Mapping[int, DictionarySums],
    taking: Sequence[int],
) -> str:
    """Return a name for all that decides what shards hold."""
    parts = [
        (
            harvest_key(members[n].subject, passes.get(n, []), members[n].run.settings),
            n in sums,
        )
        for n in taking
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _store(run: Run, sums: DictionarySums, lost: Statistic, loss_tokens: int) -> None:
    """Keep an SAE's figures in its run, and on how many tokens each latent fired."""
    figures = sums.figures(lost)
    units = [Unit(FEATURES, number) for number in range(figures.width)]
    run.replace_firings(FEATURES, units, sums.fired, figures.tokens)
    keep_figures(run, figures, loss_tokens)


def _verify(members: Sequence[Member], source_of: Callable[[int, str], Source]) -> None:
    """Store in which contexts of others the units are silent: one reading for all members."""
    pending: dict[str, tuple[int, str, list[int], list[Place]]] = {}
    for number, member in enumerate(members):
        for name, (units, places) in unverified(member.run, list(member.wanted)).items():
            pending[_key_of(number, name)] = (number, name, units, places)
    if not pending:
        return
    owners = {key: number for key, (number, *_) in pending.items()}
    found = firing_in(
        members[min(owners.values())].subject,
        members[0].run.settings,
        {
            key: blocks_of(members[number].run, name, source_of(number, name), units)
            for key, (number, name, units, _) in pending.items()
        },
        {key: places for key, (*_, places) in pending.items()},
        {key: len(units) for key, (_, _, units, _) in pending.items()},
        _reader(members, owners),
    )
    for key, (number, _, units, places) in pending.items():
        store_silence(members[number].run, units, places, found[key])
