"""What the model writes while a unit is clamped, and while a random direction of equal norm is.

The same prompts, drawn at random from the corpus, for all units. At every position of prompt and
completion the unit is clamped at a multiple of its maximum, as in `completions`; for the control
the same amounts of a random direction of the same norm are added in place of the unit's own. The
scorer `steering` asks whose texts these are.
Source: Templeton et al. 2024 (SEEDS §3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._bench import without
from autointerp.labs._clampable import clampable_units
from autointerp.labs._prompts import token_ids, token_strings
from autointerp.labs.completions import continued, rows_at_once
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel, Levers, clamp
from autointerp.units.reopen import subject_again

LENGTH = 8  # tokens of a prompt

COLUMNS = {
    "prompt": "text that is continued",
    "clamped": "`unit`, or `random direction` for the control",
    "value": "activation at which the unit is clamped, in the subject's units",
    "norm": "Euclidean length of the direction that is added, times an activation of 1",
    "tokens": "what the model writes, token by token",
    "perplexity": "of that under the unsteered model, a token; none for an empty one",
    "outcome": "`ok`, or why the unit cannot be clamped",
}
OPTIONS = {"prompts": 12, "factor": 3.0, "tokens": 16, "temperature": 1.0}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield two rows a unit and prompt."""
    for name in ("prompts", "tokens"):
        if options[name] < 1:
            raise BadInput(f"--option {name}={options[name]}: give at least 1")
    if not math.isfinite(options["factor"]):
        raise BadInput(f"--option factor={options['factor']}: give a number")
    if not options["temperature"] >= 0 or math.isinf(options["temperature"]):
        raise BadInput(f"--option temperature={options['temperature']}: give 0 or more")
    subject = subject_again(run, "lab clamped-texts")
    prompts = corpus_prompts(run, subject, options["prompts"], options["tokens"])
    given = {**options, "seed": run.settings.seed}
    refusal = "no unit can be clamped", "name features or neurons that fire"
    for unit_id, unit in clampable_units(run, subject, units, "clamped-texts", *refusal):
        if isinstance(unit, str):
            yield without(unit_id, COLUMNS, unit)
            continue
        value = options["factor"] * unit.peak
        other = beside(unit.levers, run.settings.seed, unit_id)
        for row in texts_of(subject, unit.model, unit.levers, other, prompts, value, given):
            yield {"unit_id": unit_id, **row, "value": value, "outcome": "ok"}


def beside(levers: Levers, seed: int, unit_id: int) -> Levers:
    """Return the levers of one unit with a random direction of the same norm in its place."""
    rng = np.random.default_rng([seed, unit_id, 0x72616E64])
    drawn = rng.standard_normal(levers.directions.shape).astype(np.float32)
    direction = torch.from_numpy(drawn)
    direction *= levers.directions.norm() / direction.norm()
    return replace(levers, directions=direction)


def texts_of(
    subject: Subject,
    model: ChangeableModel,
    levers: Levers,
    other: Levers,
    prompts: Tensor,
    value: float,
    options: Options,
) -> Iterator[Row]:
    """Yield prompt, what is clamped, norm, tokens and perplexity: all prompts [rows, tokens] with
    the unit at `value`, then all with the same amounts of another direction.

    A prompt has the same noise in both, and for all units.
    """
    most = rows_at_once(subject, prompts.shape[1] + options["tokens"])
    for name, moved in (("unit", levers), ("random direction", other)):
        change = clamp(moved, torch.tensor([value]))
        for begin in range(0, len(prompts), most):
            part = prompts[begin : begin + most]
            drawn = {**options, "seed": options["seed"] + begin}
            written = continued(subject, model, change, part, len(part), drawn)
            for prompt, (ids, perplexity) in zip(part.tolist(), written, strict=True):
                own = prompt[0 if subject.bos is None else 1 :]
                yield {
                    "prompt": "".join(token_strings(subject, own)),
                    "clamped": name,
                    "norm": float(moved.directions.norm()),
                    "tokens": token_strings(subject, ids),
                    "perplexity": perplexity,
                }


def corpus_prompts(run: Run, subject: Subject, count: int, tokens: int) -> Tensor:
    """Return the beginnings of `count` texts drawn at random from the corpus, [count, tokens].

    All have the same number of tokens. Raises BadInput if the model reads too few tokens for one,
    or the run holds too few random contexts.
    """
    length = LENGTH + (subject.bos is not None)
    if length + tokens > subject.longest:
        raise BadInput(
            f"--option tokens={tokens}: with a prompt of {length} tokens that is more than "
            f"'{subject.name}' reads, {subject.longest:,}; give fewer"
        )
    rows = run.rows(
        "SELECT tokens FROM context WHERE draw = 'random' AND split = 'score'"
        " QUALIFY row_number() OVER (PARTITION BY document ORDER BY context_id) = 1"
        " ORDER BY document, context_id"
    )
    rng = np.random.default_rng([run.settings.seed, 0x70726F6D])
    prompts: list[tuple[int, ...]] = []
    for place in rng.permutation(len(rows)).tolist():
        text = "".join(rows[place][0]).strip("\ufffd")
        ids = tuple(token_ids(subject, text, cut=length)) if text else ()
        if len(ids) == length and ids not in prompts:
            prompts.append(ids)
        if len(prompts) == count:
            return torch.tensor(prompts)
    raise BadInput(
        f"lab clamped-texts: run '{run.name}' holds random contexts for {len(prompts)} prompts of "
        f"{LENGTH} tokens; ask for fewer by --option prompts={max(1, len(prompts))}"
    )
