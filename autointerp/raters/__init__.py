"""Raters: what judges items. A file here is a rater: `--rater NAME[:MODEL]`.

A rater's module has a first docstring line, which `autointerp raters` prints, and

    WHAT                     what kind of judge it is, in words, for reports
    create(model, options)   → a `Rater`; raises BadInput for a model that it does not have
    LIBRARIES                names of distributions that it needs; () if left out
    OPTIONS                  fields of `RaterOptions` that it has a use for, beside the seed; all if
                             left out. Others that are given are refused
    members(model)           of a rater made of others: their names; its options are theirs
    EXAMPLE                  a model to try it with, if neither none nor any name or file will do
    URL, VARIABLE            of a provider: its address, the environment variable of its key

A rater is asked a `Question` about an item, and its reply is one JSON object. `question.form`
says which; contexts and their tokens are numbered from 1, in the item's order:

    rate       {"rationale": "…", "score": 4}            one of `question.scores`
    describe   {"rationale": "…", "description": "…"}    `Unknown` if there is nothing to say
    judge      {"answers": [{"context": 1, "yes": true}, …]}
    match      {"1": "A C", "2": "", …, "8": ""}         of each of `item.descriptions`, the letters
                                                         of the contexts that fit it
    predict    {"contexts": [{"context": 1, "active": [{"token": 2, "activation": 7}, …]}, …]}
    choose     {"rationale": "…", "context": 3}
    write      {"texts": ["…", …]}                       that fit `item.description`
    embed      {"similarities": [{"context": 1, "cosine": 0.31}, …]}
    expect     {"losses": [{"context": 1, "given": 3.1, "without": 3.4}, …]}    nats a token

A rater that maps a number to the scale gives that number in its reply's details, as `statistic`.
Where a unit has too little evidence, `standard_error` is that number's, and `scores_within` the
scores that one standard error down and up would give; reports say how many units that concerns.

A rater whose name does not say all that decides its answers has a `version`: its rules', its model
file's digest. It is stored with each rating, and what another version rated is rated anew.

A judgement that takes several calls is a `SteppedRater`.

`question.system(repeat)` and `question.user(item)` are the prompt for a language model, and
`question.schema()` is the JSON schema of its reply. A rater refuses a form that it does not give
by RaterError in `request`; `require_written` does so for the last two, which are computed.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from autointerp import extensions
from autointerp.errors import BadInput
from autointerp.raters._keys import OWN_ADDRESS, find_key, normal_url, own_variable
from autointerp.raters._logprobs import expected_score
from autointerp.raters._prices import Price
from autointerp.raters._protocol import (
    STRUCTURED,
    AttemptFailed,
    BatchRater,
    BatchState,
    CheckedRater,
    ComposedRater,
    Extent,
    Finding,
    Headroom,
    Lesson,
    MemberAnswer,
    Rater,
    RaterOptions,
    ServedRater,
    Step,
    SteppedRater,
    Steps,
    Structured,
    call_key,
    judges,
    require_form,
    require_keys,
    require_rates,
    require_written,
    returned_reply,
    returned_request,
    version_of,
)
from autointerp.records import rater_kind

OPTION_NAMES = {"timeout_s": "timeout"}  # on the command line, where they are other ones
EACH_HAS = ("create",)  # every file here
MEMBERS = ("name", "evidence", "is_llm", "request", "send")  # of a Rater


def rater_names() -> list[str]:
    """Return the names of the raters, sorted."""
    return extensions.names(sys.modules[__name__])


def load_rater(name: str, options: RaterOptions) -> Rater:
    """Return the rater written NAME or NAME:MODEL, or NAME:MODEL@URL of a server of one's own.

    Raises UnknownName, listing the raters there are.
    """
    kind, _, model = name.partition(":")
    module = extensions.load(sys.modules[__name__], "rater", kind)
    rater: Rater = extensions.with_members(
        module.create(model or None, options), MEMBERS, f"rater '{kind}': create()", "a Rater"
    )
    return rater


def what(name: str) -> str | None:
    """Return what kind of judge a rater is, in words; None where it has no file in this folder."""
    kind = rater_kind(name)
    return str(_said(kind, "WHAT", "")) or None if kind in rater_names() else None


def require_used(name: str, options: RaterOptions) -> None:
    """Raise BadInput for options that the rater of this name has no use for, nor its members."""
    unset = RaterOptions(seed=options.seed)  # which is the seed of every draw
    names = [one.name for one in dataclasses.fields(options)]
    changed = [one for one in names if getattr(options, one) != getattr(unset, one)]
    used = _used(name) if changed else names
    idle = [OPTION_NAMES.get(one, one).replace("_", "-") for one in changed if one not in used]
    if idle:
        it = "it" if len(idle) == 1 else "them"
        raise BadInput(
            f"--{', --'.join(idle)}: {name} has no use for {it}; leave {it} out, or name a rater "
            "that has, such as --rater openai:MODEL"
        )


def _used(name: str) -> set[str]:
    """Return the fields of `RaterOptions` that a rater has a use for; all of one that is unknown,
    which cannot be made."""
    kind, _, model = name.partition(":")
    every = [one.name for one in dataclasses.fields(RaterOptions)]
    if kind not in rater_names():
        return set(every)
    module = extensions.load(sys.modules[__name__], "rater", kind)
    if hasattr(module, "members"):
        return {option for member in module.members(model) for option in _used(member)}
    options = set(getattr(module, "OPTIONS", every))
    return options - {"base_url"} if OWN_ADDRESS.search(model) else options


def libraries() -> list[str]:
    """Return the distributions that raters need, each once, in the order of the raters."""
    needed = [library for name in rater_names() for library in _said(name, "LIBRARIES", ())]
    return list(dict.fromkeys(needed))


def check_keys(base_url: str | None = None) -> list[Finding]:
    """Return which API keys the environment holds: the providers', and that of `base_url`.

    Raises BadInput if `base_url` is no address.
    """
    findings = []
    for name in rater_names():
        variable = _said(name, "VARIABLE", None)
        if variable is not None:
            there = find_key(variable) is not None
            findings.append(
                Finding(True, variable, "set" if there else f"not set: raters {name}:MODEL need it")
            )
    if base_url is not None:
        url = normal_url(base_url)
        if url not in [_said(name, "URL", None) for name in rater_names()]:
            variable = own_variable(url)
            there = find_key(variable) is not None
            findings.append(
                Finding(True, variable, "set" if there else f"empty: {url} is sent no key")
            )
    return findings


def _said(name: str, constant: str, otherwise: Any) -> Any:
    """Return a constant of a rater's file, which is parsed, not imported."""
    return extensions.constants(sys.modules[__name__], name, [constant]).get(constant, otherwise)


__all__ = [
    "STRUCTURED",
    "AttemptFailed",
    "BatchRater",
    "BatchState",
    "CheckedRater",
    "ComposedRater",
    "Extent",
    "Finding",
    "Headroom",
    "Lesson",
    "MemberAnswer",
    "Price",
    "Rater",
    "RaterOptions",
    "ServedRater",
    "Step",
    "SteppedRater",
    "Steps",
    "Structured",
    "call_key",
    "check_keys",
    "expected_score",
    "judges",
    "libraries",
    "load_rater",
    "rater_names",
    "require_form",
    "require_keys",
    "require_rates",
    "require_used",
    "require_written",
    "returned_reply",
    "returned_request",
    "version_of",
    "what",
]
