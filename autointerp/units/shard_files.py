"""One share of a harvest for each command, and the files of all shares joined.

For job arrays: a process reads a share alone, whenever it is started, and leaves a checkpoint of
`shards`; another one joins them. Nothing waits for anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import BadInput, RunLocked
from autointerp.files import tried_lock
from autointerp.records import HarvestedUnit
from autointerp.settings import RunSettings
from autointerp.subjects import Subject
from autointerp.units.passes import Progress, Wanted, harvested_units, parts_of
from autointerp.units.shards import (
    DAMAGE,
    Contents,
    Kept,
    arrays_in,
    contents_of,
    difference,
    harvest_content,
    key_of,
    make_folder,
    parts_in,
    read_share,
    taking,
)
from autointerp.units.shares import Share

NAMED = 8  # missing shards named in a message


def read_pass(
    folder: Path,
    subject: Subject,
    passes: list[Wanted],
    settings: RunSettings,
    share: Share,
    progress: Progress = lambda tokens: None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Path, Contents]:
    """Read a share of the corpus for some units into a file under `folder`; return both.

    A killed one resumes at its last shard. Raises RunLocked if another process reads the share.
    """
    content = harvest_content(subject, passes, settings)
    place = folder / key_of(content)
    parts = parts_of(passes, settings.harvest, settings.seed)
    make_folder(place)
    lock = place / f".part-{share.rank}.lock"
    with tried_lock(lock) as is_ours:
        if is_ours is None:
            tell(f"{place} takes no locks, so start no shard twice at a time")
        if is_ours is False:
            raise RunLocked(
                f"shard {share.rank}/{share.count} is being read by another process ({lock}); wait "
                "for it, or stop it"
            )
        kept = Kept(parts)
        take = taking(subject, parts, settings)
        own = read_share(subject, settings, place, kept, take, share, progress, content)
        return own.path, own.contents


def units_in_shards(
    folder: Path, subject: Subject, settings: RunSettings
) -> list[dict[str, list[int]]]:
    """Return the units by source that the shards of this harvest are about, the newest first.

    Files of other harvests, and such as cannot be read, are passed over.
    """
    content = harvest_content(subject, [], settings)
    found: list[tuple[float, dict[str, list[int]]]] = []
    for place in folder.glob("*/"):
        for path in parts_in(place):
            try:
                with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                    made = _content_of(contents_of(file))
                units = made["units"]
                if difference(made, {**content, "units": units}) is None:
                    found.append((path.stat().st_mtime, units))
            except (*DAMAGE, OSError, KeyError, TypeError):
                continue  # said by whoever joins it
            break  # the others there are about the same
    return [units for _, units in sorted(found, key=lambda one: one[0], reverse=True)]


def joined_shards(
    subject: Subject,
    passes: list[Wanted],
    settings: RunSettings,
    folder: Path,
    is_later: bool = False,
    on_cut: Callable[[], None] = lambda: None,
) -> Iterator[HarvestedUnit]:
    """Return the units of a pass from the files that `read_pass` left, made one by one.

    `is_later`: an earlier pass was stored just now, but some of its units are not eligible.

    Raises BadInput, naming them, if shards are missing, cut, there twice, or were made of anything
    else than this pass.
    """
    content = harvest_content(subject, passes, settings)
    place = folder / key_of(content)
    found = {path: _contents(path) for path in parts_in(place)}
    if not found and is_later:
        lacking = ", ".join(f"{len(want.numbers)} {want.name}" for want in passes)
        raise BadInput(
            f"what the shards held is stored, but too few of its units pass the density filter: "
            f"{lacking} more are to be read; run every shard once more, then --merge"
        )
    if not found:
        raise BadInput(_nothing(folder, content))
    for path, contents in found.items():
        if reason := difference(_content_of(contents), content):
            raise BadInput(f"{path} does not belong to this harvest: {reason}; delete it")
    _require_complete(place, found)
    on_cut_is_due = any(contents.goes_on for contents in found.values())
    parts = parts_of(passes, settings.harvest, settings.seed)
    kept = Kept(parts)
    for path in found:
        kept.absorb(arrays_in(path))
    if on_cut_is_due:
        on_cut()
    tokens = sum(contents.tokens for contents in found.values())
    least, most = settings.sample.min_density, settings.sample.max_density
    return harvested_units(subject, parts, tokens, least, most)


def _contents(path: Path) -> Contents:
    """Return what a file says of itself. Raises BadInput if it is cut or damaged."""
    try:
        return contents_of(arrays_in(path))
    except DAMAGE:
        raise BadInput(_damaged(path)) from None


def _damaged(path: Path) -> str:
    return (
        f"{path} is cut or damaged; run {_shard_of(path, None)} once more: it reads what was in it"
    )


def _require_complete(place: Path, found: Mapping[Path, Contents]) -> None:
    """Raise BadInput unless the files hold each shard of the corpus once."""
    holder: dict[int, Path] = {}
    for path, contents in found.items():
        for shard in contents.shards:
            if shard in holder:
                raise BadInput(
                    f"{path} holds what {holder[shard].name} holds, too; delete one of them"
                )
            holder[shard] = path
    totals = {contents.total: path for path, contents in found.items() if contents.is_whole}
    if len(totals) > 1:
        (one, a), (other, b) = list(totals.items())[:2]
        raise BadInput(
            f"{a.name} and {b.name} in {place} are of corpora of {one} and {other} shards; delete "
            "that of the wrong corpus and run its shard once more"
        )
    if totals and set(holder) >= set(range(next(iter(totals)))):
        return
    stopped = [path for path, contents in found.items() if not contents.is_whole]
    if stopped:
        path = stopped[0]
        raise BadInput(
            f"{path} is of a shard that was stopped or is still being read; run "
            f"{_shard_of(path, found[path])} once more: it resumes where it was"
        )
    counts = {contents.count for contents in found.values()}
    if len(counts) > 1:
        raise BadInput(
            f"{place} holds files of {' and of '.join(map(str, sorted(counts)))} shards, and "
            f"{next(iter(totals)) - len(holder)} of {next(iter(totals))} parts of the corpus are "
            "in none; run --shard 0/1, which reads these"
        )
    (count,) = counts
    total = next(iter(totals))
    lost = sorted({shard % count for shard in set(range(total)) - set(holder)})
    named = ", ".join(f"{rank}/{count}" for rank in lost[:NAMED])
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    raise BadInput(
        f"{place} lacks shard {named}{more}; run --shard {lost[0]}/{count}"
        f"{' and the others' if len(lost) > 1 else ''}, then --merge"
    )


def _nothing(folder: Path, content: Mapping[str, Any]) -> str:
    """Return why there is nothing to join in a folder."""
    damaged: Path | None = None
    for place in sorted(folder.glob("*/")):
        for path in parts_in(place):
            try:
                reason = difference(_content_of(contents_of(arrays_in(path))), content)
            except DAMAGE:
                damaged = damaged or path
                continue
            return (
                f"{path} does not belong to this harvest: {reason}; give the options and the "
                "subject that the shards were given, or run them once more"
            )
    if damaged is not None:
        return _damaged(damaged)
    return f"{folder} holds no shard of this harvest; run --shard 0/N to N-1/N first"


def _content_of(contents: Contents) -> dict[str, Any]:
    try:
        made_of = json.loads(contents.made_of)
    except ValueError:
        return {}
    return made_of if isinstance(made_of, dict) else {}


def _shard_of(path: Path, contents: Contents | None) -> str:
    """Return the option that reads the share of a file."""
    rank = path.stem.removeprefix("part-")
    return f"--shard {rank}/{'N' if contents is None else contents.count}"
