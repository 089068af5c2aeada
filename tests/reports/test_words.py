from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.findings.groups import Contrast
from autointerp.findings.subject import SubjectFacts
from autointerp.reports.words import (
    check_command,
    finding,
    number,
    percents,
    refusal,
    rubric_name,
    share,
    subject_text,
    wins_ties_losses,
)
from autointerp.stats.means import mean_difference, missing_bounds_superiority
from autointerp.stats.superiority import (
    brunner_munzel,
    cliffs_delta,
    mann_whitney,
    pairs,
    superiority,
    superiority_test,
)
from autointerp.subjects.sites import basis_of


def contrast(first: list[int], second: list[int], holm_p: float | None = None) -> Contrast:
    p = superiority(first, second)
    test = superiority_test(first, second, np.random.default_rng(0))
    return Contrast(
        first="features",
        second="neurons",
        primary=True,
        superiority=p,
        pairs=pairs(first, second),
        delta=cliffs_delta(p),
        difference=mean_difference(first, second),
        test=test,
        brunner_munzel=brunner_munzel(first, second),
        mann_whitney=mann_whitney(first, second),
        bounds=missing_bounds_superiority(first, second, (0, 0), 1, 5),
        adjusted=None,
        density_gap=None,
        several_tokens=None,
        holm_p=test.p_value if holm_p is None else holm_p,
    )


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "0.00"), (-0.006, "−0.01"), (0.0, "0.00"), (None, "–")]
)
def test_a_minus_sign_stands_before_no_zero(value: float | None, text: str):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.333, "33 %"), (0.0996, "10 %"), (0.0994, "9.9 %"), (0.01, "1.0 %"),
        (0.00996, "1.0 %"), (0.00994, "1 in 100"), (0.000233, "1 in 4,300"),
        (4.97e-7, "1 in 2,000,000"), (0.0, "never"), (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_a_share_of_tokens_is_written_so_that_it_can_be_imagined(value: float | None, text: str):
    assert share(value) == text


def test_an_interval_over_most_of_the_scale_is_called_too_few_units():
    # Two against two: even complete separation leaves an interval of 0 to 0.8 or so.
    text = finding(contrast([1, 2], [3, 4]))
    assert text.startswith("Too few units to tell features from neurons, 2 and 2: probability of")
    assert "0.00 [0.00, " in text


def test_a_narrow_interval_about_a_half_is_not_resolved_or_alike_by_the_bounds():
    few, many = contrast([1, 2, 3] * 20, [1, 2, 3] * 20), contrast([1, 2, 3] * 400, [1, 2, 3] * 400)
    assert finding(few).startswith("Whether features or neurons score higher is not resolved")
    assert finding(many).startswith("Features and neurons score alike")


def test_a_difference_is_called_one_by_the_adjusted_p_and_not_by_the_interval_alone():
    high, low = [3, 4, 5] * 20, [1, 2, 3] * 20
    assert finding(contrast(high, low)).startswith("Features score higher than neurons")
    assert finding(contrast(low, high)).startswith("Features score lower than neurons")
    assert "not resolved" in finding(contrast(high, low, holm_p=0.085))


def test_ties_are_never_counted_among_the_wins():
    # 2 against 1, 2: half of the pairs are wins, half ties; P is 0.75.
    halves = contrast([2, 2], [1, 2])
    assert "in 50 % of pairs, the same in 50 %, lower in 0 %" in wins_ties_losses(halves)
    assert "75 %" not in finding(halves)
    assert "probability of superiority 0.75" in finding(halves)


def test_two_texts_of_one_rubrics_id_are_told_apart():
    among: list[Any] = [
        SimpleNamespace(rubric=rubric, rubric_digest=64 * letter)
        for rubric, letter in (("mine", "a"), ("mine", "b"), ("other", "c"), ("mine", "a"))
    ]
    names = [rubric_name(one, among) for one in among]
    assert names == ["mine (aaaaaaaa…)", "mine (bbbbbbbb…)", "other", "mine (aaaaaaaa…)"]


@pytest.mark.parametrize(
    ("rater", "asked"),
    [
        ("openai:a/m", "openai:a/m"),
        ("local:m", "local:PATH/m.gguf"),
        ("openai:m@h:8000", "openai:m@http://h:8000/PATH"),
        ("openai:m@h/gate/v1", "openai:m@http://h/gate/v1"),
        ("openai:m@h:8000+choice", "openai:m@http://h:8000/PATH --structured choice"),
        ("openai:m+choice", "openai:m --structured choice"),
        ("openai:@cf/x/m@h", "openai:@cf/x/m@http://h/PATH"),
        ("openai:m@2025@h/gate/v1", "openai:m@2025@http://h/gate/v1"),
        (
            "panel:lexical,optional:openai:m@h,likelihood:m",
            "panel:lexical,optional:openai:m@http://h/PATH,likelihood:PATH/m.gguf",
        ),
    ],
)
def test_the_command_that_checks_a_rater_names_it_as_commands_do(rater: str, asked: str):
    judgement: Any = SimpleNamespace(rater=rater, rubric="interpretability-1-5")
    command = f"`autointerp check-rater {asked} --rubric interpretability-1-5`"
    assert check_command(judgement) == command


def test_equal_scores_are_said_to_be_equal():
    alike = contrast([3, 3], [3, 3])
    assert finding(alike) == "Features and neurons: every score is the same"
    named = replace(alike, first="my-SAE", second="topK")
    assert finding(named) == "My-SAE and topK: every score is the same"


def test_a_refusal_names_the_sources():
    adjusted = SimpleNamespace(refused="3 of 9 units of the second group have no counterpart")
    text = refusal(contrast([1, 2], [1, 2]), adjusted)  # type: ignore[arg-type]
    assert text == "3 of 9 neurons have no counterpart"


def test_the_subject_is_named_as_far_as_it_is_known_and_no_further():
    facts = SubjectFacts(
        model="org/m", site="layers.3.mlp", basis=basis_of("layers.3.mlp"), sae="org/sae",
        latents=4096, active=31.6, drawn=218, dead_share=0.03, corpus="c.jsonl", tokens=1_000_000,
    )  # fmt: skip
    text = subject_text(facts)
    assert "site layers.3.mlp (axes of the MLP's output)" in text
    assert "4,096 latents, about 32 active a token, 3 % of 218 drawn at random dead" in text
    assert "1,000,000 tokens" in text
    assert subject_text(SubjectFacts()) == ""
    assert subject_text(SubjectFacts(model="org/m")) == "org/m"


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=7).filter(any))
def test_shares_of_a_whole_add_up_to_100_percent_and_each_is_less_than_one_off(counts):
    exact = [n / sum(counts) for n in counts]
    rounded = [int(text.removesuffix(" %")) for text in percents(exact)]
    assert sum(rounded) == 100
    assert all(abs(r - 100 * e) < 1 + 1e-6 for r, e in zip(rounded, exact, strict=True))
    assert all(r == 0 for r, n in zip(rounded, counts, strict=True) if n == 0)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        # Each rounded by itself: 72, 22 and 7 are 101; 44, 30 and 25 are 99.
        ([0.717, 0.217, 0.066], ["72 %", "22 %", "6 %"]),
        ([0.443, 0.303, 0.254], ["44 %", "30 %", "26 %"]),
        ([0.29, 0.71, 0.0], ["29 %", "71 %", "0 %"]),  # 100 * 0.29 is below 29 as a float
        ([0.5, None, 0.1], ["–", "–", "–"]),
        ([0.0, 0.0], ["0 %", "0 %"]),  # of nothing
        ([], []),
    ],
)
def test_the_largest_remainders_are_rounded_up(shares, expected):
    assert percents(shares) == expected
