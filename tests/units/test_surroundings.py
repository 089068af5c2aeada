"""More of stored contexts, read from the corpus again."""

from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.stream import window_length
from autointerp.units.surroundings import read_surroundings


def test_the_text_round_a_context_continues_it(own_runs, tiny_run_name):
    """What is read stands in a window of the corpus, with the context between."""
    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        units = [row[0] for row in run.rows("SELECT unit_id FROM unit WHERE outcome = 'eligible'")]
        contexts = [c for of_unit in run.contexts(units[:4]).values() for c in of_unit.values()]
        harvest = run.settings.harvest
        subject = load_subject(run.settings.subject)
    texts = {}
    for windows in subject.cut(window_length(subject, harvest), 64):
        for ids, attention, document in zip(
            windows.ids, windows.attention, windows.document, strict=True
        ):
            kept = [subject.token_texts[i] for i in ids[attention] if i not in subject.special]
            texts.setdefault(int(document), []).append("".join(kept))
    places = {
        (c.document, c.position, c.focus, len(c.tokens) - c.focus - 1): "".join(c.tokens)
        for c in contexts
    }
    read = read_surroundings(subject, harvest, places)
    assert read.keys() == places.keys()
    assert any(before and after for before, after in read.values())
    for place, (before, after) in read.items():
        whole = before + places[place] + after
        assert any(whole in text for text in texts[place[0]]), (place, whole)


def test_a_short_reach_reads_no_more_than_the_context_has(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        subject = load_subject(run.settings.subject)
        harvest = run.settings.harvest
    assert read_surroundings(subject, harvest, [(0, 8, 4, 4)], reach=4) == {(0, 8, 4, 4): ("", "")}
    assert read_surroundings(subject, harvest, [(0, 10**6, 4, 4)]) == {}  # no such token
    assert read_surroundings(subject, harvest, []) == {}
