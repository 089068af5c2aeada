import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput
from autointerp.people.session import (
    LEAST_GAP,
    Session,
    Sitting,
    Training,
    answer_keys,
    matched,
    renamed,
    session_fields,
    session_from,
    shown_item,
    steps_for,
    text_beside,
    typed_in_full,
    with_repeats,
)
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item, ItemContext

RUBRIC = load_rubric("interpretability-1-5")
# Of `session(3)`, as it was before sessions had `around`.
OLD_DIGEST = "ac3b9cd750da36cefe134fccd6b42729c6060cd33db9d4955d8f37e2912bcad4"


def context(tokens: int = 21, focus: int = 10, split: str = "explain") -> ItemContext:
    return ItemContext(
        tuple(f" t{i}" for i in range(tokens)),
        tuple(float(i) for i in range(tokens)),
        focus,
        split,  # type: ignore[arg-type]
        False,
    )


def session(n: int = 40) -> Session:
    names = tuple(f"i{i:03}" for i in range(n))
    items = tuple(Item(name, RUBRIC.id, (shown_item_context(),)) for name in names)
    return Session("run", RUBRIC, items, names, names, contexts=1, seed="7")


def shown_item_context() -> ItemContext:
    return ItemContext((" a", " cat", " sat"), None, 1, "explain", False)


def test_orders_are_seeded_and_each_rater_has_another():
    one = session()
    assert steps_for(one, "human:ann") == steps_for(one, "human:ann")
    assert steps_for(one, "human:ann") != steps_for(one, "human:bob")
    assert steps_for(one, "human:ann") != steps_for(replace(one, seed="8"), "human:ann")


def test_an_order_mixes_sources_whatever_order_they_came_in():
    # 20 of one source, then 20 of another: the first half of the order has some of both.
    halves = [step.item < "i020" for step in steps_for(session(40), "human:ann")[:20]]
    assert 4 < sum(halves) < 16


@given(st.integers(0, 300), st.floats(0, 1), st.integers(0, 5))
def test_every_item_is_asked_once_and_a_share_of_them_again_later(n, share, seed):
    order = [f"i{i}" for i in range(n)]
    steps = with_repeats(order, share, np.random.default_rng(seed))
    assert [step.item for step in steps if step.repeat == 0] == order
    again = [step.item for step in steps if step.repeat == 1]
    assert len(again) == len(set(again)) == min(int(n * share + 0.5), n - min(LEAST_GAP, n // 3))
    places = {(step.item, step.repeat): place for place, step in enumerate(steps)}
    gap = min(LEAST_GAP, n // 3)
    assert all(places[item, 1] - places[item, 0] > gap for item in again)


def test_a_tenth_is_repeated_by_default():
    ratings = [s for s in steps_for(session(40), "human:ann") if s.kind == "rating"]
    assert len(ratings) == 44


def test_an_item_shows_no_more_than_its_rubric_shows():
    whole = Item("x", RUBRIC.id, (context(), context(split="score")), description="cats")
    shown = shown_item(whole, RUBRIC)
    assert shown.description is None
    (one,) = shown.contexts  # of the split that the rubric shows
    assert one.tokens == tuple(f" t{i}" for i in range(2, 19))  # 8 on either side of token 10
    assert one.focus == 8
    assert one.activations is None


def test_activations_are_shown_where_the_rubric_shows_them_in_whole_steps():
    scaled = replace(RUBRIC, shows=replace(RUBRIC.shows, activations="scaled", each_side=1))
    (one,) = shown_item(Item("x", RUBRIC.id, (context(),)), scaled).contexts
    assert one.activations == (9.0, 10.0, 11.0)


def test_all_items_show_as_many_contexts_and_those_with_fewer_are_left_out():
    items = [Item(f"i{n}", RUBRIC.id, (context(),) * n) for n in (3, *[10] * 18, 12)]
    number, kept, short = matched(items)
    # Nine in ten of 20 have 10 or more: the one with 3 goes, the one with 12 is cut to 10.
    assert number == 10
    assert [len(item.contexts) for item in kept] == [10] * 19
    assert [item.id for item in short] == ["i3"]


def test_where_many_items_are_short_all_are_shown_short():
    items = [Item(f"i{n}", RUBRIC.id, (context(),) * n) for n in (6, 7, 7, 8, 9)]
    assert matched(items)[0] == 6
    assert matched([]) == (0, [], [])


def test_a_session_survives_json_and_its_digest_is_of_its_content():
    one = replace(session(3), training=(Training("i001", 5, "why"),), overlap=2)
    text = json.dumps(session_fields(one))
    again = session_from(json.loads(text))
    assert again == one
    assert again.digest == one.digest != replace(one, seed="8").digest
    assert again.rubric.digest == RUBRIC.digest
    content = json.dumps(session_fields(one), sort_keys=True, separators=(",", ":"))
    assert one.digest == hashlib.sha256(content.encode()).hexdigest()


def test_renamed_items_stand_in_the_order_of_their_new_names():
    names = {"i000": "zz", "i001": "mm", "i002": "aa"}
    one = renamed(session(3), names)
    assert one.to_rate == ("aa", "mm", "zz")
    assert [item.id for item in one.items] == ["aa", "mm", "zz"]
    assert "i00" not in json.dumps(session_fields(one))


def test_answers_are_numbers_or_places():
    assert answer_keys(RUBRIC) == {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
    signed = replace(RUBRIC, scale=((-1, "less"), (0, "same"), (1, "more")))
    assert answer_keys(signed) == {"1": -1, "2": 0, "3": 1}
    assert not typed_in_full(answer_keys(RUBRIC))
    points = answer_keys(load_rubric("interpretability-0-14"))
    assert points == {str(score): score for score in range(15)}
    assert typed_in_full(points)
    with pytest.raises(BadInput, match="100 levels"):
        answer_keys(replace(RUBRIC, scale=tuple((i, "x") for i in range(100))))


@pytest.mark.parametrize("wrong", [{"overlap": 0}, {"repeat_share": 1.5}, {"repeat_share": -0.1}])
def test_wishes_out_of_range_are_refused(wrong):
    with pytest.raises(BadInput):
        Sitting(**wrong)


def test_a_session_without_more_text_has_the_digest_it_always_had():
    """Sessions that were given out are known by their digest."""
    assert not {"around", "rated"} & session_fields(session(3)).keys()
    assert session(3).digest == OLD_DIGEST


def test_the_text_round_contexts_and_who_rated_it_go_with_an_item_by_any_name():
    one = replace(session(2), around={"i000": (("a", "b"),)}, rated={"i001": 2})
    assert session_from(json.loads(json.dumps(session_fields(one)))) == one
    other = renamed(one, {"i000": "zz", "i001": "aa"})
    assert (other.around, other.rated) == ({"zz": (("a", "b"),)}, {"aa": 2})


def test_what_an_item_leaves_out_of_its_contexts_stands_beside_it():
    item = Item("x", RUBRIC.id, (context(), context(split="score")))
    assert text_beside(item, RUBRIC) == ((" t0 t1", " t19 t20"),)  # 8 on either side are shown
