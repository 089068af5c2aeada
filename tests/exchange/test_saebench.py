from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import ExchangeError
from autointerp.exchange import ImportOptions
from autointerp.exchange._arrival import recognised
from autointerp.exchange.saebench import read, recognises

# As SAEBench's `Examples.display` prints them, with tabulate's "simple_outline".
LOGS = """Generation phase
┌───────────┬──────────────────────────────────────────────┐
│ system    │ We're studying neurons in a neural network.  │
│ user      │ 1.  avoid<< bank>> fees 2. credit<<->><<card>>│
└───────────┴──────────────────────────────────────────────┘
┌───────────┬──────────────────────────────────────────────┐
│   Top act │ Sequence                                     │
├───────────┼──────────────────────────────────────────────┤
│    51.329 │ to pay in cash to avoid<< bank>> fees.↵↵He   │
│    43.863 │ which mostly consists of credit<<->><<card>> loans │
│     8.000 │ <<<|endoftext|>>> and then                   │
└───────────┴──────────────────────────────────────────────┘
Scoring phase
┌───────────┬──────────────────────────────────────────────┐
│ user      │ 1.  from romance to friendships 2. a card    │
└───────────┴──────────────────────────────────────────────┘
┌───────────┬───────────┬──────────────┬───────────────────┐
│   Top act │ Active?   │ Predicted?   │ Sequence          │
├───────────┼───────────┼──────────────┼───────────────────┤
│     0.000 │           │              │ from romance to friendships │
│    43.382 │ Y         │ Y            │ his credit card snapping    │
│     0.000 │           │ Y            │ a name │ in a table         │
└───────────┴───────────┴──────────────┴───────────────────┘"""


def result(folder: Path, **changes: Any) -> Path:
    entry = {"latent": 15, "explanation": "bank cards", "score": 0.93, "logs": LOGS}
    content = {
        "eval_type_id": "autointerp",
        "eval_config": {"model_name": "pythia-70m-deduped"},
        "sae_lens_id": "blocks.4.hook_resid_post__trainer_10",
        "eval_result_unstructured": {"15": entry},
        **changes,
    }
    path = folder / "release_blocks.4_eval_results.json"
    path.write_text(json.dumps(content, indent=2))
    return path


def test_a_latent_has_the_texts_of_its_logs_with_their_marks(tmp_path: Path):
    (unit,) = read(result(tmp_path), ImportOptions())
    assert unit.source == "blocks.4.hook_resid_post__trainer_10"
    assert unit.name == "15"
    assert unit.note == "SAEBench: 'bank cards', score 0.93"
    bank, card, silent, table = unit.contexts
    assert "".join(bank.tokens) == "to pay in cash to avoid bank fees.\n\nHe"
    assert bank.tokens[bank.focus or 0] == " bank"
    assert [a for a in bank.activations if a] == [51.329]
    assert "".join(card.tokens) == "which mostly consists of credit-card loans"
    assert [t for t, a in zip(card.tokens, card.activations, strict=True) if a] == ["-", "card"]
    # The text of a control token alone is left out; texts without a place of firing, too.
    assert "".join(silent.tokens) == "from romance to friendships"
    assert "".join(table.tokens) == "a name │ in a table"
    assert not any(silent.activations + table.activations)


def test_file_and_folder_are_recognised(tmp_path: Path):
    path = result(tmp_path)
    assert recognises(path)
    assert recognises(tmp_path)
    assert recognised(path) == "saebench"
    (tmp_path / "other.json").write_text('{"eval_type_id": "core"}')
    assert not recognises(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_type_id": "core"}, "not an autointerp result"),
        ({"eval_result_unstructured": None}, "has no eval_result_unstructured"),
        ({"eval_result_unstructured": {"a": {}}}, "latent a: not a number with an object"),
        ({"eval_result_unstructured": {"3": {}}}, "latent 3: no logs"),
    ],
)
def test_what_is_not_of_the_form_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(ExchangeError, match=message):
        list(read(result(tmp_path, **changes), ImportOptions()))
