"""Every error that autointerp raises on purpose.

AutointerpError                one line for the user: the value, then the remedy
├── BadInput                   the request cannot be carried out                (exit 2)
│   ├── SettingsError          a malformed or contradictory autointerp.toml
│   ├── UnknownName            a source, rubric, rater, format or run that does not exist
│   ├── RubricError            a rubric file that does not follow the form
│   ├── SubjectError           weights, tokenizer or site that do not fit together
│   │   └── MissingSetting     what an SAE's files do not say and a setting can
│   ├── CorpusError            a corpus that is missing, malformed or too short
│   ├── ExchangeError          a file to import that is not of its form
│   ├── TooFewUnits            more units asked for than exist or pass the filter
│   ├── TooFewRatings          a statistic asked for on too little data
│   └── RunMismatch            the run on disk was made with other settings
├── RunLocked                  another process has the run open                  (exit 1)
├── StorageError               the disk is full, read-only or gone               (exit 1)
└── RaterError                 a rater that cannot go on at all: bad key, spent
                               quota; single failures are ratings, not errors    (exit 1)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

DISTRIBUTION = "autointerp-eval"  # `autointerp` on the package index is another project


def install_hint(extra: str) -> str:
    """Return the pip command that adds the libraries of an extra to this installation.

    In a clone it installs the pinned versions. An installation from a wheel is named by its
    distribution: pip sees that it is there and only adds what the extra asks for.
    """
    clone = Path(__file__).parents[1]
    if not (clone / "constraints.txt").is_file():
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    if clone == Path.cwd():
        return f"pip install -c constraints.txt -e '.[{extra}]'"
    return f"pip install -c '{clone}/constraints.txt' -e '{clone}[{extra}]'"


class AutointerpError(Exception):
    """The parent of all errors that the user can do something about; its text is one line."""

    exit_code = 1


class BadInput(AutointerpError):
    exit_code = 2


class SettingsError(BadInput):
    pass


class UnknownName(BadInput):
    """A name that is not in a folder of extensions; the text lists the names that are."""

    def __init__(self, kind: str, name: str, known: Iterable[str] | None, remedy: str = "") -> None:
        if known is None:  # too many to list
            super().__init__(f"unknown {kind} '{name}'; {remedy}")
            return
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean '{close[0]}'?" if close else ""
        listed = ", ".join(known) if known else "none"
        super().__init__(
            f"unknown {kind} '{name}'{guess} (known: {listed}){'; ' + remedy if remedy else ''}"
        )


class RubricError(BadInput):
    pass


class SubjectError(BadInput):
    pass


class MissingSetting(SubjectError):
    """What an SAE's files do not say; `setting` names the key of [subject] that can."""

    def __init__(self, setting: str, text: str) -> None:
        super().__init__(text)
        self.setting = setting


class CorpusError(BadInput):
    pass


class ExchangeError(BadInput):
    pass


class TooFewUnits(BadInput):
    pass


class TooFewRatings(BadInput):
    pass


class RunMismatch(BadInput):
    pass


class RunLocked(AutointerpError):
    pass


class StorageError(AutointerpError):
    pass


class RaterError(AutointerpError):
    pass
