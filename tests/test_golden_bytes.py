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

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # when it is run as a script

from support.made_up import UNITS, made_up_run

from autointerp.questions.explain import EXPLAIN, EXPLAIN_LOGITS, Explanation, explain_trials
from autointerp.questions.guess import guess_rubric
from autointerp.questions.items import load_items, make_items
from autointerp.questions.rubric_files import list_rubrics
from autointerp.questions.score import Design, plan
from autointerp.questions.scorers import scorer, scorer_names
from autointerp.questions.specificity import specificity_trials
from autointerp.questions.trials import add_trials
from autointerp.raters import RaterOptions
from autointerp.raters import anthropic as anthropic_rater
from autointerp.raters import embed as embed_rater
from autointerp.raters import lexical as lexical_rater
from autointerp.raters import likelihood as likelihood_rater
from autointerp.raters import local as local_rater
from autointerp.raters import openai as openai_rater
from autointerp.raters import openai_completions as openai_completions_rater
from autointerp.raters import openai_embeddings as openai_embeddings_rater
from autointerp.raters import scripted as scripted_rater
from autointerp.records import LogitEffects

GOLDEN = Path(__file__).parent / "golden" / "bytes.json"


def sha(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


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
    found["embed"] = embed_rater.create("some/model", RaterOptions())
    found["openai-embeddings"] = openai_embeddings_rater.create("some-model", RaterOptions())
    found["openai-completions"] = openai_completions_rater.create("some-model", RaterOptions())
    found["lexical"] = lexical_rater.create(None, RaterOptions())
    found["scripted"] = scripted_rater.create("4", RaterOptions())
    found["truthful"] = scripted_rater.create("truth", RaterOptions())
    return found


def golden(folder: Path) -> dict[str, Any]:
    """Return everything that must not change, as JSON values."""
    rubrics = {rubric.id: rubric for rubric in list_rubrics()}
    tasks = {task.id: task for task in (EXPLAIN, EXPLAIN_LOGITS)}
    tasks |= {scorer(name).TASK.id: scorer(name).TASK for name in scorer_names()}
    guess = guess_rubric(rubrics["interpretability-1-5"])
    questions: dict[str, Any] = {**rubrics, **tasks, guess.id: guess}
    found: dict[str, Any] = {
        "digests": {name: question.digest for name, question in questions.items()},
        "systems": {
            name: [sha(q.system(repeat)) for repeat in range(3)] for name, q in questions.items()
        },
        "schemas": {name: sha(question.schema()) for name, question in questions.items()},
        "items": {},
        "requests": {},
    }
    with made_up_run(folder) as run:
        run.about["run"].pop("fence")  # as in a run of an earlier version
        units = [unit for source in UNITS for unit in run.units(source)]
        asked: dict[str, list[str]] = {}
        items: dict[str, list[Any]] = {}

        def take(label: str, question: Any, ids: list[str]) -> None:
            asked[label] = sorted(set(ids))
            items[label] = load_items(run, asked[label], question)
            found["items"][label] = {
                "ids": sha(asked[label]),
                "count": len(asked[label]),
                "texts": sha([question.user(item) for item in items[label]]),
            }

        plain = [r for r in rubrics.values() if r.about == "unit"]
        for rubric in plain:
            for evidence in ("shown", "all"):
                ids = make_items(run, units, rubric, evidence)  # type: ignore[arg-type]
                take(f"{rubric.id} {evidence}", rubric, ids)
        unit_ids = [unit.unit_id for unit in units]
        effects = {unit: LogitEffects((" a", " b"), (" c",)) for unit in unit_ids}
        for evidence in ("shown", "all"):
            trials = explain_trials(run, unit_ids, evidence)  # type: ignore[arg-type]
            take(f"explain {evidence}", EXPLAIN, add_trials(run, trials))
        take(
            "explain-logits shown",
            EXPLAIN_LOGITS,
            add_trials(run, explain_trials(run, unit_ids, "shown", effects)),
        )
        described = [
            Explanation(u.unit_id, u.summary.unit.source, "ann", "ok", f"word {u.unit_id}", ())
            for u in units
        ]
        for rubric in rubrics.values():
            if rubric.about == "description":
                trials = specificity_trials(run, rubric, described, 12)
                take(rubric.id, rubric, add_trials(run, trials))
        for name in (name for name in scorer_names() if name in tasks):
            planned = plan(run, name, described, Design(count=10, permuted=2))
            take(name, scorer(name).TASK, add_trials(run, list(planned.trials)))
            found["items"][name]["unprobed"] = len(planned.untried)
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


def test_a_runs_secret_changes_the_lines_of_the_fence_and_nothing_else(tmp_path: Path) -> None:
    rubric = list_rubrics()[0]
    with made_up_run(tmp_path) as run:
        run.about["run"]["fence"] = "00112233445566778899aabbccddeeff"
        units = [unit for source in UNITS for unit in run.units(source)]
        (item, *_) = load_items(run, make_items(run, units, rubric, "shown"), rubric)
        del run.about["run"]["fence"]
        (old, *_) = load_items(run, [item.id], rubric)
    new_lines, old_lines = (rubric.user(one).splitlines() for one in (item, old))
    # blake2b(item's id, key = the secret), 8 bytes
    expected = hashlib.blake2b(
        item.id.encode(), key=b"00112233445566778899aabbccddeeff", digest_size=8
    ).hexdigest()
    assert (new_lines[0], new_lines[-1]) == (f"<<<quoted {expected}", f"quoted {expected}>>>")
    assert new_lines[1:-1] == old_lines[1:-1]
    assert new_lines[0] != old_lines[0]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps(golden(Path(scratch)), indent=1) + "\n", encoding="utf-8")
