"""Prompts, digests, ids and requests do not change: what was asked and paid stays valid.

`golden/bytes.json` holds them for a run of made-up units. A difference means that earlier runs
would be asked and paid again: never update the file without a reason that users would accept.
To write it: `python tests/test_golden_bytes.py` from the repository's root.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # when it is run as a script


from autointerp.questions.explain import Explanation, explain_probes
from autointerp.questions.forms import EXPLAIN, EXPLAIN_LOGITS
from autointerp.questions.guess import guess_rubric
from autointerp.questions.items import load_items, make_items
from autointerp.questions.rubric import (
    anchor_order,
    list_rubrics,
    reply_schema,
    system_text,
    user_text,
)
from autointerp.questions.score import Design, plan
from autointerp.questions.scorers import scorer, scorer_names
from autointerp.questions.specificity import description_probes
from autointerp.questions.trials import add_probes
from autointerp.raters import RaterOptions
from autointerp.raters import anthropic as anthropic_rater
from autointerp.raters import lexical as lexical_rater
from autointerp.raters import likelihood as likelihood_rater
from autointerp.raters import local as local_rater
from autointerp.raters import openai as openai_rater
from autointerp.raters import scripted as scripted_rater
from autointerp.records import Context, HarvestedUnit, LogitEffects, Unit, UnitSummary
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run
from autointerp.units.sources import kind_of

GOLDEN = Path(__file__).parent / "golden" / "bytes.json"
WORDS = [" the", " of", " river", " stone", ",", ".", " saw", " old", " 12", " ran", "ing", "\n"]
UNITS = {"features": 4, "neurons": 4, "planted": 2}


def sha(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def one_context(
    rng: np.random.Generator, number: int, word: str, kind: str, split: str, length: int = 21
) -> Context:
    tokens = [str(token) for token in rng.choice(WORDS, length)]
    levels = [0.0] * length
    focus = length // 2
    if kind != "random":
        tokens[focus] = word
        levels[focus] = 8.0 - number / 16 if kind == "top" else (number % 10 + 0.5) * 0.8
        levels[focus + 2] = levels[focus] / 2
    return Context(
        tokens=tuple(tokens),
        activations=tuple(levels),
        focus=focus,
        draw=kind,  # type: ignore[arg-type]
        interval=None if kind == "random" else 10 if kind == "top" else number % 10 + 1,
        split=split,  # type: ignore[arg-type]
        silent=kind == "random",
        document=number + (1_000 if split == "score" else 0),
        position=focus,
    )


def made_up_run(folder: Path) -> Run:
    """Return a run of units that fire on one word each, with contexts of every kind."""
    rng = np.random.default_rng(5)
    run = open_run("golden", RunSettings(seed=3), None, folder)
    harvested, number = [], 0
    for source, n in UNITS.items():
        for order in range(n):
            contexts = []
            for split in ("explain", "score"):
                for kind, count in (("top", 12), ("interval", 40), ("random", 30)):
                    for _ in range(count):
                        contexts.append(one_context(rng, number, f" w{source}{order}", kind, split))
                        number += 1
            summary = UnitSummary(
                Unit(source, order), 0.01, 1_000_000, 8.0, order, "eligible", (100.0,) * 10
            )
            harvested.append(HarvestedUnit(summary, contexts))
    sizes = {source: (100, kind_of(source)) for source in UNITS}
    run.add_harvest(sizes, harvested)
    return run


def raters(folder: Path) -> dict[str, Any]:
    weights = folder / "weights.gguf"
    weights.write_bytes(b"not a model; its digest is part of a key" * 10)
    found: dict[str, Any] = {}
    for provider, module in (("openai", openai_rater), ("anthropic", anthropic_rater)):
        for mode in ("json_schema", "tool", "text"):
            options = RaterOptions(structured=mode)  # type: ignore[arg-type]
            found[f"{provider} {mode}"] = module.create("some-model", options)
    found["openai elsewhere"] = openai_rater.create(
        "some-model", RaterOptions(base_url="http://127.0.0.1:8000/v1", effort="low", seed=4)
    )
    found["local"] = local_rater.create(str(weights), RaterOptions())
    found["likelihood"] = likelihood_rater.create(str(weights), RaterOptions())
    found["lexical"] = lexical_rater.create(None, RaterOptions())
    found["scripted"] = scripted_rater.create("4", RaterOptions())
    found["truthful"] = scripted_rater.create("truth", RaterOptions())
    return found


def golden(folder: Path) -> dict[str, Any]:
    """Return everything that must not change, as JSON values."""
    rubrics = {rubric.id: rubric for rubric in list_rubrics()}
    tasks = {task.id: task for task in (EXPLAIN, EXPLAIN_LOGITS)}
    tasks |= {name: scorer(name).TASK for name in scorer_names()}
    guess = guess_rubric(rubrics["interpretability-1-5"])
    questions: dict[str, Any] = {**rubrics, **tasks, guess.id: guess}
    found: dict[str, Any] = {
        "digests": {name: question.digest for name, question in questions.items()},
        "systems": {
            name: [sha(system_text(q, anchor_order(q, repeat))) for repeat in range(3)]
            for name, q in questions.items()
        },
        "schemas": {name: sha(reply_schema(question)) for name, question in questions.items()},
        "items": {},
        "requests": {},
    }
    with made_up_run(folder) as run:
        units = [unit for source in UNITS for unit in run.units(source)]
        asked: dict[str, list[str]] = {}
        items: dict[str, list[Any]] = {}

        def take(label: str, question: Any, ids: list[str]) -> None:
            asked[label] = sorted(set(ids))
            items[label] = load_items(run, asked[label], question)
            found["items"][label] = {
                "ids": sha(asked[label]),
                "count": len(asked[label]),
                "texts": sha([user_text(question, item) for item in items[label]]),
            }

        plain = [r for r in rubrics.values() if not r.shows.description]
        for rubric in plain:
            for evidence in ("shown", "all"):
                ids = make_items(run, units, rubric, evidence)  # type: ignore[arg-type]
                take(f"{rubric.id} {evidence}", rubric, ids)
        unit_ids = [unit.unit_id for unit in units]
        effects = {unit: LogitEffects((" a", " b"), (" c",)) for unit in unit_ids}
        for evidence in ("shown", "all"):
            probes = explain_probes(run, unit_ids, evidence)  # type: ignore[arg-type]
            take(f"explain {evidence}", EXPLAIN, add_probes(run, probes))
        take(
            "explain-logits shown",
            EXPLAIN_LOGITS,
            add_probes(run, explain_probes(run, unit_ids, "shown", effects)),
        )
        described = [
            Explanation(u.unit_id, u.summary.unit.source, "ann", "ok", f"word {u.unit_id}", ())
            for u in units
        ]
        for rubric in rubrics.values():
            if rubric.shows.description:
                probes = description_probes(run, rubric, described, 12)
                take(rubric.id, rubric, add_probes(run, probes))
        for name in scorer_names():
            planned = plan(run, name, described, Design(count=10, permuted=2))
            take(name, scorer(name).TASK, add_probes(run, list(planned.probes)))
            found["items"][name]["unprobed"] = len(planned.unprobed)
        found["items"]["key"] = sha(
            [list(row) for row in run.rows("SELECT * FROM key ORDER BY item_id")]
        )
        found["requests"] = {
            rater_name: {
                label: requests_of(rater, question, items[label], questions)
                for label, question in labelled(questions, items).items()
                if label.endswith(" all") == (rater.evidence == "all")
                or label in questions  # a scorer's, or of descriptions: one evidence for all
            }
            for rater_name, rater in raters(folder).items()
        }
    return found


def labelled(questions: dict[str, Any], items: dict[str, list[Any]]) -> dict[str, Any]:
    return {label: questions[label.partition(" ")[0]] for label in items}


def requests_of(rater: Any, question: Any, items: list[Any], questions: dict[str, Any]) -> Any:
    from autointerp.errors import AutointerpError

    try:
        made = [rater.request(item, question, repeat) for item in items[:3] for repeat in (0, 1)]
    except AutointerpError as error:
        return type(error).__name__
    return {
        "keys": [request.key[:24] for request in made],
        "bodies": sha([request.body for request in made]),
    }


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return golden(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("part", ["digests", "systems", "schemas", "items", "requests"])
def test_what_was_asked_before_is_asked_in_the_same_bytes(now: dict[str, Any], part: str):
    assert now[part] == json.loads(GOLDEN.read_text(encoding="utf-8"))[part]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps(golden(Path(scratch)), indent=1) + "\n", encoding="utf-8")
