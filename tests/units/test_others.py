import numpy as np
import pytest
from support.fabricate import make_older

from autointerp.findings.answers import unit_scores
from autointerp.pipeline.describe import score
from autointerp.pipeline.events import Note
from autointerp.pipeline.job import Job
from autointerp.questions.score import Design
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.held import EACH, FEWER, FIRST_UNITS, PER_SOURCE, Place, unverified
from autointerp.units.others import Firing, store_silence
from autointerp.units.reopen import numbers_again, sources_again
from autointerp.units.sample import draw_units
from autointerp.units.stream import quiet_torch, site_batches


def everywhere(run, subject):
    """Return (document, position) → unit → whether it fires there, of the whole corpus."""
    units = [u for (u,) in run.rows("SELECT unit_id FROM unit WHERE outcome = 'eligible'")]
    settings = run.settings
    blocks = [
        (of_source, source.block(numbers_again(run, name, source, of_source)))
        for name, source, of_source in sources_again(run, subject, units)
    ]
    fires = {}
    with quiet_torch():
        for batch, windows, position in site_batches(subject, settings.harvest, settings.seed):
            kept = batch.kept.numpy()
            for of_source, block in blocks:
                values = block(batch).numpy() > settings.harvest.fires
                for row, token in zip(*np.nonzero(kept), strict=True):
                    place = (int(windows.document[row]), int(position[row, token]))
                    fires.setdefault(place, {}).update(
                        zip(of_source, values[row, token].tolist(), strict=True)
                    )
    return fires


def test_silence_in_contexts_of_others_is_what_the_whole_corpus_shows(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        fires = everywhere(run, load_subject(run.settings.subject))
        rows = run.rows(
            "SELECT s.unit_id, s.silent, c.document, c.position - c.focus, len(c.tokens)"
            " FROM silence s JOIN context c USING (context_id)"
        )
        eligible = dict(
            run.rows("SELECT source, count(*) FROM unit WHERE outcome = 'eligible' GROUP BY 1")
        )
    for unit, silent, document, first, length in rows:
        window = [fires[document, first + place][unit] for place in range(length)]
        assert silent is not any(window)
    assert {silent for _, silent, *_ in rows} == {True, False}
    places = {source: min(PER_SOURCE, EACH * units) for source, units in eligible.items()}
    assert len(rows) == sum(places[source] * units for source, units in eligible.items())


def test_contexts_that_serve_others_come_from_all_units_and_intervals(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        owners = run.rows(
            "SELECT o.source, count(DISTINCT c.unit_id), count(DISTINCT c.interval),"
            " bool_and(c.split = 'score' AND c.draw = 'interval') FROM context c"
            " JOIN unit o ON o.unit_id = c.unit_id"
            " WHERE c.context_id IN (SELECT context_id FROM silence) GROUP BY ALL"
        )
        units = dict(
            run.rows("SELECT source, count(*) FROM unit WHERE outcome = 'eligible' GROUP BY 1")
        )
    for source, of_units, intervals, held_out in owners:
        assert of_units == min(units[source], PER_SOURCE)
        assert intervals >= 8
        assert held_out


def test_units_after_the_first_are_looked_at_in_fewer_contexts(own_runs):
    units = list(range(1, FIRST_UNITS + 3))
    places = [Place(number, 0, 5, 0, 10) for number in range(FEWER + 2)]
    fires = np.zeros((len(places), len(units)), dtype=bool)
    fires[3, -1] = True
    with open_run("tiny", folder=own_runs) as run:
        run.connection.execute("DELETE FROM silence")
        store_silence(run, units, places, Firing(fires, fires, np.ones(len(places), bool)))
        of_unit = dict(run.rows("SELECT unit_id, count(*) FROM silence GROUP BY 1"))
        firing = run.rows("SELECT context_id, unit_id FROM silence WHERE NOT silent")
    assert of_unit == {u: len(places) if u <= FIRST_UNITS else FEWER for u in units}
    assert firing == [(3, units[-1])]


def test_a_run_that_lacks_it_is_looked_at_again_and_one_that_has_it_is_not(own_runs, monkeypatch):
    with open_run("tiny", folder=own_runs) as run:
        names = list(run.sources())
        subject = load_subject(run.settings.subject)
        wanted = dict.fromkeys(names, 1)
        before = run.rows("SELECT * FROM silence ORDER BY ALL")
        assert unverified(run, names) == {}
        make_older(run.connection, "TABLE silence")
    with open_run("tiny", folder=own_runs) as run:
        assert list(unverified(run, names)) == names
        draw_units(run, subject, wanted)
        assert run.rows("SELECT * FROM silence ORDER BY ALL") == before
        monkeypatch.setattr("autointerp.units.sample.firing_in", None)
        draw_units(run, subject, wanted)


@pytest.mark.parametrize("known", [True, False])
def test_a_control_from_others_is_left_out_where_silence_is_not_known_and_this_is_said(
    own_runs, known
):
    if not known:
        with open_run("tiny", folder=own_runs) as run:
            run.connection.execute("DELETE FROM silence")
    notes = []
    score(
        Job(rater="scripted:truth", run="tiny", runs=own_runs, sources=("planted", "neurons"),
            scorers=("intruder",), design=Design(10, 4)),
        lambda event: notes.append(str(event)) if isinstance(event, Note) else None,
    )  # fmt: skip
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        permuted = [one for one in unit_scores(run) if one.permuted and one.source == "neurons"]
        shown = run.rows(
            "SELECT unit_id, unnest(contexts), unnest(kinds) FROM probe WHERE task = 'intruder'"
        )
        silent = set(run.rows("SELECT unit_id, context_id FROM silence WHERE silent"))
    others = {(unit, number) for unit, number, kind in shown if kind == "other"}
    assert others <= silent
    assert bool(permuted) == bool(others) == known
    assert any("known to be silent, so they have no control" in note for note in notes) != known
