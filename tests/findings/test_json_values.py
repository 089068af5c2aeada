"""Findings as JSON values: all of them, and every number that the page says."""

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.fabricate import WORDS, add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import Comparison, compare
from autointerp.findings.json_values import SCHEMA, plain
from autointerp.questions.guess import GUESSES
from autointerp.reports.panels import Heading, Material, Prose, verdict
from autointerp.reports.words import number, p_value
from autointerp.store.run import Run


def rated_run(folder: Path) -> Run:
    """Return a run with two raters, repeats, units without a score, and excluded ones."""
    run = fabricate_run(
        folder,
        {"features": 30, "neurons": 30, "planted": 6, "random": 6, "shuffled": 6},
        text=WORDS,
        excluded={"features": {"dead": 3}, "neurons": {"dense": 2}},
    )
    for rater, repeats in (("model:a", 2), ("human:ann", 1)):
        for repeat in range(repeats):
            add_scores(
                run, "features", rater, [2, 3, 5, 8, 10], missing={"refused": 2},
                repeat=repeat,
            )  # fmt: skip
            add_scores(
                run, "neurons", rater, [9, 8, 6, 3, 3], missing={"unparsed": 1},
                repeat=repeat,
            )  # fmt: skip
        add_all_scores(
            run,
            rater,
            {"planted": [0, 0, 0, 1, 5], "random": [2, 2, 1, 1, 0], "shuffled": [5, 1, 0, 0, 0]},
        )
    return run


def numbers_in(value: Any) -> Iterator[float]:
    """Yield every number in JSON values."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def written(value: float) -> set[str]:
    """Return how a report writes a number: as it is, as a share, as a p-value, as a count."""
    return {
        number(value),
        p_value(value) if value >= 0 else "",
        f"{100 * value:.0f} %",
        f"{100 * value:.0f}",
        f"{value:.0f}" if value == round(value) else "",
    }


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[str]]:
    """The comparison of the run, and the paragraphs of its verdict."""
    with rated_run(tmp_path_factory.mktemp("json")) as run:
        comparison = compare(run)
        blocks = verdict.show(Material((comparison,), (run,)))
    texts = [f"{b.lead} {b.text}" for b in blocks if isinstance(b, Prose)]
    assert any(isinstance(b, Heading) for b in blocks)
    return comparison, texts


def test_every_number_of_the_verdict_is_in_the_json(compared: tuple[Comparison, list[str]]):
    comparison, texts = compared
    known = set().union(*map(written, numbers_in(comparison.as_json())))
    seen = 0
    for text in texts:
        for name in ("interpretability-1-5", "< 0.001"):
            text = text.replace(name, "")
        text = re.sub(r"(?<=\d),(?=\d{3})", "", text)  # 1,000,000
        for found in re.findall(r"−?\d+(?:\.\d+)?(?: %)?", text):
            assert found in known, f"{found!r} of {text!r}"
            seen += 1
    assert seen > 40


def test_the_json_has_every_field_of_the_comparison_and_its_schema(
    compared: tuple[Comparison, list[str]],
):
    comparison, _ = compared
    values = comparison.as_json()
    assert values["schema"] == SCHEMA
    assert set(values) >= {field.name for field in fields(Comparison)}
    assert [j["rater"] for j in values["judgements"]] == ["human:ann", "model:a"]
    features = values["judgements"][1]["groups"]["features"]
    assert features["n"] == 28
    assert features["drawn"] == 30 + 3
    assert values["judgements"][1]["verdict"]["outcome"] == "higher"
    assert values["judgements"][1]["trust"]["state"] == "held"
    assert len(values["units"]) == len(comparison.units)
    assert values["agreement"][0]["names"] == ["human:ann", "model:a"]
    assert values["calibration"][0]["judge"] == "model:a"


def test_it_is_json_and_comes_back_the_same(compared: tuple[Comparison, list[str]]):
    values = compared[0].as_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_the_sides_of_the_guesses_are_keys(tmp_path: Path):
    from autointerp.people.ingest import add_guesses

    with rated_run(tmp_path) as run:
        items = [row[0] for row in run.rows("SELECT item_id FROM item")]
        add_guesses(run, "human:ann", dict.fromkeys(items, "unknown"))
        (one,) = compare(run).as_json()["blinding"]
    assert one["guesses"] == {guess: len(items) * (guess == "unknown") for guess in GUESSES}
    assert one["is_broken"] is False


@dataclass(frozen=True)
class Sample:
    value: float
    parts: tuple[int, ...]

    @property
    def double(self) -> float:
        return 2 * self.value

    @property
    def whole(self) -> "Sample":
        return self


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ({1: 2, "a": (3, None)}, {"1": 2, "a": [3, None]}),
        (pd.DataFrame({"x": [1, 2], "y": ["a", None]}), [{"x": 1, "y": "a"}, {"x": 2, "y": None}]),
        (pd.NaT, None),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (Sample(0.5, (1, 2)), {"value": 0.5, "parts": [1, 2], "double": 1.0}),
    ],
)
def test_values_become_plain(value: object, expected: object):
    found = plain(value)
    assert found == expected
    json.dumps(found, allow_nan=False)


def test_what_is_no_value_is_refused():
    with pytest.raises(TypeError, match="object is no JSON value"):
        plain(object())
