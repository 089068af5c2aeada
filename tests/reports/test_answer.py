"""The first screen, in each outcome and in its opposite."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.fabricate import add_all_scores, fabricate_run
from support.judges import made_check

from autointerp.findings.checks import keep
from autointerp.findings.comparison import compare
from autointerp.records import Status
from autointerp.reports.answer import answer
from autointerp.reports.answer_picture import draw
from autointerp.reports.page import title
from autointerp.reports.panels import Answer, Material
from autointerp.reports.panels.verdict import pooled_text, verdict
from autointerp.reports.style import house_style, laid_out

HIGH, LOW, FLAT = [0, 0, 5, 10, 15], [15, 10, 5, 0, 0], [6, 6, 6, 6, 6]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}
FAILED = {"planted": [6, 0, 0, 0, 0], "shuffled": [6, 0, 0, 0, 0]}
Scores = Mapping[str, list[int]]


def material(folder: Path, raters: Mapping[str, Scores]) -> Material:
    """Return the material of a run in which each rater gave its own scores to the same units."""
    first = next(iter(raters.values()))
    units = {source: sum(counts) for source, counts in first.items()}
    with fabricate_run(folder, units, contexts=0) as run:
        for rater, scores in raters.items():
            add_all_scores(run, rater, scores)
        return Material((compare(run),), (run,))


def screen(folder: Path, *raters: Scores) -> Answer:
    shown = answer(material(folder, {f"model:{k}": one for k, one in enumerate(raters)}))
    assert shown is not None
    return shown


def test_the_claim_and_its_tone_follow_the_outcome(tmp_path: Path):
    higher = screen(tmp_path / "higher", {"features": HIGH, "neurons": LOW, **CONTROLS})
    assert (higher.claim, higher.tone) == ("Features score higher than neurons.", "good")
    lower = screen(tmp_path / "lower", {"features": LOW, "neurons": HIGH, **CONTROLS})
    assert (lower.claim, lower.tone) == ("Features score lower than neurons.", "good")
    null = screen(tmp_path / "null", {"features": FLAT, "neurons": FLAT, **CONTROLS})
    assert null.claim == "Whether features or neurons score higher is not resolved."
    assert null.tone == "plain"
    assert (higher.heading, null.heading) == ("What speaks against it", "What to keep in mind")


def test_a_difference_without_controls_is_claimed_but_not_in_green(tmp_path: Path):
    shown = screen(tmp_path, {"features": HIGH, "neurons": LOW})
    assert (shown.claim, shown.tone) == ("Features score higher than neurons.", "plain")


def test_a_rater_that_fails_its_controls_gives_no_answer(tmp_path: Path):
    shown = screen(tmp_path, {"features": HIGH, "neurons": LOW, **FAILED})
    assert shown.claim == "No answer from model:0: its controls are not where they must be."
    assert shown.tone == "warning"
    assert shown.against[0][0] == "The rater fails its controls."


def test_a_rater_that_fails_its_check_gives_no_answer(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW, **CONTROLS}
    units = {source: sum(counts) for source, counts in scores.items()}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        add_all_scores(run, "model:a", scores)
        (tmp_path / ".checks").mkdir()
        keep(made_check("model:a", 0.6), tmp_path)
        shown = Material((compare(run),), (run,))
    (judgement,) = shown.judgements
    first = answer(shown)
    assert first is not None
    assert first.claim == "No answer from model:a: it failed its check on planted units."
    assert (first.tone, first.heading) == ("warning", "What to keep in mind")
    found, *_ = verdict(judgement, shown)
    assert found.lead.startswith("By scores that are no evidence, features score higher than")
    assert found.tone == "plain"
    assert title(shown) == "Are the features more interpretable than the neurons?"


def test_raters_that_differ_are_not_given_one_answer(tmp_path: Path):
    up = {"features": HIGH, "neurons": LOW, **CONTROLS}
    down = {"features": LOW, "neurons": HIGH, **CONTROLS}
    null = {"features": FLAT, "neurons": FLAT, **CONTROLS}
    broken = {"features": LOW, "neurons": HIGH, **FAILED}
    assert screen(tmp_path / "a", up, up).claim == "Features score higher than neurons."
    assert screen(tmp_path / "b", up, down).claim == "The ratings contradict one another."
    assert screen(tmp_path / "c", up, null).claim == (
        "Features score higher than neurons by 1 of 2 ratings; by the others it is not resolved."
    )
    alike = {"features": [80] * 5, "neurons": [80] * 5, **CONTROLS}
    many = {"features": [0, 0, 60, 140, 200], "neurons": [200, 140, 60, 0, 0], **CONTROLS}
    assert screen(tmp_path / "e", many, alike).claim == "The ratings do not agree on an answer."
    assert screen(tmp_path / "h", alike, null).claim == (
        "Features and neurons score alike by 1 of 2 ratings; by the others it is not resolved."
    )
    # Too few units of each are no disagreement.
    few = {"features": [0, 1, 1, 1, 0], "neurons": [1, 1, 1, 0, 0], **CONTROLS}
    fewer = {"features": [0, 1, 1, 0, 0], "neurons": [1, 1, 1, 0, 0], **CONTROLS}
    assert screen(tmp_path / "g", few, fewer).claim == (
        "Whether features or neurons score higher is resolved by none of 2 ratings."
    )
    # One whose controls fail has no say, is said to have none, and stands behind the others.
    shown = screen(tmp_path / "d", broken, up)
    assert shown.claim == "Features score higher than neurons, by the 1 of 2 ratings that counts."
    assert (shown.tone, shown.heading) == ("plain", "What speaks against it")
    assert "so it does not count" in shown.support[1]
    assert screen(tmp_path / "f", broken, up, null).claim == (
        "Features score higher than neurons by 1 of the 2 ratings that count; by the others it is "
        "not resolved."
    )


def test_ratings_that_differ_say_by_how_many_the_baseline_is_outscored(tmp_path: Path):
    up = {"features": HIGH, "neurons": LOW, **CONTROLS}
    null = {"features": FLAT, "neurons": FLAT, "untrained": FLAT, **CONTROLS}
    survives, falls = {**up, "untrained": LOW}, {**up, "untrained": HIGH}
    shown = screen(tmp_path, survives, falls, null)
    assert shown.claim == (
        "Features score higher than neurons by 2 of 3 ratings; by the others it is not resolved. "
        "Than untrained features they score higher by 1 of 2."
    )


def test_ratings_that_agree_and_lack_the_baseline_in_part_are_given_their_one_answer(
    tmp_path: Path,
):
    without = {"features": HIGH, "neurons": LOW, **CONTROLS}
    survives = {**without, "untrained": LOW}
    falls = {**without, "untrained": HIGH}
    shown = screen(tmp_path / "a", survives, without)
    assert shown.claim == (
        "Features score higher than neurons, and than untrained features where these were rated."
    )
    assert (shown.tone, shown.heading) == ("good", "What speaks against it")
    shown = screen(tmp_path / "b", falls, without)
    assert shown.claim.endswith("untrained features is not resolved where these were rated.")
    assert shown.tone == "plain"
    shown = screen(tmp_path / "c", survives, falls)
    assert shown.claim == (
        "Features score higher than neurons; of untrained features the ratings do not agree."
    )
    assert shown.tone == "plain"
    # One that is left out does not make the others differ of the pair that they agree on.
    broken = {**without, "untrained": HIGH, **FAILED}
    shown = screen(tmp_path / "d", survives, falls, broken)
    assert shown.claim == (
        "Features score higher than neurons, by the 2 of 3 ratings that count; of untrained "
        "features the ratings do not agree."
    )
    shown = screen(tmp_path / "e", survives, without, broken)
    assert shown.claim == (
        "Features score higher than neurons, and than untrained features where these were rated, "
        "by the 2 of 3 ratings that count."
    )
    assert shown.tone == "plain"


def test_a_source_alone_is_compared_with_nothing(tmp_path: Path):
    shown = screen(tmp_path, {"features": FLAT, **CONTROLS})
    assert shown.claim == "Features score 3.00 on average, on a scale of 1 to 5."
    assert "higher" not in " ".join(shown.support)
    assert ("Nothing to compare with.") in [lead for lead, _ in shown.against]
    both = screen(tmp_path / "both", {"features": FLAT, "neurons": FLAT, **CONTROLS})
    assert "Nothing to compare with." not in [lead for lead, _ in both.against]


def test_of_ratings_of_a_source_alone_that_differ_none_is_the_answer(tmp_path: Path):
    shown = screen(tmp_path, {"features": FLAT, **CONTROLS}, {"features": HIGH, **CONTROLS})
    assert shown.claim == "Nothing is compared: each rating is reported for itself."
    assert [line.partition(": ")[2] for line in shown.support] == [
        "features score 3.00 on average, on a scale of 1 to 5.",
        "features score 4.33 on average, on a scale of 1 to 5.",  # (5 · 3 + 10 · 4 + 15 · 5) / 30
    ]


def test_wins_ties_and_losses_are_given_apart_and_controls_beside_the_means(tmp_path: Path):
    # Two levels, half of the units on each: a quarter wins, half ties, a quarter losses.
    half = [0, 0, 10, 10, 0]
    shown = screen(tmp_path, {"features": half, "neurons": half, **CONTROLS})
    text = " ".join(shown.support)
    assert "in 25 % of pairs, the same in 50 %, lower in 25 %" in text
    assert "features 3.50 and neurons 3.50" in text
    assert "planted units 5.00 and shuffled units 1.00" in text


def test_the_picture_draws_shares_interval_and_controls(tmp_path: Path):
    half = [0, 0, 10, 10, 0]
    shown = material(tmp_path, {"model:a": {"features": half, "neurons": half, **CONTROLS}})
    judgements = list(shown.judgements)
    p = judgements[0].contrasts[0].superiority
    with house_style("answer"):
        upper, lower = draw(judgements, shown).axes
    widths = [bar.get_width() for bar in upper.patches if hasattr(bar, "get_width")]
    assert [w for w in widths if w != pytest.approx(0.1)] == [0.25, 0.5, 0.25, 1]
    drawn = [list(line.get_xdata()) for line in upper.lines]
    assert [p.low, p.high] in drawn
    assert [p.value] in drawn
    names = [label.get_text() for label in lower.get_yticklabels()]
    assert names == ["features", "neurons", "planted*", "shuffled*"]
    means = [line.get_xdata()[0] for line in lower.lines if len(line.get_xdata()) == 1]
    assert means == pytest.approx([3.5, 3.5, 5, 1])


def test_the_picture_says_of_a_dot_that_it_has_no_interval(tmp_path: Path):
    # 0.51 lies between the equivalence bounds, and nothing is found.
    ceiling = {"features": [0, 0, 0, 0, 50], "neurons": [1, 0, 0, 0, 49], **CONTROLS}
    shown = material(tmp_path, {"model:a": ceiling})
    with house_style("answer"):
        upper, _ = draw(list(shown.judgements), shown).axes
    assert "0.51, no interval" in [text.get_text() for text in upper.texts]


def test_the_legend_of_several_raters_stays_in_the_picture(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW}
    raters = ("human:ann", "human:bob", "lexical", "openai:fake@127.0.0.1:34279")
    shown = material(tmp_path, dict.fromkeys(raters, scores))
    with house_style("answer"):
        figure = draw(list(shown.judgements), shown)
        FigureCanvasAgg(figure).draw()
    legend = figure.axes[1].get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_the_picture_draws_the_untrained_baseline_under_the_pair_that_must_survive_it(
    tmp_path: Path,
):
    arms = {"features": HIGH, "neurons": LOW, "untrained": HIGH, **CONTROLS}
    shown = material(tmp_path, {"model:a": arms})
    (judgement,) = shown.judgements
    assert judgement.baseline is not None
    with house_style("answer"):
        upper, _ = draw([judgement], shown).axes
    texts = [text.get_text() for text in upper.texts]
    named = [text for text in texts if "higher" in text]
    assert [" ".join(text.split()[:2]) for text in named] == [
        "features higher", "neurons higher", "features higher", "untrained higher",
    ]  # fmt: skip
    low, high = judgement.baseline.superiority.low, judgement.baseline.superiority.high
    assert [low, high] in [list(line.get_xdata()) for line in upper.lines]
    first = answer(shown)
    assert first is not None
    assert first.figure is not None
    assert f"probability of superiority 0.50 [{low:.2f}, {high:.2f}]" in first.figure.alt


def test_the_picture_of_several_raters_holds_them_apart_and_combined(tmp_path: Path):
    one = {"features": HIGH, "neurons": LOW, **CONTROLS}
    shown = material(tmp_path, {"model:a": one, "model:b": one})
    with house_style("answer"):
        upper, lower = draw(list(shown.judgements), shown).axes
    texts = [text.get_text() for text in upper.texts]
    assert {"model:a", "model:b", "2 raters combined"} <= set(texts)
    legend = lower.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["model:a", "model:b"]


def test_the_name_of_the_raters_combined_stands_over_their_interval(tmp_path: Path):
    down = {"features": LOW, "neurons": HIGH, **CONTROLS}
    shown = material(tmp_path, {"model:a": down, "model:b": down})
    with house_style("answer"):
        figure = draw(list(shown.judgements), shown)
        laid_out(figure).draw()
        upper, _ = figure.axes
        (name,) = [text for text in upper.texts if text.get_text() == "2 raters combined"]
        drawn = [line.get_window_extent() for line in upper.lines[1:]]
    assert not any(name.get_window_extent().overlaps(extent) for extent in drawn)


def test_a_control_has_its_star_though_the_first_rater_was_not_asked_about_it(tmp_path: Path):
    pair = {"features": HIGH, "neurons": LOW}
    with fabricate_run(tmp_path, {"features": 30, "neurons": 30, "planted": 6}, contexts=0) as run:
        add_all_scores(run, "model:a", pair)
        add_all_scores(run, "model:b", {**pair, "planted": CONTROLS["planted"]})
        shown = Material((compare(run),), (run,))
    with house_style("answer"):
        _, lower = draw(list(shown.judgements), shown).axes
    assert [label.get_text() for label in lower.get_yticklabels()] == [
        "features",
        "neurons",
        "planted*",
    ]


def test_the_picture_says_which_raters_do_not_count(tmp_path: Path):
    up, broken = ({"features": HIGH, "neurons": LOW, **c} for c in (CONTROLS, FAILED))
    long = "model:" + 60 * "x"
    shown = material(tmp_path / "several", {"model:a": up, long: broken})
    with house_style("answer"):
        upper, _ = draw(list(shown.judgements), shown).axes
    texts = [text.get_text() for text in upper.texts]
    (named,) = [text for text in texts if text.endswith(", does not count")]
    assert len(named) == 44
    assert "model:a" in texts
    first = answer(shown)
    assert first is not None
    assert first.figure is not None
    assert f"{long}, does not count: a feature scores" in first.figure.alt
    for name, scores in (("alone", broken), ("counts", up)):
        shown = material(tmp_path / name, {"model:a": scores})
        with house_style("answer"):
            upper, _ = draw(list(shown.judgements), shown).axes
        said = upper.get_xlabel().startswith("scores that are no evidence\n")
        assert said is (name == "alone")


def test_long_names_of_sources_leave_the_means_their_room(tmp_path: Path):
    names = ("gemma-2-2b/12-gemmascope-res-16k", "layer_12/resid_post/trainer_5_width_65536")
    shown = material(tmp_path, {"model:a": {name: [4, 4, 4, 4, 4] for name in names}})
    with house_style("answer"):
        figure = draw(list(shown.judgements), shown)
        laid_out(figure).draw()
        upper, lower = figure.axes
        first, same, second = (text.get_window_extent() for text in upper.texts[:3])
        assert first.x1 < same.x0
        assert same.x1 < second.x0
        below = lower.xaxis.label.get_window_extent()
        assert below.x1 <= figure.bbox.x1
        assert lower.get_window_extent().width > figure.bbox.width / 2


def test_without_a_rating_there_is_no_first_screen(tmp_path: Path):
    shown = material(tmp_path, {"model:a": {"features": [1, 1, 1, 1, 1]}})
    (comparison,) = shown.comparisons
    from dataclasses import replace

    assert answer(Material((replace(comparison, judgements=()),), shown.runs)) is None


NONE: dict[Status, int] = {"refused": 20}


def told(
    folder: Path, scores: Mapping[str, list[int] | dict[Status, int]]
) -> tuple[Answer | None, str]:
    """Return the first screen and the verdict where some sources have no score at all."""
    sizes = {
        source: sum(given.values() if isinstance(given, dict) else given)
        for source, given in scores.items()
    }
    with fabricate_run(folder, sizes, contexts=0) as run:
        missing = {source: given for source, given in scores.items() if isinstance(given, dict)}
        unscored = [0, 0, 0, 0, 0]
        add_all_scores(
            run, "model:a", {**scores, **dict.fromkeys(missing, unscored)}, missing=missing
        )
        shown = Material((compare(run),), (run,))
    (judgement,) = shown.judgements
    said = " ".join(f"{one.lead} {one.text}" for one in verdict(judgement, shown))
    return answer(shown), said


def test_what_has_no_score_is_not_called_unrated_or_alone(tmp_path: Path):
    first, said = told(tmp_path / "all", {"features": NONE, "neurons": NONE})
    assert first is None
    assert "No unit has a score. What became of its ratings: 40 refused." in said
    assert "second source" not in said
    first, said = told(tmp_path / "one", {"features": HIGH, "neurons": NONE, **CONTROLS})
    assert first is not None
    assert first.claim == (
        "Features score 4.33 on average, on a scale of 1 to 5; no score of neurons."
    )
    assert "30 features and 0 neurons have a score; a comparison needs two of each" in said
    assert "second source" not in said + " ".join(text for _, text in first.against)
    first, said = told(
        tmp_path / "single", {"features": [0, 0, 0, 0, 1], "neurons": [1, 0, 0, 0, 0]}
    )
    assert first is not None
    assert "Too few scores to compare." in [lead for lead, _ in first.against]
    assert "1 feature and 1 neuron have a score" in said
    first, said = told(tmp_path / "arm", {"features": HIGH})
    assert "Only features were rated; a second source would show what is high or low." in said
    first, said = told(tmp_path / "controls", CONTROLS)
    assert "Only controls were rated, planted units and shuffled units." in said


def test_many_units_of_one_score_are_not_called_few(tmp_path: Path):
    top = {"features": [0, 0, 0, 0, 30], "neurons": [0, 0, 0, 0, 30], **CONTROLS}
    against = dict(screen(tmp_path / "ceiling", top).against)
    assert "Few units." not in against
    assert against["One score for all."].startswith("model:0 gave all 60 units the same score")
    nearly = screen(tmp_path / "nearly", {**top, "neurons": [0, 0, 0, 1, 29]})
    assert nearly.claim == "Nearly every score of features and neurons is the same."
    assert "Few units." not in dict(nearly.against)
    few = {"features": [0, 0, 0, 0, 2], "neurons": [2, 0, 0, 0, 0], **CONTROLS}
    assert "Few units." in dict(screen(tmp_path / "few", few).against)


def test_a_combined_figure_of_raters_that_contradict_is_said_to_describe_none(tmp_path: Path):
    up, down = {"features": HIGH, "neurons": LOW}, {"features": LOW, "neurons": HIGH}
    for name, second in (("down", down), ("up", up)):
        shown = material(tmp_path / name, {"model:a": up, "model:b": second})
        (pooled,) = shown.comparisons[0].pooled
        contradicted = "They contradict one another, so it describes none of them."
        assert (contradicted in pooled_text(pooled)) == (name == "down")


def test_the_caption_says_whose_means_are_drawn_where_rubrics_differ(tmp_path: Path):
    scores = {"features": FLAT, "neurons": FLAT, **CONTROLS}
    units = {source: sum(counts) for source, counts in scores.items()}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        add_all_scores(run, "model:a", scores)
        add_all_scores(run, "model:b", {"features": [9, 9, 9, 3]}, "interpretability-0-3")
        shown = answer(Material((compare(run),), (run,)))
    assert shown is not None
    assert shown.figure.caption.endswith(
        "Below: mean scores by interpretability-0-3 · model:b alone, with 95 % intervals; a "
        "circle's area is the share of units at a score."
    )
