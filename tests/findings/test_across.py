"""Several runs: what is compared with what, what is refused, and what is said of differences."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.errors import BadInput, UnknownName
from autointerp.findings.across import AcrossRuns, across_runs, population
from autointerp.findings.comparison import Comparison, compare
from autointerp.findings.groups import PERMUTATIONS
from autointerp.findings.looks import Declared, looks_of
from autointerp.findings.plan import Plan, Stopping
from autointerp.stats.sequential import confidence_sequence_multiplier, repeated_interval
from autointerp.stats.superiority import holm, superiority
from autointerp.store.run import Run, open_run

HIGH, LOW = [1, 2, 4, 8, 10], [10, 8, 4, 2, 1]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}


KEPT: dict[str, tuple[Path, Comparison]] = {}  # by what was asked: runs alike are made once


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have a folder for the runs that `made` copies."""
    KEPT[""] = tmp_path_factory.mktemp("kept"), None  # type: ignore[assignment]
    yield
    KEPT.clear()


def made_once(
    name: str, place: int, counts: Mapping[str, Sequence[int]], more: Mapping[str, Any]
) -> tuple[Path, Comparison]:
    """Return the folder of a fabricated run, and what its comparison said; copy both."""
    every = {**counts, **CONTROLS}
    if more.get("flipped") == name:
        every |= {source: every[source][::-1] for source in CONTROLS}
    contexts = more.get("contexts", {}).get(name, 0)
    rater = more.get("raters", {}).get(name, "model:a")
    version = more.get("versions", {}).get(name)
    asked = repr((name, place, every, contexts, rater, version))
    if asked not in KEPT:
        folder = KEPT[""][0] / str(len(KEPT))
        sizes = {source: sum(scores) for source, scores in every.items()}
        with fabricate_run(folder, sizes, name, contexts=contexts, seed=place) as run:
            add_all_scores(run, rater, every, seed=place, version=version)
            KEPT[asked] = run.path, compare(run)
    return KEPT[asked]


@contextmanager
def made(folder: Path, runs: Mapping[str, Mapping[str, Sequence[int]]], **more: Any) -> Iterator[
    tuple[list[Comparison], list[Run]]
]:  # fmt: skip
    """Open fabricated runs, each source rated by `model:a`, or what `raters` says of a run."""
    comparisons, opened = [], []
    try:
        for place, (name, counts) in enumerate(runs.items()):
            path, comparison = made_once(name, place, counts, more)
            shutil.copytree(path, folder / name)
            opened.append(open_run(name, folder=folder))
            comparisons.append(deepcopy(comparison))
        yield comparisons, opened
    finally:
        for run in opened:
            run.close()


def across(folder: Path, runs: Mapping[str, Any], groups: Any = None, **more: Any) -> AcrossRuns:
    with made(folder, runs, **more) as (comparisons, opened):
        return across_runs(comparisons, opened, groups)


def test_features_of_one_run_and_neurons_of_another_are_compared(tmp_path: Path):
    (judged,) = across(tmp_path, {"a": {"features": HIGH}, "b": {"neurons": LOW}}).judged
    (contrast,) = judged.contrasts
    assert (contrast.first.label, contrast.second.label) == ("features of a", "neurons of b")
    x = [s for s, n in enumerate(HIGH, 1) for _ in range(n)]
    y = [s for s, n in enumerate(LOW, 1) for _ in range(n)]
    assert contrast.superiority == superiority(x, y)
    assert contrast.outcome == "higher"
    assert contrast.holm_p == contrast.test.p_value  # the only one of its family
    assert judged.nested == ()


def test_every_source_of_one_meets_every_source_of_the_others_and_holm_counts_them_all(
    tmp_path: Path,
):
    both = {"features": HIGH, "neurons": LOW}
    everything = across(tmp_path, {"a": both, "b": both, "c": {"features": HIGH}})
    (judged,) = everything.judged
    pairs = {(c.first.label, c.second.label) for c in judged.contrasts}
    assert len(pairs) == everything.family == 4 + 2 + 2  # a b, a c, b c
    assert ("features of b", "features of c") in pairs
    assert not any("planted" in first + second for first, second in pairs)
    adjusted = holm({i: c.test.p_value for i, c in enumerate(judged.contrasts)})
    assert [c.holm_p for c in judged.contrasts] == list(adjusted.values())


def test_a_p_value_is_fine_enough_for_a_family_of_many_contrasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """500 contrasts with a least p of 1 / 10,000 could resolve nothing, however far apart."""
    monkeypatch.setitem(PERMUTATIONS, "primary", 99)  # for 8 contrasts, as 9,999 for 800
    both = {"features": HIGH, "neurons": LOW}
    (judged,) = across(tmp_path, {"a": both, "b": both, "c": {"features": HIGH}}).judged
    far = [c for c in judged.contrasts if (c.first.source, c.second.source) != ("features",) * 2]
    p = min(c.test.p_value for c in far)
    assert p == 1 / (40 * 8)  # permutations for each of the family, and the observed one
    assert far[0].outcome == "higher"


def test_a_contrast_across_runs_has_the_level_of_the_stricter_plan(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        comparisons[0] = replace(comparisons[0], level=0.99)
        (judged,) = across_runs(comparisons, opened).judged
    (contrast,) = judged.contrasts
    assert contrast.superiority.level == 0.99


def test_the_pair_within_runs_is_combined_over_runs(tmp_path: Path):
    both = {"features": HIGH, "neurons": LOW}
    (judged,) = across(tmp_path, dict.fromkeys("abc", both)).judged
    (nested,) = judged.nested
    assert nested.runs == ("a", "b", "c")
    assert nested.within.these.superiority.n == (75, 75)
    assert nested.within.such.low is not None
    own = superiority(*([s for s, n in enumerate(x, 1) for _ in range(n)] for x in (HIGH, LOW)))
    assert nested.within.such.value == pytest.approx(own.value)


def test_the_pair_within_runs_is_the_one_that_their_plans_declare(tmp_path: Path):
    counts = {"features": HIGH, "neurons": HIGH, "untrained": LOW}
    with made(tmp_path, dict.fromkeys("ab", counts)) as (comparisons, opened):

        def pair(*seconds: str) -> tuple[str, str]:
            plans = [
                Plan(("model:a",), "r", "d", "features", second, Stopping("fixed", 25))
                for second in seconds
            ]
            planned = [replace(c, plan=p) for c, p in zip(comparisons, plans, strict=True)]
            (nested,) = across_runs(planned, opened).judged[0].nested
            return nested.first, nested.second

        assert pair("untrained", "untrained") == ("features", "untrained")
        assert pair("untrained", "neurons") == ("features", "neurons")


def test_runs_of_a_group_are_one_arm_whose_units_are_nested(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"features": HIGH}, "c": {"features": HIGH},
            "d": {"features": LOW}}  # fmt: skip
    (judged,) = across(tmp_path, runs, {"topk": ["a", "b", "c"]}).judged
    (contrast,) = judged.contrasts
    assert (contrast.first.label, contrast.first.runs) == ("features of topk", ("a", "b", "c"))
    assert contrast.superiority.n == (75, 25)
    assert contrast.over == ("runs", "units")
    assert contrast.bounds is None


@pytest.mark.parametrize(
    ("groups", "error", "says"),
    [
        ({"g": ["a", "x"]}, UnknownName, "unknown run 'x'"),
        ({"g": ["a"], "h": ["a", "b"]}, BadInput, "'g' and 'h'"),
        ({"g": []}, BadInput, "names no run"),
        ({"b": ["a"]}, BadInput, "the name of a run"),
    ],
)
def test_groups_that_do_not_fit_are_refused(
    tmp_path: Path, groups: Any, error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        across(tmp_path, {"a": {"features": HIGH}, "b": {"features": LOW}}, groups)


def test_two_runs_of_one_sae_are_no_two_seeds(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"features": HIGH}, "n": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        for comparison in comparisons:  # the neurons' run has an SAE too, which nobody rated
            comparison.about["digests"] |= {"model": "0" * 64, "sae": "1" * 64}
        with pytest.raises(BadInput, match="runs 'a' and 'b' of group 'g' have features of one"):
            across_runs(comparisons, opened, {"g": ["a", "b"]})
        assert across_runs(comparisons, opened, {"g": ["a", "n"]}).judged
        comparisons[1].about["digests"]["sae"] = "2" * 64
        assert across_runs(comparisons, opened, {"g": ["a", "b"]}).judged[0].contrasts


def test_another_judge_is_not_compared_and_both_are_named(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    everything = across(tmp_path, runs, raters={"b": "model:b"})
    assert everything.judged == ()
    assert [out.runs for out in everything.left_out] == [("a",), ("b",)]
    assert "rated by model:a, and no other run was" in everything.left_out[0].why


def test_another_rubric_is_not_compared(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": [5, 5, 5, 5]}}
    everything = across(tmp_path, {"a": runs["a"]} | {"b": {"neurons": HIGH}}, None)
    assert everything.judged
    with made(tmp_path / "two", {"a": runs["a"], "b": {"neurons": LOW}}) as (comparisons, opened):
        (judgement,) = comparisons[1].judgements
        other = replace(judgement, rubric_digest="f" * 64)
        changed = [comparisons[0], replace(comparisons[1], judgements=(other,))]
        everything = across_runs(changed, opened)
    assert everything.judged == ()
    whys = " ".join(out.why for out in everything.left_out)
    assert "scores on different rubrics are not compared" in whys
    assert "rubric interpretability-1-5 has different content" in whys
    assert "ffffffff in b" in whys


def test_what_another_rater_rated_is_no_rubric_to_compare_on(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        (judgement,) = comparisons[1].judgements
        # model:a rated b on ffffffff; on the rubric of run a, another model did.
        other = replace(judgement, rubric_digest="f" * 64)
        strange = replace(judgement, rater="model:z")
        changed = [comparisons[0], replace(comparisons[1], judgements=(other, strange))]
        whys = {out.runs: out.why for out in across_runs(changed, opened).left_out}
    digest = judgement.rubric_digest[:8]
    assert "rated by model:a on" in whys["a",]
    assert whys["a",].count(digest) == 1  # its own, and not as one of the other runs'
    assert "the other runs on interpretability-1-5 (ffffffff);" in whys["a",]


def test_the_same_name_with_another_model_behind_it_is_another_judge(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        for run, model in zip(opened, ("m-2025", "m-2026"), strict=True):
            run.connection.execute("UPDATE call SET model = ?", [model])
        (judged,) = across_runs(comparisons, opened).judged
    assert judged.contrasts == ()
    (out,) = judged.left_out
    assert out.runs == ("a", "b")
    assert "was m-2025 in 'a' and m-2026 in 'b'" in out.why
    assert "rate both with one of these named as the model" in out.why


def test_the_same_rater_of_another_version_is_another_judge(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    versions = {"a": "1", "b": "2"}
    (judged,) = across(tmp_path / "mixed", runs, versions=versions).judged
    assert judged.contrasts == ()
    assert "was version '1' in 'a' and '2' in 'b'" in judged.left_out[0].why
    # A version that was not kept is not known to be another one.
    assert across(tmp_path / "old", runs, versions={"b": "2"}).judged[0].contrasts
    assert across(tmp_path / "same", runs, versions={"a": "2", "b": "2"}).judged[0].contrasts


def test_a_rater_who_was_shown_more_of_one_run_is_not_compared(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    (judged,) = across(tmp_path, runs, contexts={"a": 12, "b": 3}).judged
    assert judged.contrasts == ()
    assert "different evidence" in judged.left_out[0].why


def test_a_person_without_a_name_may_be_two(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    (judged,) = across(tmp_path, runs, raters={"a": "human", "b": "human"}).judged
    assert judged.contrasts == ()
    assert "rate as human:NAME" in judged.left_out[0].why
    named = {"a": "human:ann", "b": "human:ann"}
    assert across(tmp_path / "named", runs, raters=named).judged[0].contrasts


def test_fewer_contexts_of_most_units_are_a_caution(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs, contexts={"a": 12, "b": 12}) as (comparisons, opened):
        assert across_runs(comparisons, opened).judged[0].differences == ()
        # All but one of b's items show 4 contexts of the 10 that the rubric asks for.
        opened[1].connection.execute(
            "UPDATE key SET contexts = contexts[1:4]"
            " WHERE unit_id <> (SELECT min(unit_id) FROM key)"
        )
        (judged,) = across_runs(comparisons, opened).judged
    assert judged.contrasts
    (difference,) = judged.differences
    assert difference.weight == "caution"
    assert "contexts shown" in difference.what
    assert difference.by_run["b"] == "4"


def test_a_rater_whose_controls_fail_in_a_run_is_left_out_there(tmp_path: Path):
    runs = {name: {"features": HIGH} for name in "abc"}
    (judged,) = across(tmp_path, runs, flipped="b").judged
    assert judged.runs == ("a", "c")
    assert [(c.first.name, c.second.name) for c in judged.contrasts] == [("a", "c")]
    assert judged.left_out[0].runs == ("b",)
    assert "controls" in judged.left_out[0].why


def test_a_run_of_which_no_unit_has_a_score_is_left_out_for_that(tmp_path: Path):
    runs = {name: {"features": HIGH} for name in "abc"}
    with made(tmp_path, runs) as (comparisons, opened):
        opened[1].connection.execute("UPDATE rating SET status = 'failed', score = NULL")
        comparisons[1] = compare(opened[1])
        (judged,) = across_runs(comparisons, opened).judged
    assert [(c.first.name, c.second.name) for c in judged.contrasts] == [("a", "c")]
    (out,) = judged.left_out
    assert (out.runs, out.why) == (("b",), "no unit of run 'b' has a score by model:a")


def test_another_corpus_is_a_caution_and_another_site_a_subject(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        settings = comparisons[1].about["settings"]
        settings["subject"] |= {"corpus": "other.txt", "site": "layers.1.residual"}
        settings["harvest"]["explain_share"] = 0.7
        (judged,) = across_runs(comparisons, opened).judged
    assert judged.contrasts
    said = {d.what: d for d in judged.differences}
    assert said["the corpus"].weight == "caution"
    assert said["the corpus"].by_run["b"] == "other.txt"  # no -1 of settings that say nothing
    assert said["the site"].weight == "subject"
    assert said["harvest.explain_share"].by_run == {"a": "0.5", "b": "0.7"}
    assert set(said) == {"the corpus", "the site", "harvest.explain_share"}


def test_settings_that_say_nothing_are_given_in_words(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        embedded, other = comparisons
        own = replace(embedded.subject, sae="embedded", corpus="embedded", tokens=None)
        comparisons[0] = replace(embedded, subject=own)
        embedded.about["settings"]["subject"] |= {"sae": "", "corpus": "", "tokenizer": ""}
        embedded.about["settings"]["harvest"]["window"] = 0
        comparisons[1] = replace(other, subject=replace(other.subject, tokens=2_000))
        other.about["settings"]["subject"] |= {
            "sae": "sae", "corpus": "other.txt", "corpus_seed": 3, "tokenizer": "t",
        }  # fmt: skip
        other.about["settings"]["harvest"]["window"] = 64
        (judged,) = across_runs(comparisons, opened).judged
    said = {d.what: tuple(d.by_run.values()) for d in judged.differences}
    assert said == {
        "the SAE": ("the model's own", "sae"),
        "the corpus": ("the model's own", "other.txt, seed 3"),
        "the tokens read": ("not recorded", "2,000"),
        "harvest.window": ("the model's context length, at most 1024", "64"),
        "subject.tokenizer": ("the model's own", "t"),
    }


def test_what_is_called_alike_and_is_not_is_named_by_its_digest(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"features": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        for comparison, digest in zip(comparisons, ("1" * 64, "2" * 64), strict=True):
            comparison.about["digests"] |= {"model": "0" * 64, "sae": digest, "corpus": digest}
        (judged,) = across_runs(comparisons, opened).judged
    assert {d.what: d.weight for d in judged.differences} == {
        "the SAE": "subject",
        "the corpus": "caution",
    }
    assert judged.differences[1].by_run["a"].endswith("(111111111111)")
    assert len(judged.contrasts) == 1


def test_the_same_units_in_two_runs_are_no_contrast_and_count_once(tmp_path: Path):
    both = {"features": HIGH, "neurons": LOW}
    with made(tmp_path, {"a": both, "b": both}) as (comparisons, opened):
        for comparison, digest in zip(comparisons, ("1" * 64, "2" * 64), strict=True):
            comparison.about["digests"] |= {"model": "0" * 64, "sae": digest}
        (judged,) = across_runs(comparisons, opened).judged
    assert population(comparisons[0], "neurons") == population(comparisons[1], "neurons")
    assert population(comparisons[0], "features") != population(comparisons[1], "features")
    pairs = {(c.first.source, c.second.source) for c in judged.contrasts}
    assert pairs == {("features", "features"), ("features", "neurons"), ("neurons", "features")}
    assert "neurons of a and of b are the same units" in judged.left_out[0].why
    (nested,) = judged.nested
    assert nested.within.these.superiority.n == (50, 25)  # neurons of both runs are the same 25


def test_one_run_is_nothing_to_compare_across(tmp_path: Path):
    with pytest.raises(BadInput, match="two or more"):
        across(tmp_path, {"a": {"features": HIGH}})


def test_units_without_a_score_are_bounded_and_json_holds_it_all(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        values = across_runs(comparisons, opened).as_json()
    (contrast,) = values["judged"][0]["contrasts"]
    assert contrast["bounds"]["missing"] == [0, 0]
    assert contrast["first"]["label"] == "features of a"
    assert contrast["outcome"] == "higher"
    assert values["family"] == 1


# ------------------------------------------------------------------------------ the ledger


def looks_across(run: Run) -> list[Any]:
    return [look for look in looks_of(run) if look.is_across]


def test_a_contrast_across_runs_is_a_line_in_the_ledger_of_each_of_its_runs(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}, "c": {"neurons": LOW[::-1]}}
    with made(tmp_path, runs) as (comparisons, opened):
        everything = across_runs(comparisons, opened, verb="report")
        ledgers = [looks_across(run) for run in opened]
    contrast = everything.judged[0].contrasts[0]
    assert [len(ledger) for ledger in ledgers] == [2, 2, 2]  # three pairs, each in two runs
    (look,) = [look for look in ledgers[0] if look.second == "neurons of b"]
    assert look in ledgers[1]
    assert look not in ledgers[2]
    assert (look.first, look.verb, look.n, look.asked) == (
        "features of a",
        "report",
        (25, 25),
        (25, 25),
    )
    assert (look.value, look.low, look.high) == (
        contrast.superiority.value,
        contrast.superiority.low,
        contrast.superiority.high,
    )
    assert look.p == contrast.test.p_value
    assert (contrast.reading.number, contrast.reading.multiplier) == (1, None)


def test_the_same_ratings_across_runs_are_one_look_whichever_run_is_named_first(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        (first,) = across_runs(comparisons, opened).judged[0].contrasts
        (turned,) = across_runs(comparisons[::-1], opened[::-1]).judged[0].contrasts
        assert [len(looks_across(run)) for run in opened] == [1, 1]
    assert (turned.first, turned.second) == (first.second, first.first)
    assert turned.reading.number == 1
    assert turned.superiority.value == pytest.approx(1 - (first.superiority.value or 0))


def test_new_ratings_across_runs_are_read_by_the_confidence_sequence(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        across_runs(comparisons, opened)
        add_scores(opened[0], "features", "model:a", HIGH, repeat=1, seed=9)
        second = across_runs([compare(run) for run in opened], opened).judged[0].contrasts[0]
        assert [look.number for look in looks_across(opened[1])] == [1, 2]
    assert second.reading.number == 2
    # 25 units of each: the harmonic mean is 25.
    multiplier = float(confidence_sequence_multiplier(25))
    assert second.reading.multiplier == pytest.approx(multiplier)
    assert second.superiority.method == second.reading.method
    ordinary = superiority(*(list(g.scores) for g in groups_of(second, tmp_path)))
    wide = repeated_interval(*(g.scores for g in groups_of(second, tmp_path)), multiplier)
    assert (second.superiority.low, second.superiority.high) == pytest.approx((wide.low, wide.high))
    assert wide.low < ordinary.low


def test_a_look_that_a_sweep_s_plan_declares_is_read_and_recorded_by_it(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):

        def look(n: tuple[int, int], *deviations: str) -> Any:
            plan = Declared("d" * 64, n, deviations)
            (judged,) = across_runs(comparisons, opened, declares=lambda *arms: plan).judged
            return judged.contrasts[0]

        early = look((25, 30))  # 25 of each are rated
        assert early.reading.interim == "not at its declared n yet (25 of 30 units of an arm)"
        assert early.outcome == "not resolved"
        assert early.holm_p < 0.05  # else it would be so anyway
        opened[0].execute("UPDATE rating SET score = 5 WHERE score = 4")  # others at the declared n
        comparisons[0] = compare(opened[0])
        whole = look((25, 25))
        assert (whole.reading.number, whole.reading.multiplier) == (2, None)  # whatever was before
        assert whole.outcome == "higher"
        assert [(x.rule, x.plan) for x in looks_of(opened[1])] == [("fixed", "d" * 64)] * 2
        (more,) = look((24, 25)).reading.deviations
        assert more == "25 units of an arm are asked about, not 24"
        strayed = look((25, 25), "rater is b, not a")
        assert strayed.reading.multiplier is not None
        assert len(looks_of(opened[1])) == 2
        add_scores(opened[0], "features", "model:a", HIGH, repeat=1, seed=9)
        comparisons[0] = compare(opened[0])
        assert look((25, 25)).reading.deviations == ("units are rated 2 times, not once",)


def groups_of(contrast: Any, folder: Path) -> list[Any]:
    """Return the groups of both arms of a contrast of two runs, read anew."""
    groups = []
    for arm in (contrast.first, contrast.second):
        with open_run(arm.runs[0], folder=folder, read_only=True) as run:
            groups.append(compare(run).judgements[0].groups[arm.source])
    return groups


def test_an_arm_of_several_runs_widens_at_a_second_look_and_its_p_follows(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"features": HIGH}, "c": {"neurons": LOW}}
    with made(tmp_path, runs) as (comparisons, opened):
        groups = {"topk": ["a", "b"]}
        first = across_runs(comparisons, opened, groups).judged[0].contrasts[0]
        add_scores(opened[2], "neurons", "model:a", LOW, repeat=1, seed=9)
        again = [compare(run) for run in opened]
        second = across_runs(again, opened, {"other": ["b", "a"]}).judged[0].contrasts[0]
        assert looks_across(opened[0])[-1].first == "features of a, b"
    # The group has another name and order, and is the same arm.
    assert (first.reading.number, second.reading.number) == (1, 2)
    assert second.superiority.level == first.superiority.level == 0.95
    assert second.superiority.low < first.superiority.low
    assert second.test.p_value > first.test.p_value
    assert (second.test.p_value <= 0.05) == (second.superiority.low > 0.5)


def test_a_look_across_runs_is_kept_by_the_run_that_can_be_written(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs):
        pass
    with (
        open_run("a", folder=tmp_path, read_only=True) as a,
        open_run("b", folder=tmp_path) as b,
    ):
        everything = across_runs([compare(a), compare(b)], [a, b])
        assert [len(looks_across(run)) for run in (a, b)] == [0, 1]
        assert everything.unrecorded == ()
    with (
        open_run("a", folder=tmp_path, read_only=True) as a,
        open_run("b", folder=tmp_path, read_only=True) as b,
    ):
        add_nothing = across_runs([compare(a), compare(b)], [a, b])
    assert add_nothing.unrecorded == ()  # b's ledger has it
    with open_run("a", folder=tmp_path) as a, open_run("b", folder=tmp_path, read_only=True) as b:
        across_runs([compare(a), compare(b)], [a, b])
        assert looks_across(a)[0].number == looks_across(b)[0].number == 1


def test_a_look_across_runs_that_no_run_can_take_is_said_to_be_unrecorded(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    with made(tmp_path, runs):
        pass
    with (
        open_run("a", folder=tmp_path, read_only=True) as a,
        open_run("b", folder=tmp_path, read_only=True) as b,
    ):
        everything = across_runs([compare(a), compare(b)], [a, b])
    (contrast,) = everything.judged[0].contrasts
    assert not contrast.reading.recorded
    assert [look.recorded for look in everything.unrecorded] == [False]


def test_the_pair_within_runs_is_as_wide_as_the_looks_at_one_of_them_make_it(tmp_path: Path):
    both = {"features": HIGH, "neurons": LOW}
    with made(tmp_path, dict.fromkeys("ab", both)) as (comparisons, opened):
        (first,) = across_runs(comparisons, opened).judged[0].nested
        add_scores(opened[0], "neurons", "model:a", LOW, repeat=1, seed=9)
        again = [compare(run) for run in opened]
        (second,) = across_runs(again, opened).judged[0].nested
    assert second.within.these.superiority.low < first.within.these.superiority.low
    assert second.within.these.superiority.level == 0.95
    assert second.within.these.test.p_value is None
