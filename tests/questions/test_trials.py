from dataclasses import replace

import pytest
from support.made_up import made_up_run

from autointerp.questions.explain import EXPLAIN, explain_trials
from autointerp.questions.trials import (
    QUERY,
    Described,
    Piece,
    Trial,
    add_trials,
    load_trials,
    trial_item,
    trial_of,
    whole_context,
)
from autointerp.records import LogitEffects

TRIAL = Trial("explain", "d", "shown", 3, 2.5, (Piece(7, 0, 21, None, None, "top"),))


@pytest.fixture
def run(tmp_path):
    with made_up_run(tmp_path) as run:
        yield run


def test_an_id_is_keyed_by_the_seed_and_by_all_that_the_trial_is():
    assert TRIAL.item_id(0) == "118d86e0a254073a"  # as in runs made before pieces had this name
    others = [
        replace(TRIAL, unit_id=4),
        replace(TRIAL, permuted=True),
        replace(TRIAL, described=Described("ann", 3, "cats")),
        replace(TRIAL, effects=LogitEffects((" a",), ())),
        replace(TRIAL, pieces=(replace(TRIAL.pieces[0], mark=3),)),
    ]
    assert len({TRIAL.item_id(0), TRIAL.item_id(1), *(one.item_id(0) for one in others)}) == 7


def test_what_is_stored_is_read_back_as_it_was_and_stored_once(run):
    effects = LogitEffects((" a", " b"), (" c",))
    described = Described("ann", 2, "cats")
    trial = replace(TRIAL, described=described, permuted=True, effects=effects)
    trial = replace(trial, pieces=(*trial.pieces, Piece(8, 2, 9, 4, True, "right")))
    ids = add_trials(run, [trial, TRIAL])
    assert add_trials(run, [trial]) == ids[:1]
    stored = dict(map(trial_of, run.rows(f"{QUERY} WHERE design = 'shown'")))
    assert stored == dict(zip(ids, [trial, TRIAL], strict=True))


def test_a_rater_sees_the_piece_alone_scaled_to_the_units_maximum(run):
    trials = explain_trials(run, [1], "shown")
    (identifier,) = add_trials(run, trials)
    (item,) = load_trials(run, [identifier], EXPLAIN)
    contexts = run.contexts_numbered([piece.context for piece in trials[0].pieces])
    assert replace(item, fence="") == trial_item(identifier, trials[0], contexts, EXPLAIN)
    assert item.fence == run.fence(identifier)
    first = trials[0].pieces[0].context
    cut = replace(trials[0], pieces=(Piece(first, 9, 12, 10, None, "top"),))
    shown = trial_item("an id", cut, contexts, EXPLAIN).contexts[0]
    assert shown.tokens == contexts[first].tokens[9:12]
    assert shown.focus == 1  # token 10 of the window, cut at 9
    # The unit's maximum is 8 in `made_up_run`, and raters see it as 10.
    assert shown.activations == tuple(10 * a / 8 for a in contexts[first].activations[9:12])


def test_a_whole_context_is_marked_on_its_focus_or_nowhere(run):
    ((number, context),) = list(run.contexts_numbered([1]).items())
    length = len(context.tokens)
    assert whole_context(number, context, True, "firing", mark=False) == Piece(
        number, 0, length, None, True, "firing"
    )
    assert whole_context(number, context, None, "top", mark=True).mark == context.focus
