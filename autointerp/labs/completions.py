"""Completions with a unit clamped at multiples of its maximum, beside those without.

At every position of prompt and completion x becomes SAE(x) with the unit at factor x maximum, plus
the SAE's error; neurons and random directions likewise. The unsteered model says how improbable
each completion is: a factor that breaks the model makes text that it finds improbable, or repeats
itself. All completions of a prompt are drawn with the same noise, so only the unit differs.
Source: Templeton et al. 2024 (SEEDS §3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._bench import without
from autointerp.labs._clampable import clampable_units
from autointerp.labs._prompts import as_batch, several, token_ids, token_strings
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import (
    ChangeableModel,
    Intervention,
    Levers,
    clamp,
    continuing,
)
from autointerp.units.reopen import subject_again

LOGITS = 2**26  # that are held at a time
MOST_FACTORS = 201

COLUMNS = {
    "prompt": "text that is continued",
    "factor": "multiple of the unit's maximum at which it is clamped, 0 to ablate it; none for the "
    "unsteered model",
    "value": "activation at which it is clamped, in the subject's units",
    "completion": "what the model writes",
    "perplexity": "of the completion under the unsteered model, a token; none for an empty one",
    "distinct": "share of the completion's tokens that are the first of their kind in it: low "
    "where it repeats itself",
    "outcome": "`ok`, or why the unit cannot be steered",
}
OPTIONS = {
    "prompts": "",
    "factors": "-10..10",
    "tokens": 30,
    "temperature": 1.0,
    "seed": 0,
}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit, prompt and factor, the unsteered completion first."""
    factors = factors_of(options["factors"])
    if options["tokens"] < 1:
        raise BadInput(f"--tokens {options['tokens']}: ask for at least 1 token")
    if not options["temperature"] >= 0 or math.isinf(options["temperature"]):
        raise BadInput(f"--temperature {options['temperature']}: give 0 or more")
    subject = subject_again(run, "lab completions")
    prompts = {text: token_ids(subject, text) for text in several(options["prompts"])}
    for text, ids in prompts.items():
        if len(ids) + options["tokens"] > subject.longest:
            raise BadInput(
                f"prompt {text[:40]!r} and a completion are {len(ids) + options['tokens']:,} "
                f"tokens, and '{subject.name}' reads at most {subject.longest:,}; give fewer "
                "--tokens"
            )
    refusal = "no unit can be steered", "name features or neurons that fire"
    for unit_id, unit in clampable_units(run, subject, units, "completions", *refusal):
        if isinstance(unit, str):
            yield without(unit_id, COLUMNS, unit)
            continue
        values = [None, *(factor * unit.peak for factor in factors)]
        for text, ids in prompts.items():
            written = completions(subject, unit.model, unit.levers, ids, values, options)
            for factor, value, row in zip([None, *factors], values, written, strict=True):
                yield {
                    "unit_id": unit_id, "prompt": text, "factor": factor, "value": value,
                    **row, "outcome": "ok",
                }  # fmt: skip


def factors_of(text: str) -> list[float]:
    """Return the factors that a text names: numbers and ranges, `-5,0,5`, `-10..10` (5 of them) or
    `-10..10/9` (9 of them). Raises BadInput for what is none.
    """
    factors: list[float] = []
    for part in text.split(","):
        ends, _, times = part.partition("/")
        first, dots, last = ends.partition("..")
        try:
            wanted = int(times) if times else 5
            begin, end = float(first), float(last if dots else first)
        except ValueError:
            begin = end = math.nan
            wanted = 0
        is_range = bool(dots)
        if not (math.isfinite(begin) and math.isfinite(end)) or (times and not is_range):
            raise BadInput(
                f"--factor {text}: '{part}' is no factor; write numbers and ranges, such as "
                "-5,0,5 or -10..10 or -10..10/9"
            )
        if is_range and not 2 <= wanted <= MOST_FACTORS:
            raise BadInput(f"--factor {text}: a range gives 2 to {MOST_FACTORS} factors")
        with np.errstate(over="ignore", invalid="ignore"):
            spaced = np.linspace(begin, end, wanted)
        if is_range and not np.isfinite(spaced).all():
            raise BadInput(f"--factor {text}: '{part}' is wider than numbers go; narrow it")
        factors += spaced.tolist() if is_range else [begin]
    return list(dict.fromkeys(round(factor, 9) + 0.0 for factor in factors))


def completions(
    subject: Subject,
    model: ChangeableModel,
    levers: Levers,
    prompt: Sequence[int],
    values: Sequence[float | None],
    options: Options,
) -> list[Row]:
    """Return a completion, its perplexity and its share of distinct tokens for each value."""
    rows = rows_at_once(subject, len(prompt) + options["tokens"])
    written: list[Row] = []
    for begin in range(0, len(values), rows):
        part = values[begin : begin + rows]
        goals = torch.tensor([[math.nan if value is None else value] for value in part])
        ids, _ = as_batch(prompt, len(part))
        for own, perplexity in continued(subject, model, clamp(levers, goals), ids, 1, options):
            written.append(
                {
                    "completion": "".join(token_strings(subject, own)),
                    "perplexity": perplexity,
                    "distinct": len(set(own)) / len(own) if own else None,
                }
            )
    return written


def rows_at_once(subject: Subject, length: int) -> int:
    """Return how many rows of so many tokens are continued at a time."""
    return max(1, LOGITS // (length * len(subject.token_texts)))


def continued(
    subject: Subject,
    model: ChangeableModel,
    intervention: Intervention,
    prompts: Tensor,
    noises: int,
    options: Options,
) -> list[tuple[list[int], float | None]]:
    """Return the ids that a changed model writes after each of the prompts [rows, tokens], up to a
    special token, and their perplexity under the unchanged one; None where there are none.

    A token is the largest of logits plus temperature x Gumbel noise; there are `noises` of it,
    which rows take in turn. Raises BadInput where the changed model gives no numbers.
    """
    noise = torch.Generator().manual_seed(options["seed"] % 2**63)
    ids, behind = prompts, continuing(model, intervention)
    for _ in range(options["tokens"]):
        logits = behind(ids).double().cpu()
        if logits.isnan().any():
            raise BadInput(
                "clamped that far, the model's logits are no numbers; give a factor nearer to 0, "
                "such as 10"
            )
        uniform = torch.rand(noises, logits.shape[-1], generator=noise, dtype=torch.float64)
        if options["temperature"] > 0:
            gumbel = -(-uniform.log()).log()
            logits = logits + options["temperature"] * gumbel.repeat(len(ids) // noises, 1)
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    losses = _losses(model, ids, prompts.shape[1])
    written: list[tuple[list[int], float | None]] = []
    for own, loss in zip(ids[:, prompts.shape[1] :].tolist(), losses, strict=True):
        end = next((n for n, index in enumerate(own) if index in subject.special), len(own))
        perplexity = math.exp(min(float(loss[:end].mean()), 700.0)) if end else None
        written.append((own[:end], perplexity))
    return written


def _losses(model: ChangeableModel, ids: Tensor, prompt: int) -> Tensor:
    """Return what each token after the prompt costs the unsteered model, [rows, tokens] nats."""
    logits = model.logits(ids, torch.ones_like(ids, dtype=torch.bool)).cpu()
    logs = logits[:, prompt - 1 : -1].double().log_softmax(-1)
    return -logs.gather(-1, ids[:, prompt:, None])[..., 0]
