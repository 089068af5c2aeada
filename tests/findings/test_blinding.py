import pytest

from autointerp.errors import TooFewRatings
from autointerp.findings.blinding import (
    arm_of,
    blinding_from,
    blinding_of,
)
from autointerp.people.ingest import add_guesses
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import SourceKind
from autointerp.store.run import open_run
from autointerp.units.sources import kind_of

RUBRIC = load_rubric("interpretability-1-5")


def counts(feature: int, neuron: int, control: int, unknown: int) -> dict[str, int]:
    return {"feature": feature, "neuron": neuron, "control": control, "unknown": unknown}


def test_indices_of_each_source_match_hand_calculation():
    tables = {
        "features": counts(6, 2, 0, 2),
        "neurons": counts(3, 3, 3, 1),
        "random": counts(2, 2, 4, 2),
    }
    arms = {"features": "feature", "neurons": "neuron", "random": "control"}
    found = blinding_from("human:ann", tables, arms)
    bang = {one.source: one.bang.value for one in found.sources}
    # Right less half of wrong, of ten: 6 - 1, 3 - 3, 4 - 2.
    assert bang == pytest.approx({"features": 0.5, "neurons": 0.0, "random": 0.2})
    # By arm: 5 of 30 unknown. Of the guesses 8, 9, 8 by arm and 11, 7, 7 by guess; wrong 12.
    # Chance: (25² - 8·11 - 9·7 - 8·7) / 25 = 418 / 25 wrong; 5/30 + 25/30 · 12 / (2 · 418/25).
    assert found.james.value == pytest.approx(5 / 30 + 25 / 30 * 12 * 25 / (2 * 418))


def test_what_is_no_neuron_and_no_control_is_taken_for_a_feature():
    assert arm_of(kind_of("neurons")) == "neuron"
    assert arm_of(kind_of("random")) == "control"
    assert arm_of(kind_of("features")) == arm_of(kind_of("other-sae")) == "feature"


def test_a_right_guess_follows_what_a_source_calls_its_units_and_not_its_name():
    renamed = SourceKind("studied", ("a hidden neuron", "hidden neurons"))
    assert arm_of(renamed) == "neuron"
    assert arm_of(SourceKind("floor", ("a neuron", "neurons"))) == "control"


def test_guesses_are_stored_for_any_rater_and_the_last_counts(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs) as run:
        items = [row[0] for row in run.rows("SELECT item_id FROM item ORDER BY item_id")]
        add_guesses(run, "scripted:4", dict.fromkeys(items, "neuron"))
        add_guesses(run, "scripted:4", {items[0]: "unknown"})
        found = blinding_of(run, RUBRIC.digest, "scripted:4")
        answers = sum(sum(one.guesses.values()) for one in found.sources)
        assert answers == len(items)
        assert sum(one.guesses["unknown"] for one in found.sources) == 1
        with pytest.raises(TooFewRatings, match="never asked"):
            blinding_of(run, RUBRIC.digest, "human:ann")
