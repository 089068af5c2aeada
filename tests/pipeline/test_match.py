import json
import re
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest
from support.two_dictionaries import LOST, NEW, SPLIT, larger_dictionary

from autointerp import Job, harvest
from autointerp.errors import BadInput
from autointerp.findings.comparison import compare
from autointerp.findings.looks import looks_of
from autointerp.findings.match import median
from autointerp.findings.matched import matches_of
from autointerp.findings.plan import Plan, Stopping
from autointerp.pipeline.events import Harvesting, Note, Step
from autointerp.pipeline.match import as_text, match
from autointerp.pipeline.report import report
from autointerp.stats.agreement import spearman
from autointerp.store.run import open_run
from autointerp.units import reopen
from autointerp.units.subject_record import RECORD


@pytest.fixture(scope="module")
def two(tiny_run, tiny_subject, tmp_path_factory):
    """The folder of runs `tiny` and `large`, what each feature of `large` was made from, the
    result of matching them, its page and the events."""
    folder = tmp_path_factory.mktemp("two")
    runs = shutil.copytree(tiny_run, folder / "runs")
    settings, made_from = larger_dictionary(tiny_subject, folder / "subject")
    harvest(Job(sources=("features",), n=12, run="large", subject=str(settings), controls=0,
                runs=runs))  # fmt: skip
    events = []
    made = match("tiny", "large", folder / "page", runs=runs, on=events.append)
    return runs, np.array(made_from), made, events


def test_copies_are_found_whatever_their_order(two):
    _, made_from, made, _ = two
    large = made.match.second
    old = made_from >= 0
    assert large.nearest[old].tolist() == made_from[old].tolist()
    # A unit vector and one of length 0.05 at a right angle: 1/sqrt(1.0025) = 0.99875; at most 0.05
    # off in any direction, so that the sine is at most 0.05 and the cosine at least 0.99874.
    assert large.cosine[old].min() > 0.998
    assert (large.cosine[~old] < 0.9).all()


def test_dictionaries_are_matched_without_their_models_while_their_files_are_the_same(
    two, tmp_path, monkeypatch
):
    runs, _, made, _ = two
    own = shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.setattr(reopen, "load_subject", None)
    again = match("tiny", "large", runs=own, page=False).match
    assert again.second.cosine.tolist() == made.match.second.cosine.tolist()
    with open_run("large", folder=own) as run:
        run.remember(RECORD, "lost")
    with pytest.raises(TypeError):  # it is not known to be the same
        match("tiny", "large", runs=own, page=False)


def test_one_to_one_gives_no_feature_twice_and_the_third_copy_none_of_its_kind(two):
    _, made_from, made, _ = two
    first, second = made.match.first, made.match.second
    assert made.match.is_exact
    assert len(set(first.partner.tolist())) == first.size == 64
    same = made_from[first.partner] == first.number
    assert sorted(np.flatnonzero(~same)) == [LOST]
    assert (second.partner < 0).sum() == second.size - first.size
    copies = np.flatnonzero(made_from == SPLIT)
    assert (second.partner[copies] == SPLIT).sum() == 1
    for number, partner, cosine in zip(
        first.number, first.partner, first.partner_cosine, strict=True
    ):
        assert second.partner[partner] == number
        assert second.partner_cosine[partner] == cosine


@pytest.fixture(scope="module")
def at_98(two):
    """The two dictionaries matched at 0.98, from either side; no page."""
    names = ("tiny", "large")
    return tuple(
        match(*order, related=0.98, page=False, runs=two[0]).match for order in (names, names[::-1])
    )


def test_the_split_feature_is_the_family_and_the_new_ones_are_unrelated(two, at_98):
    made_from = two[1]
    found, turned = at_98
    (family,) = found.families
    assert family.parent == SPLIT
    assert {child for child, _ in family.children} == set(np.flatnonzero(made_from == SPLIT))
    assert [cosine for _, cosine in family.children] == sorted(
        (cosine for _, cosine in family.children), reverse=True
    )
    dead = set(found.second.number[found.second.dead].tolist())
    assert set(found.unrelated) == set(np.flatnonzero(made_from < 0).tolist()) - dead
    assert found.small is found.first
    # From the larger run's side it is the same tree.
    assert turned.families == found.families
    assert turned.unrelated == found.unrelated


def test_dead_features_are_those_of_fewer_than_ten_tokens_and_stand_apart(two):
    _, _, made, _ = two
    side = made.match.first
    with duckdb.connect(str(two[0] / "tiny" / "run.duckdb"), read_only=True) as connection:
        fires = dict(
            connection.execute(
                "SELECT idx, round(density * tokens) FROM unit WHERE source = 'features'"
            ).fetchall()
        )
    assert {n for n, tokens in fires.items() if tokens < 10} == set(side.number[side.dead])
    assert np.isnan(side.fires).sum() == 64 - len(fires)
    told = made.match.as_json()["first"]
    assert told["dead"] + sum(told["histogram"]["largest"]) == 64
    assert sum(told["histogram"]["dead"]) == told["dead"] > 0


def test_scores_stand_against_similarity_with_an_interval_or_why_there_is_none(two):
    _, _, made, _ = two
    (score,) = made.match.first.scores
    # scripted:4 gives every unit a 4: nothing to correlate, and every comparison is a tie.
    assert (score.rater, score.n) == ("scripted:4", 8)
    assert score.rho.value is None
    assert "constant" in score.rho.note
    assert score.higher.value == 0.5


def test_chance_is_what_random_directions_reach(two):
    # Of 32 axes the cosine with one of 64 vectors is about 2.4 standard deviations of
    # 1/sqrt(32) = 0.18 in the middle: between 0.3 and 0.6.
    side = two[2].match.first
    assert 0.3 < side.chance_at(0.5) < 0.6 < side.chance_at(0.99) + 0.1


def test_both_runs_hold_the_table(two):
    runs, _, made, _ = two
    for name, side, other in (
        ("tiny", made.match.first, made.match.second),
        ("large", made.match.second, made.match.first),
    ):
        with duckdb.connect(str(runs / name / "run.duckdb"), read_only=True) as connection:
            rows = connection.execute(
                "SELECT idx, cosine, nearest, partner, other_sae FROM match WHERE other = ?"
                " ORDER BY idx",
                [other.run],
            ).fetchall()
        assert [row[0] for row in rows] == side.number.tolist()
        assert [row[1] for row in rows] == pytest.approx(side.cosine)
        assert [row[2] for row in rows] == side.nearest.tolist()
        assert [-1 if row[3] is None else row[3] for row in rows] == side.partner.tolist()
        assert {row[4] for row in rows} == {other.sae}


def test_both_reports_show_it_and_their_json_has_it(two, tmp_path):
    runs, _, made, _ = two
    for name, side, other in (
        ("tiny", made.match.first, made.match.second),
        ("large", made.match.second, made.match.first),
    ):
        with open_run(name, folder=runs, read_only=True) as run:
            (held,) = matches_of(run)
        assert (held.other, held.other_sae, held.features) == (other.run, other.sae, side.size)
        assert held.share_related == side.share_related(made.match.related)
        assert held.median == median(side.cosine[side.counted])
        assert held.chance_99 == side.chance_at(0.99)
        assert held.dead == side.dead.sum()
        for stored, said in zip(held.scores, side.scores, strict=True):
            assert (stored.higher, stored.rho) == (said.higher, said.rho)
            assert (stored.rater, stored.n, stored.look) == (said.rater, said.n, 1)
    with open_run("tiny", folder=runs, read_only=True) as run:
        (held,) = matches_of(run)
        fields = compare(run).as_json()["matches"]
    # The only family of the two is that of the split feature, which is of the smaller one.
    assert held.splits == len(made.match.families) == 1
    json.dumps(fields, allow_nan=False)
    assert fields[0]["scores"][0]["higher"]["value"] == 0.5
    report("tiny", tmp_path / "page", folder=runs)
    assert "Other dictionaries" in (tmp_path / "page" / "index.html").read_text()
    table = pd.read_csv(tmp_path / "page" / "tables" / "matched.csv")
    assert table.median_one_to_one.tolist() == [held.median_one_to_one]
    assert (tmp_path / "page" / "tables" / "matched_scores.csv").exists()


def test_matching_again_replaces_the_rows(two, at_98):
    with duckdb.connect(str(two[0] / "tiny" / "run.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM match").fetchall() == [(64,)]


def test_scores_against_similarity_are_one_look_in_the_ledger_however_often_one_matches(two, at_98):
    with open_run("tiny", folder=two[0], read_only=True) as run:
        looks = [look for look in looks_of(run) if look.verb == "match"]
    (look,) = looks
    assert (look.first, look.second) == (
        "features nearer to 'large'", "features farther from 'large'",
    )  # fmt: skip
    # 8 rated features, their median between the 4th and the 5th.
    assert (look.number, look.n, look.asked, look.value) == (1, (4, 4), (4, 4), 0.5)
    assert not look.is_across
    readings = [found.first.scores[0].reading for found in (two[2].match, at_98[0])]
    assert [reading.number for reading in readings] == [1, 1]


def test_other_ratings_are_another_look_read_by_the_confidence_sequence(two, tmp_path):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    with open_run("tiny", folder=runs) as run:
        # As if another rater of that name had rated: 1 to 5, so that there is something to rank.
        run.execute("UPDATE rating SET score = 1 + ascii(item_id) % 5 WHERE rater = 'scripted:4'")
    score = match("tiny", "large", page=False, runs=runs).match.first.scores[0]
    assert score.reading.number == 2
    assert "confidence sequence" in score.higher.method
    ordinary = spearman(*ranked(runs), 0.95)
    assert score.rho.value == pytest.approx(ordinary.value)
    if ordinary.low is not None:
        assert score.rho.low < ordinary.low
    else:
        assert score.rho.low is None


def test_intervals_have_the_level_of_the_run_s_plan(two, tmp_path):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    with open_run("tiny", folder=runs) as run:
        plan = Plan(
            ("scripted:4",), "r", "d", "features", "neurons", Stopping("fixed", 8), alpha=0.01,
            made_at="2026-01-01T00:00:00",
        )  # fmt: skip
        run.add_plan(plan.digest, plan.made_at, plan.content())
    found = match("tiny", "large", page=False, runs=runs).match
    assert {score.rho.level for score in found.first.scores} == {0.99}
    assert {score.rho.level for score in found.second.scores} <= {0.95}


def ranked(runs):
    """Similarity, to six digits, and score of the rated features of `tiny`."""
    with open_run("tiny", folder=runs, read_only=True) as run:
        rows = run.rows(
            "SELECT round(cosine::DOUBLE, 6), score FROM unit_rating r"
            " JOIN match m ON m.idx = r.idx"
            " WHERE r.source = 'features' AND m.other = 'large' ORDER BY r.idx"
        )
    return zip(*rows, strict=True)


def test_counting_says_of_every_feature_whether_it_is_dead(two, tmp_path):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    events = []
    found = match("tiny", "large", page=False, runs=runs, count_all=True, on=events.append).match
    with open_run("tiny", folder=runs, read_only=True) as run:
        harvested = {
            idx: round(density * tokens)
            for idx, density, tokens in run.rows(
                "SELECT idx, density, tokens FROM unit WHERE source = 'features'"
            )
        }
        counted = dict(run.rows("SELECT idx, fires FROM firing"))
    # The same tokens, so the same counts; and of the others, which were not known.
    assert {idx: counted[idx] for idx in harvested} == harvested
    assert set(counted) == set(range(64)) > set(harvested)
    assert not np.isnan(found.first.fires).any()
    assert set(found.first.number[found.first.dead]) == {
        idx for idx, fires in counted.items() if fires < 10
    }
    assert not any("not known" in note for note in found.notes)
    assert any(isinstance(event, Harvesting) for event in events)
    events.clear()
    match("tiny", "large", page=False, runs=runs, count_all=True, on=events.append)
    assert not any(isinstance(event, Harvesting) for event in events)


def test_the_page_holds_histogram_tree_and_tables(two):
    _, _, made, events = two
    folder = made.page.parent
    page = re.sub("</?span[^>]*>", "", made.page.read_text())
    assert '<ul class="tree">' in page
    assert f"tiny features/{SPLIT}" in page
    assert {path.name for path in (folder / "tables").glob("*.csv")} >= {
        "dictionaries.csv", "features_first.csv", "features_second.csv", "families.csv",
        "scores_by_similarity.csv", "unrelated.csv",
    }  # fmt: skip
    assert (folder / "figures" / "cosines.svg").exists()
    assert "median cosine" in (folder / "summary.md").read_text()
    assert Step("matching 64 with 67 dictionary vectors") in events
    assert any(isinstance(event, Note) and "which of the others are dead" in event.text
               for event in events)  # fmt: skip


def test_the_findings_are_json_and_lines(two):
    made = two[2]
    told = json.loads(json.dumps(made.match.as_json(), allow_nan=False))
    assert told["smaller"] == "tiny"
    assert told["families"][0]["feature"] == SPLIT
    assert len(told["first"]["histogram"]["edges"]) == 41
    text = as_text(made.match)
    assert "'tiny' in 'large': 64 features" in text
    assert f"{64 + 2 - 1 + NEW} features" in text


def test_one_run_twice_is_refused(two):
    with pytest.raises(BadInput, match="given twice"):
        match("tiny", "tiny", runs=two[0])


@pytest.mark.parametrize("related", [0, 1, -0.5, 7, float("nan")])
def test_a_cosine_that_makes_no_sense_is_refused_before_anything_is_read(two, related):
    with pytest.raises(BadInput, match="between 0 and 1"):
        match("tiny", "large", related=related, runs=two[0])


def test_a_folder_of_other_things_is_refused_before_anything_is_read(two, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="other things"):
        match("tiny", "large", tmp_path, runs=two[0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('model = "', 'model = "0', "different models"),
        ('site = "layers.0', 'site = "layers.1', "one site"),
    ],
)
def test_runs_of_other_models_or_sites_are_refused(two, tmp_path, old, new, said):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    about = runs / "large" / "run.toml"
    text = about.read_text()
    begin = text.index(old, text.index("[digests]") if "model" in old else 0)
    about.write_text(text[:begin] + new + text[begin + len(old) :])
    with pytest.raises(BadInput, match=said):
        match("tiny", "large", page=False, runs=runs)


def test_the_same_sae_in_both_runs_is_said(two, tmp_path):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    shutil.copytree(runs / "tiny", runs / "again")
    events = []
    found = match("tiny", "again", page=False, runs=runs, on=events.append).match
    assert any("same SAE" in str(event) for event in events)
    assert found.first.share_related(0.99) == 1
    assert found.first.nearest.tolist() == list(range(64))
    # All features are equally similar: nothing is compared, and no look at the ratings is taken.
    (score,) = found.first.scores
    assert (score.higher.value, score.rho.value, score.reading) == (None, None, None)
    assert "equally similar" in score.higher.note
    with open_run("again", folder=runs, read_only=True) as run:
        assert not any("'tiny'" in look.first for look in looks_of(run))


def test_a_run_without_an_sae_is_refused(two, tiny_subject, tmp_path):
    runs = shutil.copytree(two[0], tmp_path / "runs")
    settings = (tiny_subject / "autointerp.toml").read_text().replace('sae = "sae.safetensors"', "")
    for part in ("transformer.safetensors", "tokenizer.json", "corpus.npz"):
        settings = settings.replace(f'"{part}"', f'"{tiny_subject / part}"')
    (tmp_path / "bare.toml").write_text(settings)
    harvest(Job(sources=("neurons",), n=2, run="bare", subject=str(tmp_path / "bare.toml"),
                controls=0, runs=runs))  # fmt: skip
    with pytest.raises(BadInput, match="'bare' has no SAE"):
        match("tiny", "bare", page=False, runs=runs)
