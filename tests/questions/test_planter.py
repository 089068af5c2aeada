from functools import cache

import numpy as np
import pytest
from support.small_corpus import KINDS, small_corpus

from autointerp.errors import BadInput, CorpusError
from autointerp.questions.labelled_text import LabelledText
from autointerp.questions.planter import CONCEPTS, GRADES, STRONG, Planter


@cache
def planted():
    """All grades, eight units of each."""
    return small_corpus().units(per_grade=8, seed=5)


def test_the_same_seed_plants_the_same_units():
    again = small_corpus().units(per_grade=1, seed=5)
    assert again[0] == planted()[0]
    assert small_corpus().units(per_grade=1, seed=6)[0] != planted()[0]


def test_fewer_units_are_the_first_of_more():
    assert planted()[: len(GRADES)] == small_corpus().units(per_grade=1, seed=5)


def test_every_grade_and_kind_is_planted_and_some_mixtures_and_noise_are_dense():
    assert {unit.grade for unit in planted()} == set(GRADES)
    assert {unit.kinds for unit in planted() if unit.grade == "clean"} == {
        (kind,) for kind in KINDS
    }
    assert {unit.grade for unit in planted() if unit.dense} == {"mixture of 3", "noise"}
    assert all(len(unit.kinds) == CONCEPTS[unit.grade] for unit in planted())


def test_concepts_of_a_mixture_are_of_different_kinds_while_there_are_such():
    for unit in planted():
        assert len(set(unit.kinds)) == min(len(unit.kinds), len(KINDS))


def test_a_drifting_unit_follows_one_word_strongly_and_the_other_weakly():
    planter = Planter(small_corpus().text, ("token",))
    unit = planter.unit("drift", np.random.default_rng(4))
    strong, weak = (said.removeprefix("the word ") for said in unit.rule.split("; or "))
    fired = {strong: [], weak: []}
    peak = max(a for context in unit.contexts for a in context.activations)
    for context in unit.contexts:
        for token, activation in zip(context.tokens, context.activations, strict=True):
            if activation > 0:
                fired[f"'{token.strip().lower()}'"].append(activation / peak)
    assert min(fired[strong]) >= STRONG / (1 + 1e-3) - 1e-6
    assert max(fired[weak]) <= STRONG * 1.01


def test_a_kind_that_gives_no_rule_is_named(monkeypatch):
    monkeypatch.setattr("autointerp.questions.kinds.token.rule", lambda text, rng: "the word")
    with pytest.raises(BadInput, match=r"kind 'token': rule\(\) returned a value of type str; it"):
        Planter(small_corpus().text, ("token",)).unit("clean", np.random.default_rng(4))


def test_no_document_serves_both_splits():
    for unit in planted():
        explain = {c.document for c in unit.contexts if c.split == "explain"}
        score = {c.document for c in unit.contexts if c.split == "score"}
        assert explain
        assert score
        assert not explain & score


def test_contexts_are_windows_of_their_documents_round_their_focus():
    planter = small_corpus()
    for context in planted()[0].contexts:
        starts = planter.text.starts[context.document :]
        document = [planter.text.texts[i] for i in planter.text.tokens[starts[0] : starts[1]]]
        begin = context.position - context.focus
        assert list(context.tokens) == document[begin : begin + len(context.tokens)]
        assert context.focus <= 10
        assert len(context.tokens) <= 21


def test_every_interval_is_filled_and_random_draws_of_sparse_units_are_mostly_silent():
    unit = planted()[0]
    assert {c.interval for c in unit.contexts if c.draw == "interval"} == set(range(1, 11))
    assert all(c.silent == (max(c.activations) == 0) for c in unit.contexts)
    random = [c.silent for c in unit.contexts if c.draw == "random"]
    assert np.mean(random) > 0.5


def test_dense_units_fire_on_three_tokens_in_ten():
    for unit in planted():
        random = [c for c in unit.contexts if c.draw == "random"]
        share = np.mean([a > 0 for c in random for a in c.activations])
        assert (0.25 < share < 0.4) if unit.dense else share < 0.15


def test_a_clean_token_unit_fires_only_where_its_word_stands():
    unit = next(u for u in planted() if u.grade == "clean" and u.kinds == ("token",))
    fired = {
        f"'{token.strip().lower()}'"
        for context in unit.contexts
        for token, activation in zip(context.tokens, context.activations, strict=True)
        if activation > 0
    }
    assert fired == {unit.rule.removeprefix("the word ")}


def test_a_text_too_short_to_plant_in_is_named():
    short = LabelledText(np.arange(50) % 5, np.array([0, 25, 50]), tuple("abcde"), ("speech",) * 2)
    with pytest.raises(CorpusError, match="50 tokens"):
        Planter(short, ("number",)).unit("clean", np.random.default_rng(0))


def test_a_dense_clean_unit_is_not_to_be_had():
    with pytest.raises(ValueError, match="dense"):
        small_corpus().unit("clean", np.random.default_rng(0), dense=True)
