from __future__ import annotations

from collections import Counter

import pytest

from autointerp.engine.work import RatingCounts
from autointerp.pipeline.describe import DescriptionsResult, ExplainResult, ScoreResult

COUNTS = RatingCounts(0, Counter(ok=3), calls=3, spent_usd=0.25, charged_usd=0.5)


@pytest.mark.parametrize(
    "result",
    [
        ExplainResult("main", "openai:m", 3, 3, 0, {}, COUNTS),
        DescriptionsResult("main", "openai:m", "specificity-0-3", {"features": 3}, COUNTS),
        ScoreResult("detection", 3, {}, COUNTS),
    ],
    ids=["explain", "rate", "score"],
)
def test_what_is_asked_about_descriptions_says_at_the_end_what_it_cost(result: object) -> None:
    assert ", $0.25 and at most $0.50 for calls of unknown cost" in str(result)
