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


def with_logs(folder: Path, logs: str, **entry: Any) -> Path:
    whole = {"latent": 15, "explanation": "bank cards", "logs": logs, **entry}
    return result(folder, eval_result_unstructured={"15": whole})


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_a_line_separator_in_a_text_ends_no_row(tmp_path: Path, separator: str):
    # Python's `splitlines` would cut the row in two, and the text would be lost without a word.
    (unit,) = read(
        with_logs(tmp_path, LOGS.replace("to pay", f"to{separator}pay")), ImportOptions()
    )
    assert "".join(unit.contexts[0].tokens).startswith(f"to{separator}pay in cash")


def test_a_text_that_the_table_breaks_at_carriage_returns_is_whole(tmp_path: Path):
    # As tabulate prints "to pay in\r↵cash to avoid<< bank>> fees." and "a\rname │ in a table".
    logs = LOGS.replace("to pay in cash", "to pay in │\n│           │ ↵cash")
    logs = logs.replace("a name", "a │\n│           │           │              │ name")
    (unit,) = read(with_logs(tmp_path, logs), ImportOptions())
    bank, card, silent, table = unit.contexts
    assert "".join(bank.tokens) == "to pay in\r\ncash to avoid bank fees.\n\nHe"
    assert "".join(card.tokens) == "which mostly consists of credit-card loans"
    assert "".join(silent.tokens) == "from romance to friendships"
    assert "".join(table.tokens) == "a\rname │ in a table"


def test_saes_of_one_id_are_sources_of_their_own(tmp_path: Path):
    # SAEBench calls all SAEs that it was given as objects "custom_sae".
    for release in ("relu", "topk"):
        path = result(tmp_path, sae_lens_release_id=release, sae_lens_id="custom_sae")
        path.rename(tmp_path / f"{release}_custom_sae_eval_results.json")
    units = read(tmp_path, ImportOptions())
    assert [unit.source for unit in units] == ["relu/custom_sae", "topk/custom_sae"]


def test_lines_may_end_as_windows_ends_them(tmp_path: Path):
    (unit,) = read(with_logs(tmp_path, LOGS.replace("\n", "\r\n")), ImportOptions())
    assert len(unit.contexts) == 4


def test_logs_of_another_form_are_refused_and_not_a_unit_without_contexts(tmp_path: Path):
    with pytest.raises(ExchangeError, match="latent 15: its logs hold no table of texts"):
        list(read(with_logs(tmp_path, LOGS.replace("│", "|")), ImportOptions()))


@pytest.mark.parametrize("number", ["nan", "1e999"])
def test_an_activation_that_is_no_number_is_refused(tmp_path: Path, number: str):
    with pytest.raises(ExchangeError, match=r"largest activation is (nan|inf)"):
        list(read(with_logs(tmp_path, LOGS.replace("51.329", number)), ImportOptions()))


@pytest.mark.parametrize("score", [10**400, float("nan"), float("inf"), "x", True])
def test_a_score_that_is_no_number_is_not_told(tmp_path: Path, score: Any):
    (unit,) = read(with_logs(tmp_path, LOGS, score=score), ImportOptions())
    assert unit.note == "SAEBench: 'bank cards'"
