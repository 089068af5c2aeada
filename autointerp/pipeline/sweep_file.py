"""sweep.toml: one model and corpus, any number of SAEs, one judge, and the runs that follow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import SettingsError, UnknownName
from autointerp.findings.swept import FEATURES, NEURONS, UNTRAINED, Swept
from autointerp.settings import RunSettings, read_table, settings_of
from autointerp.store.run import NAME, read_about, run_exists, runs_in
from autointerp.subjects.places import require_places

# Keys of an [[sae]] table that go into the [subject] of its run.
OF_SAE = (
    "sae", "site", "sae_format", "subtract_b_dec", "input_scale", "k", "sae_layout", "check_sae",
    "untrained",
)  # fmt: skip
OWN = {
    "name": str, "n": int, "controls": int, "rater": str, "rubric": str, "reference": str,
    "loss_tokens": int,
}  # fmt: skip
SHARED = ("subject", "harvest", "sample", "seed")
LOSS_TOKENS = 20_000
LONGEST = 60  # characters of a name: runs are called after the sweep and the SAE


@dataclass(frozen=True)
class SweepFile:
    """What a sweep.toml asks for.

    Attributes:
        name: Of the sweep; its runs are called NAME.SAE, NAME.SAE.untrained and NAME.neurons.
        n: Units of each SAE, of its untrained twin, and of the neurons of a site.
        controls: Units of each control, beside the neurons.
        reference: Name of the SAE that others are compared with.
        loss_tokens: Tokens on which SAEs are spliced in; 0 to leave that out.
        settings: Of each run, by its name, in the order in which they are made.
        wanted: Studied source of each run.
    """

    path: Path
    name: str
    n: int
    controls: int
    rater: str
    rubric: str
    reference: str
    loss_tokens: int
    saes: tuple[Swept, ...]
    settings: Mapping[str, RunSettings]
    wanted: Mapping[str, str]


def read_sweep(path: Path, runs: Path | None = None) -> SweepFile:
    """Return what a sweep.toml asks for. Raises SettingsError, naming file and key.

    `runs`: Folder of the runs; a site's neurons that are in one of them already stay there, in
    whatever order the file names its SAEs.
    """
    content = read_table(path)
    tables = content.pop("sae", None)
    if not isinstance(tables, list) or not tables:
        raise SettingsError(
            f"{path}: names no SAE; write a table [[sae]] with name and sae for each"
        )
    own = {key: content.pop(key) for key in OWN if key in content}
    for key in content:
        if key not in SHARED:
            known = ", ".join((*OWN, *SHARED, "[[sae]]"))
            raise SettingsError(f"{path}: unknown key '{key[:80]}' (known: {known})")
    for key, value in own.items():
        if type(value) is not OWN[key]:
            what = "a whole number" if OWN[key] is int else "text in quotes"
            raise SettingsError(f"{path}: {key} = {str(value)[:80]!r} must be {what}")
    name = own.get("name", path.stem)
    _check_name(path, name)
    sizes = {"n": 100, "controls": 50, "loss_tokens": LOSS_TOKENS, **own}
    for key, least in (("n", 2), ("controls", 0), ("loss_tokens", 0)):
        if not least <= sizes[key] <= 10**9:
            raise SettingsError(f"{path}: {key} = {sizes[key]} must be {least} to 1,000,000,000")
    subject = content.get("subject", {})
    if not isinstance(subject, dict):
        raise SettingsError(f"{path}: [subject] must be a table")
    for key in ("sae", "untrained"):
        if key in subject:
            raise SettingsError(f"{path}: subject.{key}: write it in the [[sae]] that it is of")
    saes: list[Swept] = []
    settings: dict[str, RunSettings] = {}
    wanted: dict[str, str] = {}
    sites: dict[str, str] = {}
    held = {} if runs is None else _held_neurons(name, runs)
    for number, table in enumerate(tables, 1):
        label, merged = _merged(path, number, table, content)
        made = settings_of(merged, path)
        site = made.subject.site
        if site not in sites:
            taken = {*held.values(), *sites.values()}
            sites[site] = held.get(site) or _neurons_run(name, site, taken)
            bare = {k: v for k, v in merged["subject"].items() if k not in OF_SAE or k == "site"}
            settings[sites[site]] = settings_of({**merged, "subject": bare}, path)
            wanted[sites[site]] = NEURONS
        run = f"{name}.{label}"
        twin = f"{run}.{UNTRAINED}" if made.subject.untrained else ""
        if run in settings:
            raise SettingsError(f"{path}: two SAEs are called '{label}'; give each its own name")
        for run_name, source in ((run, FEATURES), (twin, UNTRAINED)):
            if run_name:
                settings[run_name], wanted[run_name] = made, source
        recipe = table.get("recipe", label)
        saes.append(Swept(label, recipe, site, run, sites[site], twin))
    reference = own.get("reference", saes[0].name)
    if reference not in {sae.name for sae in saes}:
        raise UnknownName(
            "SAE", reference, [sae.name for sae in saes], f"{path}: reference names it"
        )
    _check_seeds(path, saes)
    require_seeds(
        path,
        saes,
        {run: (one.subject.sae, one.subject.untrained) for run, one in settings.items()},
    )
    return SweepFile(
        path=path,
        name=name,
        n=sizes["n"],
        controls=sizes["controls"],
        rater=own.get("rater", "lexical"),
        rubric=own.get("rubric", "interpretability-1-5"),
        reference=reference,
        loss_tokens=sizes["loss_tokens"],
        saes=tuple(saes),
        settings=settings,
        wanted=wanted,
    )


def _merged(
    path: Path, number: int, table: Any, content: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return an SAE's name, and the settings of its run as a mapping."""
    where = f"{path}: [[sae]] {number}"
    if not isinstance(table, dict):
        raise SettingsError(f"{where} must be a table")
    for key, value in table.items():
        if key not in ("name", "recipe", *OF_SAE):
            known = ", ".join(("name", "recipe", *OF_SAE))
            raise SettingsError(
                f"{where}: unknown key '{key[:80]}' (known: {known}); what all SAEs share stands "
                "in [subject]"
            )
        if key in ("name", "recipe", "sae") and not (isinstance(value, str) and value.strip()):
            raise SettingsError(f"{where}: {key} = {str(value)[:80]!r} must be text in quotes")
    for key in ("name", "sae"):
        if key not in table:
            raise SettingsError(f'{where} lacks {key}; write {key} = "…"')
    _check_name(path, table["name"])
    if table["name"] == NEURONS or table["name"].startswith(f"{NEURONS}-"):
        raise SettingsError(f"{where}: name = '{table['name']}' is that of the neurons' run")
    own = {key: table[key] for key in OF_SAE if key in table}
    return table["name"], {**content, "subject": {**content.get("subject", {}), **own}}


def _check_name(path: Path, name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST // 2 or "." in name:
        raise SettingsError(
            f"{path}: name = '{name[:80]}' must be up to {LONGEST // 2} letters, digits, '_' "
            "and '-': runs are called after it"
        )


def _held_neurons(name: str, runs: Path) -> dict[str, str]:
    """Return site → run of the neurons that a sweep has already."""
    plain = f"{name}.{NEURONS}"
    return {
        str(read_about(runs / run)["settings"]["subject"].get("site")): run
        for run in runs_in(runs)
        if (run == plain or run.startswith(f"{plain}-")) and run_exists(runs / run)
    }


def _neurons_run(name: str, site: str, taken: Container[str]) -> str:
    """Return a name for the run of a site's neurons that no other site's have."""
    plain = f"{name}.{NEURONS}"
    slugged = f"{plain}-{_slug(site)}"
    digest = hashlib.sha256(site.encode()).hexdigest()[:8]
    return next(run for run in (plain, slugged, f"{slugged}-{digest}") if run not in taken)


def _slug(site: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", site)[:35].strip("-")


def _check_seeds(path: Path, saes: list[Swept]) -> None:
    """Raise SettingsError where SAEs of one recipe read different sites, or have twins in part."""
    by_recipe: dict[str, list[Swept]] = {}
    for sae in saes:
        by_recipe.setdefault(sae.recipe, []).append(sae)
    for recipe, members in by_recipe.items():
        names = " and ".join(f"'{sae.name}'" for sae in members)
        if len({sae.site for sae in members}) > 1:
            raise SettingsError(
                f"{path}: {names} are of recipe '{recipe}' and read different sites; seeds of a "
                "recipe differ by their seed alone"
            )
        if len({bool(sae.untrained) for sae in members}) > 1:
            raise SettingsError(
                f"{path}: of {names}, of recipe '{recipe}', some name an untrained twin and some "
                "do not; name one for each or for none"
            )


def require_seeds(path: Path, saes: Sequence[Swept], parts: Mapping[str, tuple[str, str]]) -> None:
    """Raise SettingsError where SAEs of one recipe, or their twins, are one and the same.

    `parts`: What stands for the SAE of each run and for its twin, by the run's name; empty where
    that is not known.
    """
    first: dict[tuple[str, int, str], str] = {}
    for sae in saes:
        for which, key in enumerate(parts.get(sae.run, ())):
            other = first.setdefault((sae.recipe, which, key), sae.name)
            if key and other != sae.name:
                what = ("are one and the same SAE", "have one and the same untrained twin")[which]
                raise SettingsError(
                    f"{path}: '{other}' and '{sae.name}' {what}, so they are no two seeds of "
                    f"recipe '{sae.recipe}'; give each its own, or another recipe"
                )


def require_swept(asked: SweepFile, folder: Path) -> None:
    """Raise where a file that a run to be made needs is not there, before torch loads."""
    for name, settings in asked.settings.items():
        if not run_exists(folder / name):
            require_places(settings.subject)
