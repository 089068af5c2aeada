"""What a run studied, as far as its settings, its database and its log say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.files import json_value
from autointerp.findings.plan import PRIMARY
from autointerp.settings import SUBJECT_PLACES, SubjectSettings, from_mapping
from autointerp.store.run import Run
from autointerp.subjects.sites import Basis, basis_of, hidden_site

# Values of settings that stand for something else; a setting of which nothing stands here is left
# out where it is empty.
STAND_FOR = {
    ("settings.harvest.tokens", "0"): "all",
    ("settings.harvest.window", "0"): "the model's context length, at most 1024",
    ("settings.subject.corpus_separator", "-1"): "",
    ("settings.subject.corpus_seed", "-1"): "the order of the file",
    ("settings.subject.input_scale", "0.0"): "as the SAE's files say",
    ("settings.subject.k", "0"): "as the SAE's files say",
}


def about_elsewhere(run: Run) -> dict[str, Any]:
    """Return what run.toml says, in words for a reader elsewhere.

    A path in the folder that `runs` is in is given from there, so that a report that is passed on
    does not tell whose machine made it.
    """
    settings = run.about.get("settings")
    if not isinstance(settings, dict) or not isinstance(settings.get("subject"), dict):
        return run.about
    home = run.path.resolve().parent.parent
    subject = dict(settings["subject"])
    for name in SUBJECT_PLACES:
        path = Path(str(subject.get(name, "")))
        if path.is_absolute() and path.is_relative_to(home):
            subject[name] = path.relative_to(home).as_posix()
    return {**run.about, "settings": {**settings, "subject": subject}}


@dataclass(frozen=True)
class SubjectFacts:
    """The subject of a run. What is not known is None, or empty.

    Attributes:
        model: Hub id, path (see `about_elsewhere`), or `embedded`; empty for units that came from
            files.
        basis: What the site's own units are.
        hidden: Where the source `neurons` was read, if not at the site.
        sae: Hub id or path; `embedded` for the one that belongs to the embedded model.
        untrained: Folder of the untrained twin; `embedded` for the embedded model's own, empty
            where none of its units were harvested.
        latents: Width of the SAE.
        active: Latents that fire on a token, on average (L0): the width times the mean density
            of the latents drawn.
        drawn: Latents drawn at random, whatever became of them: what `active` and `dead_share`
            rest on.
        dead_share: Share of these that never fired.
        corpus: Path or hub id; `embedded` for the one that belongs to the embedded model.
        tokens: Tokens harvested.
        is_cut: Whether these are the first tokens of a corpus that has more.
        doubts: What the harvest noted against the SAE, a sentence each.
        near_copies: Contexts left out of one split since they share a passage with the other.
    """

    model: str = ""
    revision: str = ""
    site: str = ""
    basis: Basis | None = None
    hidden: str = ""
    sae: str = ""
    sae_format: str = ""
    untrained: str = ""
    latents: int | None = None
    active: float | None = None
    drawn: int = 0
    dead_share: float | None = None
    corpus: str = ""
    tokens: int | None = None
    is_cut: bool = False
    doubts: tuple[str, ...] = ()
    near_copies: int = 0

    @property
    def neurons(self) -> Basis | None:
        """What the units of the source `neurons` are."""
        return basis_of(self.hidden) if self.hidden else self.basis


def subject_facts(run: Run) -> SubjectFacts:
    """Return what is known of a run's subject; nothing where ratings were published elsewhere."""
    if run.about.get("provenance"):
        return SubjectFacts()
    ((tokens,),) = run.rows("SELECT max(tokens) FROM unit")
    if run.is_imported and not run.is_from_memory:
        return SubjectFacts(tokens=tokens or None)
    settings = about_elsewhere(run)["settings"]["subject"]
    subject = from_mapping(SubjectSettings, settings, str(run.path / "run.toml"), "subject")
    is_embedded = subject.model == "embedded"
    has_sae = bool(subject.sae) or "sae" in run.about["digests"] or is_embedded
    latents, density, drawn, dead = _latents(run) if has_sae else (None, None, 0, 0)
    return SubjectFacts(
        model=subject.model,
        revision=subject.revision,
        site=subject.site,
        basis=basis_of(subject.site),
        hidden=(hidden_site(subject.site) or "") if subject.neurons == "hidden" else "",
        sae=subject.sae or ("embedded" if has_sae and is_embedded else ""),
        sae_format=subject.sae_format,
        untrained=(subject.untrained or subject.model) if "untrained" in run.sources() else "",
        latents=latents,
        active=None if latents is None or density is None else latents * density,
        drawn=drawn,
        dead_share=dead / drawn if drawn else None,
        corpus=subject.corpus or ("embedded" if is_embedded else ""),
        tokens=tokens or None,
        is_cut=run.is_cut(),
        doubts=tuple(dict.fromkeys(_doubts(run))),
        near_copies=run.near_copies(),
    )


def _latents(run: Run) -> tuple[int | None, float | None, int, int]:
    """Return how many latents there are, the mean density of those drawn, how many were drawn and
    how many of these are dead."""
    source = run.sources().get(PRIMARY[0])
    if source is None:
        return None, None, 0, 0
    ((density, drawn, dead),) = run.rows(
        "SELECT avg(density) FILTER (tokens > 0), count(*) FILTER (tokens > 0),"
        " count(*) FILTER (tokens > 0 AND outcome = 'dead') FROM unit WHERE source = ?",
        [PRIMARY[0]],
    )
    return source.size, density, drawn, dead


def _doubts(run: Run) -> Iterator[str]:
    log = run.path / "log.jsonl"
    if not log.exists():
        return
    for line in log.read_text("utf-8").splitlines():
        try:
            event = json_value(line)
        except ValueError:
            continue  # a line cut short by a full disk
        if isinstance(event, dict) and event.get("event") == "doubt" and event.get("text"):
            yield str(event["text"])
