import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import UnknownName
from autointerp.store.frames import Frames
from autointerp.store.run import Run


@pytest.fixture
def fabricated(tmp_path: Path):
    with fabricate_run(
        tmp_path, {"features": 5, "planted": 3}, excluded={"features": {"dead": 2}}
    ) as run:
        add_scores(run, "features", "lexical", [1, 0, 2, 0, 1], missing={"failed": 1})
        yield run


def documented(method: Callable[..., pandas.DataFrame]) -> list[str]:
    """Return the columns that a method's docstring names, in their order."""
    columns = (inspect.getdoc(method) or "").partition("Columns:")[2]
    return [
        name
        for names in re.findall(r"^ {4}([a-z_]+(?:, [a-z_]+)*): ", columns, re.M)
        for name in names.split(", ")
    ]


def test_every_column_of_a_frame_is_documented_and_no_other(fabricated: Run):
    assert list(fabricated.ratings_frame()) == documented(Frames.ratings_frame)
    assert list(fabricated.units_frame()) == documented(Frames.units_frame)
    assert list(fabricated.contexts_frame("features")) == documented(Frames.contexts_frame)


def test_contexts_of_a_source_that_the_run_has_not_are_no_empty_table(fabricated: Run):
    with pytest.raises(UnknownName, match="unknown source 'feature'; did you mean 'features'"):
        fabricated.contexts_frame("feature")


def test_a_rating_without_a_score_is_a_row_with_its_status(fabricated: Run):
    ratings = fabricated.ratings_frame()
    assert ratings.status.value_counts().to_dict() == {"ok": 4, "failed": 1}
    assert ratings.score.isna().sum() == 1
    assert ratings.unit[0] == "features/2"


def test_units_stand_in_the_random_order_of_their_source(fabricated: Run):
    units = fabricated.units_frame()
    assert units[units.source == "features"].order.tolist() == list(range(7))
    assert units.outcome.value_counts().to_dict() == {"eligible": 8, "dead": 2}
    assert set(units[units.is_control].source) == {"planted"}


def test_a_context_s_activation_is_that_of_its_focus_token(fabricated: Run):
    contexts = fabricated.contexts_frame("planted")
    assert len(contexts) == 3 * 20
    for row in contexts.itertuples():
        assert len(row.tokens) == len(row.activations)
        assert row.activation == row.activations[row.focus]
