from __future__ import annotations

import datetime

import pytest

from autointerp.errors import BadInput
from autointerp.raters._prices import find_price, price_list


def test_a_listed_model_has_its_price_with_or_without_a_date() -> None:
    price = find_price("openai", "gpt-4.1-mini")
    assert price == find_price("openai", "gpt-4.1-mini-2025-04-14")
    assert price is not None
    # 1,000 tokens in at $0.40 and 100 out at $1.60 a million
    assert price.cost_usd(1000, 100) == pytest.approx(0.0004 + 0.00016)


def test_an_unknown_model_has_no_price_and_not_the_price_of_a_like_name() -> None:
    assert find_price("openai", "gpt-4o-audio-preview") is None
    assert find_price("anthropic", "gpt-4o") is None
    assert find_price("", "gpt-4o") is None


def test_reads_and_writes_of_the_cache_have_prices_of_their_own() -> None:
    price = find_price("anthropic", "claude-haiku-4-5-20251001")
    assert price is not None
    # $1 a million: 1,000 plain, 8,000 read at a tenth, 1,000 written at 1.25; out is $5
    cost = price.cost_usd(10_000, 100, read=8000, written=1000)
    assert cost == pytest.approx((1000 + 800 + 1250 + 500) / 1e6)


def test_the_users_price_overrules_and_must_be_whole() -> None:
    price = find_price("openai", "my-own", price_in=2.0, price_out=4.0)
    assert price is not None
    assert price.cost_usd(1_000_000, 500_000) == pytest.approx(4.0)
    assert price.as_of is None
    for prices in ({"price_in": 1.0}, {"price_in": -1.0, "price_out": 1.0}):
        with pytest.raises(BadInput, match="--price"):
            find_price("openai", "my-own", **prices)


def test_the_list_says_when_it_was_read_and_holds_no_price_of_nothing() -> None:
    listed = price_list()
    assert isinstance(listed["as_of"], datetime.date)
    for provider, models in listed["providers"].items():
        writes = not provider.endswith("-embeddings")  # else what comes back is free
        assert all(entry["in"] > 0 and (entry["out"] > 0) is writes for entry in models.values())
