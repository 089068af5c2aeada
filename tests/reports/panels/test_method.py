from support.loopback.server import LoopbackServer

from autointerp.pipeline.describe import explain
from autointerp.pipeline.job import Job
from autointerp.pipeline.report import report
from autointerp.raters import RaterOptions
from autointerp.reports.panels import Prose, Verbatim


def test_the_method_says_who_described_from_what_and_prints_what_was_asked(own_runs, tmp_path):
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, structured="json_schema")
        for rater, with_effects in (("lexical", False), ("openai:m", True)):
            asked = {"options": options, "n": 2, "logit_effects": with_effects}
            explain(Job(rater=rater, run="tiny", runs=own_runs, **asked))
    made = report(["tiny"], tmp_path / "out", folder=own_runs)
    (method,) = [panel for panel in made.panels if panel.name == "method"]
    told = {b.lead: b.text for b in method.blocks if isinstance(b, Prose) and b.lead}
    plain, effects = told["lexical"], next(t for name, t in told.items() if "+logits" in name)
    units = "2 features, 2 neurons, 2 planted units, 2 random directions and 2 shuffled units"
    assert units in plain
    assert "logits" not in plain
    assert "of features, neurons and random directions, by the tokens" in effects
    assert "Planted units and shuffled units have none, so their items look other." in effects
    asked = {b.caption.split(",")[0]: b.text for b in method.blocks if isinstance(b, Verbatim)}
    assert "`promotes` lists the tokens" in asked["The instructions of explain-logits"]
    assert "`promotes`" not in asked["The instructions of explain"]
    assert '"fires"' in asked["An item of explain as it was shown"]
