"""What a list of units says of each."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from support.fabricate import add_scores, fabricate_run

from autointerp.findings.browse import listed_contexts, logit_effects, window_tokens
from autointerp.findings.comparison import compare
from autointerp.findings.labs import LabRows


def test_logit_effects_are_those_that_an_explainer_was_shown_or_the_lab_measured(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 4}, contexts=0) as run:
        add_scores(run, "features", "model:a", [1, 1, 1, 1, 0])
        run.connection.execute(  # in place of the view: what an explainer was shown
            "CREATE TEMP TABLE explanation AS SELECT unit_id, 'model:a' AS explainer,"
            " 'explain-logits' AS task, 'ok' AS status, 'a word' AS description,"
            " 'why' AS rationale, [0::BIGINT] AS contexts,"
            " CASE WHEN idx < 2 THEN [' shown' || idx] END AS promoted,"
            " CASE WHEN idx < 2 THEN [' not'] END AS suppressed FROM unit"
        )
        rows = pd.DataFrame(
            {
                "unit_id": [1, 2, 3],
                "promoted": [[" measured"], [" alone"], []],  # the last has no effects
                "suppressed": [[" low"], [" low"], []],
            }
        )
        columns = dict.fromkeys(("promoted", "suppressed"), "")
        labs = (LabRows("logit-effects", "", columns, rows), LabRows("other", "", {}, rows))
        found = logit_effects(replace(compare(run), labs=labs), run)
    assert found == {
        0: ([" shown0"], [" not"]),
        1: ([" measured"], [" low"]),
        2: ([" alone"], [" low"]),
    }


def test_the_longest_stored_window_is_measured(tmp_path: Path):
    with fabricate_run(tmp_path / "some", {"features": 2}, contexts=1) as run:
        assert window_tokens(run) == 21
    with fabricate_run(tmp_path / "none", {"features": 2}, contexts=0) as run:
        assert window_tokens(run) == 0


def test_a_text_that_a_rater_saw_counts_as_shown_however_it_was_drawn(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 1}) as run:
        run.connection.execute(  # that of the highest interval is one of the ten strongest, too
            "UPDATE context SET document = (SELECT min(document) FROM context WHERE draw = 'top')"
            " WHERE draw = 'interval' AND interval = 10"
        )
        before = list(listed_contexts(run, [0], 10))
        add_scores(run, "features", "model:a", [0, 0, 0, 0, 1])
        found = list(listed_contexts(run, [0], 10))
    assert not any(context.was_shown for context in before)
    assert [context.interval for context in found if context.was_shown] == [0] * 10 + [10]
