from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import ExchangeError
from autointerp.exchange import ImportOptions
from autointerp.exchange._arrival import recognised
from autointerp.exchange.neuron_explainer import read, recognises


def text(word: str, activation: float) -> dict[str, Any]:
    tokens = [" the", f" {word}", " sat", "."]
    return {"tokens": tokens, "activations": [-0.2, activation, 0.0, -0.1]}


def record(folder: Path, layer: int = 3, number: int = 12, **changes: Any) -> Path:
    content = {
        "dataclass_name": "NeuronRecord",
        "neuron_id": {"layer_index": layer, "neuron_index": number},
        "random_sample": [text("dog", -0.1)],
        "random_sample_by_quantile": [[text("cat", 0.5)]],
        "mean": float("nan"),
        "most_positive_activation_records": [text("cat", 9.0), text("kitten", 7.0)],
        **changes,
    }
    path = folder / str(layer) / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def explanation(folder: Path, layer: int, number: int, said: str) -> None:
    results = {
        "neuron_id": {"layer_index": layer, "neuron_index": number},
        "scored_explanations": [
            {"explanation": said, "scored_simulation": {"ev_correlation_score": 0.41}}
        ],
    }
    path = folder / str(layer) / f"{number}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results) + "\n")


def test_a_neuron_has_its_records_and_its_explanation(tmp_path: Path):
    record(tmp_path / "collated-activations")
    record(tmp_path / "collated-activations", 3, 2)
    explanation(tmp_path / "explanations", 3, 12, " animals")
    two, twelve = read(tmp_path / "collated-activations", ImportOptions())
    assert (two.source, two.name, two.note) == ("neurons-layer-3", "2", "")
    assert twelve.note == "neuron-explainer: 'animals', score 0.41"
    assert [c.tokens[c.focus or 0] for c in twelve.contexts[:2]] == [" cat", " kitten"]
    assert [max(c.activations) for c in twelve.contexts] == [9.0, 7.0, 0.0, 0.5]
    assert {a for c in twelve.contexts for a in c.activations} == {0.0, 9.0, 7.0, 0.5}


def test_file_and_folder_are_recognised(tmp_path: Path):
    path = record(tmp_path)
    assert recognises(path)
    assert recognised(tmp_path) == "neuron-explainer"
    (tmp_path / "settings.json").write_text("{}")
    assert not recognises(tmp_path / "settings.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neuron_id": {"layer_index": 1}}, "neuron_id must have layer_index and neuron_index"),
        ({"random_sample_by_quantile": 5}, "random_sample_by_quantile must be a list of lists"),
        ({"random_sample": [3]}, "activation records must be lists of objects"),
        ({"random_sample": [{"tokens": ["a"]}]}, "activations must be a list of finite numbers"),
    ],
)
def test_what_is_not_of_the_form_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(ExchangeError, match=message):
        list(read(record(tmp_path, **changes), ImportOptions()))


def test_two_layers_cannot_be_one_source(tmp_path: Path):
    record(tmp_path, 1, 1)
    record(tmp_path, 2, 1)
    with pytest.raises(ExchangeError, match=r"has layers \[1, 2\]"):
        list(read(tmp_path, ImportOptions(source="neurons")))
