import json
from collections import Counter
from dataclasses import replace

import pytest
from support.loopback.server import Fault, LoopbackServer
from support.scored import ALL, DESIGN, job, scored
from support.tiny_subject import tiny_run_units

from autointerp.engine.work import RatingPolicy
from autointerp.errors import BadInput, UnknownName
from autointerp.findings.answers import unit_scores
from autointerp.findings.descriptions import scorer_results
from autointerp.pipeline.describe import explain, score
from autointerp.pipeline.rate import collect
from autointerp.questions.explain import explanations
from autointerp.questions.score import ALONE, Design, plan, shared_trials
from autointerp.questions.scorers import scorer, scorer_names
from autointerp.questions.trials import QUERY, Piece, trial_of
from autointerp.raters import RaterOptions
from autointerp.store.run import open_run


@pytest.fixture
def results(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        return unit_scores(run)


@pytest.mark.parametrize("name", ALL)
def test_the_truth_about_planted_units_scores_over_95_and_permuted_falls_to_chance(results, name):
    (result,) = [r for r in scorer_results(results) if r.scorer == name]
    planted = result.sources["planted"]
    assert planted.scored.value > 0.95
    # 4 units of a tiny grammar; `bench/scorers.py` has 60 of real text, and 0.5 ± 0.05.
    assert planted.permuted.value == pytest.approx(0.5, abs=0.13)
    assert planted.permuted.n == (4,)


def test_permuted_descriptions_are_another_units_of_the_same_source(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rows = run.rows(
            "SELECT DISTINCT p.unit_id, p.described, u.source, v.source, p.permuted FROM probe p"
            " JOIN unit u ON u.unit_id = p.unit_id JOIN unit v ON v.unit_id = p.described"
        )
    assert {permuted for *_, permuted in rows} == {True, False}
    for unit, described, source, other, permuted in rows:
        assert source == other
        assert permuted is (unit != described)


def test_a_permuted_description_is_asked_about_the_very_same_contexts(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rows = run.rows(
            "SELECT unit_id, permuted, list_sort(flatten(array_agg(contexts))) FROM probe"
            " WHERE task = 'simulation' GROUP BY unit_id, permuted ORDER BY ALL"
        )
    by_unit = {}
    for unit, _, contexts in rows:
        by_unit.setdefault(unit, []).append(contexts)
    assert all(one == other for one, other in by_unit.values())


@pytest.mark.parametrize("name", ["detection", "fuzzing"])
def test_units_that_share_calls_are_of_one_source_and_each_text_meets_each_description(
    truth_run, name
):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rows = run.rows(f"{QUERY} WHERE task = ?", [name])
        source = dict(run.rows("SELECT unit_id, source FROM unit"))
        contexts = dict(run.rows("SELECT context_id, unit_id FROM context"))
        texts = {one.unit_id: one.text for one in explanations(run, "scripted:truth")}
    trials = [trial_of(row)[1] for row in rows]
    orders = set()
    for trial in trials:
        assert len({source[owner] for owner in trial.owners}) == 1
        assert set(trial.owners) <= {one.unit_id for one in trial.candidates}
        assert [contexts[piece.context] for piece in trial.pieces] == list(trial.owners)
        assert len({one.text for one in trial.candidates}) == len(trial.candidates) >= 2
        assert all(texts[one.unit_id] == one.text for one in trial.candidates)
        orders.add(tuple(one.unit_id for one in trial.candidates))
        truths = [piece.truth for piece in trial.pieces]
        assert truths != sorted(truths)
        assert truths != sorted(truths, reverse=True)
    together = {tuple(sorted(order)) for order in orders}
    assert len(orders) > len(together)  # descriptions stand in another order in other calls
    asked = Counter(p.context for trial in trials for p in trial.pieces)
    assert set(asked.values()) == {1}  # no text twice


def strangers_of(run):
    """Return unit → contexts of others in its control under `intruder`."""
    shown = {}
    for unit, contexts, kinds in run.rows(
        "SELECT unit_id, contexts, kinds FROM probe WHERE task = 'intruder' AND permuted"
    ):
        pairs = zip(contexts, kinds, strict=True)
        shown.setdefault(unit, set()).update(n for n, kind in pairs if kind == "other")
    return shown


def test_no_context_serves_the_controls_of_two_units_and_more_units_leave_them_as_they_are(
    own_runs,
):
    def ask(**more):
        choice = {"sources": ("features",), **more}
        return scored(own_runs, ["intruder"], choice=choice)["intruder"].counts

    ask(n=4)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        first = strangers_of(run)
    ask()
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        every = strangers_of(run)
    assert first.items() <= every.items()
    assert 1 <= len(first) < len(every)
    assert {len(five) for five in every.values()} == {5}
    assert len(set().union(*every.values())) == 5 * len(every)
    assert ask().statuses == {}  # nothing is left to ask


def test_the_control_that_takes_calls_of_its_own_is_of_as_many_units_as_are_wanted(own_runs):
    for wanted in (0, 4):
        choice = {"sources": ("features",)}
        scored(own_runs, ["intruder"], choice=choice, design=Design(10, wanted))
        with open_run("tiny", folder=own_runs, read_only=True) as run:
            assert bool(strangers_of(run)) == bool(wanted)
            assert len(strangers_of(run)) <= wanted


def test_the_others_of_a_call_are_the_control_of_every_unit_of_it(results):
    mine = [one for one in results if one.scorer == "detection"]
    own = {one.unit_id: one for one in mine if not one.permuted and one.score is not None}
    control = {one.unit_id: one for one in mine if one.permuted}
    assert set(own) == set(control)
    for unit, one in own.items():
        assert one.more["with others"] == pytest.approx(control[unit].score)
        assert control[unit].questions % one.questions == 0
    calls = sum(sum(one.statuses.values()) for one in mine)
    # 20 texts of each of 4 units, 52 a call; each is counted once, not with every unit of it.
    assert calls == 2


def test_a_unit_that_nothing_else_was_described_beside_has_an_outcome_of_its_own(own_runs):
    explain(job(own_runs, sources=("planted",), n=1))
    (result,) = scored(own_runs, ["detection"], choice={"sources": ("planted",), "n": 1}).values()
    assert (result.units, dict(result.without)) == (0, {ALONE: 1})
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert unit_scores(run) == []


def test_a_description_that_changed_is_tried_again_and_the_units_beside_it(own_runs):
    planted = {"sources": ("planted",)}
    explain(job(own_runs, **planted))
    scored(own_runs, ["detection"], choice=planted)
    with open_run("tiny", folder=own_runs) as run:
        known = explanations(run, "scripted:truth", ("planted",))
        before = plan(run, "detection", known, DESIGN).trials
        changed = [replace(known[0], text="something else"), *known[1:]]
        by_unit = {one.unit_id: one for one in changed}
        pieces = {
            unit: (Piece(number, 0, 2, None, True, "firing"),)
            for number, unit in enumerate(by_unit)
        }
        module = scorer("detection")
        again = shared_trials(run, module, str(DESIGN), pieces, by_unit)
        kept = shared_trials(run, module, str(DESIGN), pieces, {o.unit_id: o for o in known})
    assert {t.item_id(0) for t in kept} == {t.item_id(0) for t in before}
    assert not {t.item_id(0) for t in again} & {t.item_id(0) for t in before}
    assert {owner for t in again for owner in t.owners} == set(by_unit)


def test_all_that_is_asked_is_held_out_and_no_document_served_both(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        splits = run.rows(
            "SELECT p.task = 'explain', c.split, count(*) FROM"
            " (SELECT task, unnest(contexts) AS context_id FROM probe) p"
            " JOIN context c USING (context_id) GROUP BY 1, 2"
        )
        shared = run.rows(
            "SELECT count(*) FROM (SELECT document FROM context WHERE split = 'explain'"
            " INTERSECT SELECT document FROM context WHERE split = 'score')"
        )
    assert sorted((explain, split) for explain, split, _ in splits) == [
        (False, "score"),
        (True, "explain"),
    ]
    assert shared == [(0,)]


def test_scoring_twice_asks_nothing_the_second_time(truth_run, tmp_path):
    import shutil

    runs = shutil.copytree(truth_run, tmp_path / "runs")
    counts = scored(runs)
    assert all(not one.counts.statuses for one in counts.values())
    assert all(one.counts.before for one in counts.values())


def test_a_run_without_descriptions_is_explained_first_by_the_same_rater(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        assert run.rows("SELECT DISTINCT explainer FROM explanation") == [("scripted:truth",)]


@pytest.mark.parametrize("name", ["detection", "simulation"])
def test_partners_stay_when_units_are_added(own_runs, name):
    explain(job(own_runs, sources=("planted",), n=2))
    scored(own_runs, [name], choice={"sources": ("planted",), "n": 2})

    def partners():
        with open_run("tiny", folder=own_runs, read_only=True) as run:
            rows = run.rows(f"{QUERY} WHERE task = ? AND (permuted OR owners IS NOT NULL)", [name])
        partners = {}
        for _, trial in map(trial_of, rows):
            others = (trial.described, *trial.candidates)
            for owner in set(trial.owners) or {trial.unit_id}:
                beside = {one.unit_id for one in others if one} - {owner}
                assert partners.setdefault(owner, beside) == beside
        return partners

    before = partners()
    explain(job(own_runs, sources=("planted",)))
    scored(own_runs, [name], choice={"explainer": "scripted:truth"})
    after = partners()
    assert len(before) == 2
    assert len(after) == 4
    assert {unit: after[unit] for unit in before} == before


def test_a_scorer_that_is_not_there_lists_those_that_are(own_runs):
    with pytest.raises(UnknownName, match=f"known: {', '.join(scorer_names())}"):
        scored(own_runs, ["detecting"])


@pytest.mark.parametrize(("function", "value"), [("choose", None), ("measure", 0.5)])
def test_a_scorer_that_returns_something_else_is_named(truth_run, monkeypatch, function, value):
    monkeypatch.setattr(scorer("detection"), function, lambda *arguments: value)
    named = rf"scorer 'detection': {function}\(\) returned .*; it must return"
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        explained = explanations(run, "scripted:truth")
        asks = {"choose": lambda: plan(run, "detection", explained, DESIGN),
                "measure": lambda: unit_scores(run)}  # fmt: skip
        with pytest.raises(BadInput, match=named):
            asks[function]()


def test_a_plan_of_the_same_run_is_the_same(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        known = explanations(run, "scripted:truth")
        assert (
            plan(run, "fuzzing", known, DESIGN).trials == plan(run, "fuzzing", known, DESIGN).trials
        )


def test_a_dry_run_says_what_1000_units_cost_and_stores_nothing(command_line, truth_run, tmp_path):
    import shutil

    shutil.copytree(truth_run, tmp_path / "runs")
    result = command_line(
        "score", "tiny", "--rater", "openai:gpt-x", "--price-in", 1, "--price-out", 4,
        "--explainer", "scripted:truth", "--contexts", 10, "--dry-run",
    )  # fmt: skip
    assert result.code == 0
    assert result.err.count("per 1,000 units about") == 3
    assert "$" in result.err
    assert "asked before" not in result.err
    unknown = command_line("score", "tiny", "--rater", "openai:gpt-x", "--dry-run")
    assert "price unknown (--price-in, --price-out)" in unknown.err
    again = ("score", "tiny", "--rater", "scripted:truth", "--contexts", 10, "--dry-run")
    result = command_line(*again, "--permuted", 8)  # as the run was scored
    assert result.err.count("of them were asked before") == 3
    with open_run("tiny", folder=tmp_path / "runs", read_only=True) as run:
        assert run.rows("SELECT count(*) FROM call WHERE rater LIKE 'openai%'") == [(0,)]


def test_explain_score_and_rate_on_the_command_line(command_line, own_runs, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    result = command_line("explain", "tiny")
    assert (result.code, "next: autointerp score tiny" in result.err) == (0, True)
    prices = ("--price-in", 1, "--price-out", 1, "--budget-usd", 0)
    result = command_line("explain", "tiny", "--rater", "openai:x", *prices)
    calls = sum(tiny_run_units().values())
    assert f"openai:x: {calls} calls" in result.err  # and no picture in place of `:x:`
    assert "could exceed the budget of $0.00" in " ".join(result.err.split())
    result = command_line("score", "tiny", "--scorer", "detection", "--contexts", 5)
    assert (result.code, "detection:" in result.err) == (0, True)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        (found,) = scorer_results(unit_scores(run))
    for name, figures in found.sources.items():
        assert f"detection, {name}: {figures.scored.value:.2f}" in result.err
    assert "next: autointerp report tiny" in result.err
    result = command_line("rate", "--run", "tiny", "--rubric", "specificity-0-3", "--contexts", 6)
    assert result.code == 0
    assert "lexical on specificity-0-3" in result.err
    missing = command_line("explain", "nothing")
    assert (missing.code, "Traceback" in missing.err) == (2, False)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("batch", [False, True])
def test_language_models_explain_and_score_at_once_or_by_batch(own_runs, provider, batch):
    with LoopbackServer() as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        options = RaterOptions(base_url=url, structured="json_schema")
        asked = {"options": options, "batch": batch, "sources": ("planted",)}
        mine = job(own_runs, f"{provider}:m", scorers=ALL, design=Design(6, 0), **asked)

        def collected():
            if batch:
                collect("tiny", own_runs)

        explain(mine)
        collected()
        # All its descriptions are the same, and none can be told from another: those of the truth.
        explain(job(own_runs, sources=("planted",)))
        score(replace(mine, explainer="scripted:truth"))
        collected()
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        (rater,) = {row[0] for row in run.rows("SELECT explainer FROM explanation")} - {
            "scripted:truth"
        }
        assert {one.text for one in explanations(run, rater)} == {"as told"}
        scores = [one for one in unit_scores(run) if not one.permuted]
        replies = run.rows("SELECT reply, details FROM call WHERE reply LIKE '%activation%'")
    # Of the digit 1 at 0.7 and 2 at 0.2, the rest a word: (0.7·1 + 0.2·2) / 0.9 = 1.222. Only
    # this provider gives log probabilities.
    expected = {
        tuple(json.loads(details).get("expected_activations", ())) for _, details in replies
    }
    lists = {(1.222,) * reply.count('"activation"') for reply, _ in replies}
    assert expected == (lists if provider == "openai" else {()})
    for name in ALL:
        planted = [one for one in scores if one.scorer == name and one.source == "planted"]
        assert len(planted) == 4
        assert all(one.outcome == "ok" and one.answered == one.questions for one in planted)


def test_fewer_units_are_asked_nothing_new_of_what_was_asked_of_all(own_runs):
    explain(job(own_runs, sources=("planted",)))
    planted = {"sources": ("planted",)}
    scored(own_runs, ("detection",), choice=planted)
    fewer = scored(own_runs, ("detection",), choice={"sources": ("planted",), "n": 2})
    # The two keep the partners that they had among all four.
    assert not fewer["detection"].counts.statuses
    assert fewer["detection"].counts.before > 0


def test_why_most_answers_of_a_scorer_are_none_is_said(own_runs):
    explain(job(own_runs, sources=("planted",)))
    said = []
    with LoopbackServer() as server:
        server.faults.extend([None, Fault(status=400)])
        mine = job(
            own_runs,
            "openai:m",
            options=RaterOptions(base_url=server.openai_url),
            policy=RatingPolicy(concurrency=1),
            scorers=("intruder",),
            design=Design(10, 0),
        )
        statuses = score(mine, lambda event: said.append(str(event)))["intruder"].counts.statuses
    assert statuses["failed"] == 1
    assert any(line.startswith("note: most failed with: 400") for line in said)


def test_a_budget_stops_scoring_before_it_is_passed_and_says_so(own_runs):
    explain(job(own_runs, sources=("planted",)))
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, price_in=1000.0, price_out=1000.0)
        policy = RatingPolicy(budget_usd=3.0, concurrency=1)
        mine = job(
            own_runs,
            "openai:m",
            options=options,
            policy=policy,
            scorers=ALL,
            explainer="scripted:truth",
            design=Design(10, 0),
        )
        results = score(mine)
    assert results["detection"].counts.stopped == "budget"
    assert "could exceed the budget of $3.00; give a larger" in str(results["detection"])
    assert list(results) == ["detection"]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.spent_usd() <= 3.0
        mine = [one for one in unit_scores(run) if one.rater.startswith("openai")]
        assert sum(one.statuses.get("pending", 0) for one in mine) > 0 or not mine


def test_scores_and_ratings_of_contexts_are_exported_a_row_each(command_line, truth_run, tmp_path):
    import csv
    import shutil

    shutil.copytree(truth_run, tmp_path / "runs")
    with open_run("tiny", folder=tmp_path / "runs") as run:
        expected = unit_scores(run)
        unit = dict(run.rows("SELECT unit_id, source || '/' || idx FROM unit"))
        imported = expected[0].unit_id  # with a name of its own
        run.execute("UPDATE unit SET note = 'called ''mean''' WHERE unit_id = ?", [imported])
    result = command_line("export", "tiny", "--to", "csv", "--what", "scores", "-o", "s.csv")
    assert result.code == 0, result.err
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted((f"{r['source']}/{r['index']}", r["scorer"], r["permuted"]) for r in rows) == (
        sorted((unit[one.unit_id], one.scorer, str(one.permuted).lower()) for one in expected)
    )
    assert {row["run"] for row in rows} == {"tiny"}
    unit[imported] = f"{expected[0].source}/mean"
    assert Counter(row["unit"] for row in rows) == Counter(unit[one.unit_id] for one in expected)
    by_score = sorted(float(row["score"]) for row in rows if row["score"])
    assert by_score == pytest.approx(sorted(one.score for one in expected if one.score is not None))
    empty = command_line(
        "export", "tiny", "--to", "jsonl", "--what", "specificity", "-o", "c.jsonl"
    )
    assert (empty.code, "0 rows" in empty.err) == (0, True)
    wrong = command_line("export", "tiny", "--to", "contexts", "--what", "scores", "-o", "x")
    assert (wrong.code, "--what scores is a table" in wrong.err) == (2, True)
