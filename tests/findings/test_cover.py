import math

import pytest

from autointerp.findings.cover import CoveredConcept, Judged, cover_of
from autointerp.records import Unit
from autointerp.stats.means import wilson_interval


def concept(name, strongest, random=(False,) * 5, occurrences=10):
    units = [
        Judged(Unit("features", place), kind, place, 1.0, None, answer,
               "missing" if answer is None else "ok")
        for kind, answers in (("strongest", strongest), ("random", random))
        for place, answer in enumerate(answers, 1)
    ]  # fmt: skip
    return CoveredConcept(name, (name,), occurrences, tuple(units))


def found(*concepts):
    return cover_of("main", "features", "model:a", 1_000_000, concepts)


def test_one_unit_that_is_about_a_concept_covers_it_whatever_is_missing():
    assert concept("a", [None, True]).covered() is True
    assert concept("a", [False, None]).covered() is None
    assert concept("a", [False, False]).covered() is False
    assert concept("a", []).covered() is False  # no unit fires on it
    assert concept("a", [], []).covered("random") is None


def test_coverage_is_of_concepts_with_an_answer_with_wilson_s_interval():
    made = found(
        concept("a", [True]), concept("b", [False, True]), concept("c", [False]),
        concept("d", [None, False]), concept("e", []),
    )  # fmt: skip
    assert made.coverage == wilson_interval(2, 4)
    assert made.control == wilson_interval(0, 5)
    assert any("1 of 5 concepts have an answer missing" in note for note in made.notes)
    assert any("On 1 of 5 concepts no unit of features fires" in note for note in made.notes)


def test_units_of_a_concept_count_once_however_many_they_are():
    made = found(concept("a", [True] * 5), concept("b", [False]), concept("c", [False, True]))
    # 1, 0 and a half: by units it would be 6 of 8.
    assert made.yes["strongest"].value == pytest.approx(0.5)
    assert made.yes["strongest"].n == (3,)


def test_a_judge_that_says_yes_to_random_units_is_said_to():
    always = [concept(str(n), [True], [True] * 5) for n in range(10)]
    assert any("its yes means little" in note for note in found(*always).notes)
    never = [concept(str(n), [True]) for n in range(10)]
    assert not any("means little" in note for note in found(*never).notes)
    without = [concept(str(n), [True], []) for n in range(10)]
    assert any("No random unit was judged" in note for note in found(*without).notes)


def test_frequency_is_the_logarithm_of_occurrences_in_a_million_half_a_one_added():
    made = found(concept("a", [True], occurrences=0), concept("b", [True], occurrences=99))
    assert made.frequency(made.concepts[0]) == pytest.approx(math.log10(0.5))
    assert made.frequency(made.concepts[1]) == pytest.approx(math.log10(99.5))


def test_more_frequent_concepts_that_are_covered_more_often_have_a_curve_that_rises():
    concepts = [
        concept(f"{times}-{n}", [n < yes], occurrences=times)
        for times, yes in ((1, 2), (10, 5), (100, 8))
        for n in range(10)
    ]
    slope = found(*concepts).curve.slope
    # Odds 2:8, 5:5 and 8:2 at steps of about 1 in log10: 1.39 and 1.39 by a step, a little more
    # for the first, of which the half that is added makes a step of 0.85.
    assert 1.2 < slope.low + (slope.high - slope.low) / 2 < 1.8
    assert slope.low > 0


def test_concepts_without_any_answer_have_no_coverage_and_no_curve():
    made = found(concept("a", [None]), concept("b", [None]))
    assert made.coverage.value is None
    assert made.curve.slope.value is None
    assert len(made.frame()) == 12
    assert made.as_json()["coverage"]["value"] is None
