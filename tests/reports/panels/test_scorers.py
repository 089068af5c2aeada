from dataclasses import replace
from types import SimpleNamespace

from support.unit_scores import OF_A_HARVEST, unit

from autointerp.findings.descriptions import scorer_results, scorer_results_of
from autointerp.reports.panels import Figure, Prose, Table, scorers
from autointerp.store.run import open_run


def material(results):
    comparison = SimpleNamespace(run="main", scorers=results, **OF_A_HARVEST)
    return SimpleNamespace(comparisons=(comparison,), several_runs=False)


def test_scores_stand_beside_their_controls(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        blocks = scorers.show(material(scorer_results_of(run)))
    table = next(block for block in blocks if isinstance(block, Table))
    planted = table.frame.set_index(["scorer", "source"]).loc[("detection", "planted")]
    assert planted["score"] > 0.95
    assert planted["permuted_units"] == 4
    assert {"no_score", "calls", "spearman, weighted", "explained variance"} <= set(table.frame)
    figure = next(block for block in blocks if isinstance(block, Figure))
    assert "permuted" in figure.alt
    figure.draw()


def test_a_scorer_that_does_not_fall_to_chance_is_called_broken():
    tries = [unit(n, False, 0.9 + n / 100) for n in range(5)]
    tries += [unit(n, True, 0.7 + n / 1000) for n in range(41)]
    blocks = scorers.show(material(scorer_results(tries)))
    (warning,) = [b for b in blocks if isinstance(b, Prose) and b.tone == "warning"]
    assert "features still score 0.72" in warning.text
    (lost,) = [b for b in blocks if isinstance(b, Prose) and "46 failed" in b.text]
    assert "missing from the scores, not wrong" in lost.text


def test_results_of_several_designs_say_which_is_whose():
    few = [replace(unit(n, False, 0.9), design="5 of each kind") for n in range(3)]
    found = [*few, *(unit(n, False, 0.9) for n in range(3))]
    captions = [
        b.caption for b in scorers.show(material(scorer_results(found)))
        if isinstance(b, Figure)
    ]  # fmt: skip
    assert [caption.partition(".")[0] for caption in captions] == [
        f"described by a, judged by b · {n} of each kind" for n in (20, 5)
    ]


def test_a_picture_of_controls_alone_has_their_scores_for_a_headline():
    both = [unit(n, False, 0.9, "shuffled") for n in range(3)]
    assert scorers.finding(scorer_results(both)) == "Shuffled*: fuzzing 0.90"
    both += [unit(n + 9, False, 0.7) for n in range(3)]
    assert scorers.finding(scorer_results(both)) == "Features: fuzzing 0.70"
    assert scorers.finding(scorer_results([unit(1, False, None)])) == "No description has a score"


def test_shuffled_units_that_score_above_chance_call_the_scorer_broken():
    tries = [unit(n, False, 0.6 + n / 1000, "shuffled") for n in range(41)]
    blocks = scorers.show(material(scorer_results(tries)))
    (warning,) = [b for b in blocks if isinstance(b, Prose) and b.tone == "warning"]
    assert "shuffled units fire with no regard to the text and still score 0.62" in warning.text


def texts(tries):
    blocks = scorers.show(material(scorer_results(tries)))
    return " ".join(block.text for block in blocks if isinstance(block, Prose))


def test_too_few_units_to_judge_a_control_are_said_to_be_too_few():
    own = [unit(n, False, 0.9) for n in range(5)]
    assert "too few units were tried to tell" in texts([*own, unit(9, True, 0.6)])
    many = [unit(n, True, 0.49 + 0.02 * (n % 2)) for n in range(200)]
    assert "too few units were tried" not in texts([*own, *many])


def test_units_without_a_score_widen_what_is_said_of_a_contrast():
    tries = [unit(n, False, 0.9) for n in range(3)]
    tries += [unit(n + 10, False, 0.5, "neurons") for n in range(3)]
    assert "Without a score" not in texts(tries)
    lacking = texts([*tries, unit(20, False, None, "neurons")])
    assert "Without a score are 1 neuron (1 too few silent tokens)" in lacking
    assert "it lies between 0.75 and 1.00" in lacking


def test_a_run_without_descriptions_has_no_such_panel(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        assert scorers.show(material(scorer_results_of(run))) == []
