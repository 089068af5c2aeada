from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput, RaterError
from autointerp.questions.forms import answers_in
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import RaterOptions, likelihood
from autointerp.raters._evidence import score_of
from autointerp.raters.likelihood import HIGH, LOW, Line, Reader, create, draw_lines
from autointerp.records import Item, ItemContext, Split

RUBRIC = load_rubric("interpretability-1-5")


def context(split: Split, number: int, fires: bool) -> ItemContext:
    tokens = ("a", f" w{number}", " x" if fires else " y", " b")
    return ItemContext(
        tokens, (0.0, 0.0, 1.0 + number % 9 if fires else 0.0, 0.0), 2, split, not fires
    )


def unit(count: int = 30) -> tuple[ItemContext, ...]:
    splits: tuple[Split, Split] = ("explain", "score")
    return tuple(context(s, n, f) for s in splits for n in range(count) for f in (True, False))


class OneWord:
    """Finds a line probable if its token stands in the list."""

    def line_likelihoods(self, shots: Sequence[Line], lines: Sequence[Line]) -> Any:
        seen = {shot.token for shot in shots}
        return np.array([0.0 if line.token in seen else -1.0 for line in lines])


def judged(item: Item, monkeypatch: pytest.MonkeyPatch, reader: Any) -> Any:
    monkeypatch.setattr(likelihood, "load_reader", lambda model: reader)
    rater = create("some/model", RaterOptions())
    return asyncio.run(rater.send(rater.request(item, RUBRIC)))


def test_lines_that_fire_on_one_token_score_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = judged(Item("aa", RUBRIC.id, unit()), monkeypatch, OneWord())
    assert json.loads(reply.text)["score"] == 5
    assert reply.details["auroc"] == 1.0
    assert set(reply.details["firing"]) == {1.0}  # 0 after firing lines, -1 after neutral ones


def test_a_model_that_sees_nothing_gives_the_lowest_score(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        def line_likelihoods(self, shots: Sequence[Line], lines: Sequence[Line]) -> Any:
            return np.zeros(len(lines))

    reply = judged(Item("aa", RUBRIC.id, unit()), monkeypatch, Blind())
    assert reply.details["auroc"] == 0.5
    assert json.loads(reply.text)["score"] == 1


def test_too_few_contexts_are_a_failure_and_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = judged(Item("aa", RUBRIC.id, unit(3)), monkeypatch, OneWord())
    assert reply.stop == "error"
    assert reply.text == ""
    assert "3 firing contexts" in reply.error


def test_lists_and_held_out_lines_share_no_split_and_spread_over_activation() -> None:
    contexts = tuple(
        ItemContext((" p", f" {s}{n}"), (0.0, 0.5 + n % 10 if n < 60 else 0.0), 1, s, n >= 60)
        for s in ("explain", "score")
        for n in range(90)
    )
    drawn = draw_lines(contexts, np.random.default_rng(0))
    taught = {
        line[1]
        for lists in (drawn["firing_lists"], drawn["neutral_lists"])
        for one in lists
        for line in one
    }
    held = {line[1] for line in drawn["held_firing"] + drawn["held_silent"]}
    assert all(text.startswith(" explain") for text in taught)
    assert all(text.startswith(" score") for text in held)
    # 8 of 10 levels of activation in each list: as many levels as lines
    for one in drawn["firing_lists"]:
        assert len({int(line[1].removeprefix(" explain")) % 10 for line in one}) == len(one)


def test_the_order_of_contexts_decides_nothing_and_repeats_draw_anew() -> None:
    rater = create("some/model", RaterOptions())
    there = rater.request(Item("aa", RUBRIC.id, unit()), RUBRIC)
    back = rater.request(Item("aa", RUBRIC.id, unit()[::-1]), RUBRIC)
    assert there.key == back.key
    assert rater.request(Item("aa", RUBRIC.id, unit()), RUBRIC, 1).body != there.body


def test_a_rubric_that_shows_a_description_is_not_for_this_rater() -> None:
    rubric = replace(RUBRIC, shows=replace(RUBRIC.shows, description=True))
    with pytest.raises(RaterError, match="description"):
        create("m", RaterOptions()).request(Item("aa", rubric.id, unit()), rubric)


@pytest.mark.parametrize(
    ("statistic", "five", "four", "two"),
    [
        (0.3, 1, 0, 0),
        (0.67, 2, 1, 0),
        (0.76, 3, 1, 0),
        (0.80, 3, 2, 1),
        (0.87, 4, 2, 1),
        (0.9, 5, 3, 1),
    ],
)
def test_an_auroc_is_mapped_to_a_scale_of_any_length(
    statistic: float, five: int, four: int, two: int
) -> None:
    # between 0.66 and 0.88: thirds end at 0.7333 and 0.8067, halves at 0.77
    assert score_of(statistic, (1, 2, 3, 4, 5), LOW, HIGH) == five
    assert score_of(statistic, (0, 1, 2, 3), LOW, HIGH) == four
    assert score_of(statistic, (0, 1), LOW, HIGH) == two


def test_a_rater_without_a_model_says_how_to_name_one() -> None:
    with pytest.raises(BadInput, match=r"likelihood:PATH\.gguf"):
        create(None, RaterOptions())


def test_the_cached_list_gives_the_likelihood_of_the_whole_text() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=128,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
    )
    model = transformers.LlamaForCausalLM(config).eval()

    class Letters:
        bos_token_id = 1

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [ord(letter) % 128 for letter in text]}

    reader = Reader(model, Letters())
    shots, lines = (
        [Line("a", "b", ""), Line("c", "d", "")],
        [Line("e", "f", ""), Line("long", "g", "")],
    )
    found = reader.line_likelihoods(shots, lines)
    for line, mean in zip(lines, found, strict=True):
        prefix = [1, *map(ord, "".join(f"{shot}\n" for shot in shots))]
        text = [*map(ord, f"{line}\n")]
        with torch.inference_mode():
            logits = model(torch.tensor([prefix + text])).logits[0].log_softmax(-1)
        each = [float(logits[len(prefix) + place - 1, token]) for place, token in enumerate(text)]
        assert mean == pytest.approx(math.fsum(each) / len(each), abs=1e-4)


SURPRISAL = scorer("surprisal").TASK


class Echo:
    """Finds a character as probable as the description has it often; reads no list."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def text_likelihoods(self, parts: tuple[str, ...], texts: Sequence[str]) -> list[Any]:
        _, last = parts
        self.read.append(last)
        return [np.array([-2.0 if c in last[13:15] else -4.0 for c in text]) for text in texts]


def test_surprisal_is_the_loss_a_token_after_either_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Echo()
    monkeypatch.setattr(likelihood, "load_reader", lambda model: reader)
    contexts = tuple(ItemContext((text,), None, None, "score", False) for text in ("zzzb", "bb"))
    rater = create("some/model", RaterOptions())
    asked = rater.request(Item("aa", SURPRISAL.id, contexts, description="zz"), SURPRISAL)
    reply = asyncio.run(rater.send(asked))
    # After `Description: ` stand "zz", or "Va" of the neutral one. "zz" saves 2 nats on each z: on
    # three of 4 characters, (3·2) / 4; the other text has none.
    assert answers_in(SURPRISAL, reply) == {1: 1.5, 2: 0.0}
    assert json.loads(reply.text)["losses"][0] == {"context": 1, "given": 2.5, "without": 4.0}
    assert [prefix.count("Various unrelated sentences.") for prefix in reader.read] == [0, 1]
    with pytest.raises(RaterError, match="embed:FOLDER"):
        rater.request(Item("aa", "embedding", contexts, description="z"), scorer("embedding").TASK)


def test_a_prefix_that_is_kept_gives_what_reading_it_anew_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from support.tiny_language_models import LLAMA_LIKE, VOCABULARY, tokenizer, transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, **LLAMA_LIKE)
    reader = Reader(transformers.LlamaForCausalLM(config).eval(), tokenizer())
    prefixes = [("the mat\n", f"the cat {n}\n") for n in range(likelihood.PREFIXES)]
    texts = ["the mat and the dog", "a cat"]
    first = [reader.text_likelihoods(parts, texts) for parts in prefixes]
    # The oldest was dropped, and not what all begin with.
    assert set(reader.prefixes) == {("the mat\n",), *prefixes[1:]}
    for parts, before in zip(prefixes, first, strict=True):
        alone = [reader.text_likelihoods(parts, [text])[0] for text in texts]
        for one, other in zip(before, alone, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    start, text = [reader.tokenizer.bos_token_id], "the mat and the dog"
    ids = start + [i for part in (*prefixes[0], text) for i in reader._encode(part)]
    length = len(reader._encode(text))
    with torch.inference_mode():
        logits = reader.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    each = [float(logits[place - 1, ids[place]]) for place in range(len(ids) - length, len(ids))]
    assert first[0][0] == pytest.approx(each, abs=1e-4)


def test_control_tokens_in_a_text_do_not_reach_the_model_as_such():
    from support.tiny_language_models import tokenizer

    ids = Reader(None, tokenizer())._encode("the<|endoftext|>cat")
    assert 0 not in ids
    assert Reader(None, tokenizer())._encode("the cat") == tokenizer()("the cat")["input_ids"]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_is_longer_than_the_model_reads_is_a_failure(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from support.tiny_language_models import saved

    rater = create(str(saved(tmp_path / "m", kind)), RaterOptions())
    contexts = (ItemContext(("the cat " * 40,), None, None, "score", False),)
    asked = rater.request(Item("aa", SURPRISAL.id, contexts, description="cats"), SURPRISAL)
    reply = asyncio.run(rater.send(asked))
    assert (reply.stop, reply.cost_usd) == ("error", 0.0)
    assert "the model reads 64 at most" in reply.error


def test_a_model_without_its_head_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file
    from support.tiny_language_models import saved

    folder = saved(tmp_path / "m", "llama")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RaterError, match=r"lack 1 weight, such as lm_head\.weight"):
        likelihood.load_reader(str(folder))


@pytest.mark.parametrize("architecture", ["lfm2", "mamba"])
def test_a_model_that_keeps_a_state_is_refused(architecture: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from support.tiny_language_models import saved

    folder = saved(tmp_path / "m", architecture)
    with pytest.raises(RaterError, match="keeps a state of what it has read"):
        likelihood.load_reader(str(folder))
