from dataclasses import replace

from support.fabricate import add_scores, fabricate_run
from support.loopback.server import LoopbackServer

from autointerp.findings.comparison import compare
from autointerp.findings.groups import UnlikeDraw
from autointerp.findings.subject import SubjectFacts
from autointerp.pipeline.describe import explain
from autointerp.pipeline.job import Job
from autointerp.pipeline.report import report
from autointerp.questions.rubric_files import list_rubrics, load_rubric
from autointerp.raters import RaterOptions
from autointerp.records import ASSUMED_SILENT
from autointerp.reports.panels import Material, Prose, Verbatim, method
from autointerp.reports.panels._silence import assumed_silence
from autointerp.store.run import open_run


def test_the_method_says_who_described_from_what_and_prints_what_was_asked(own_runs, tmp_path):
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, structured="json_schema")
        of_run = {"run": "tiny", "runs": own_runs, "n": 2}
        explain(Job(rater="lexical", **of_run))
        explain(Job(rater="openai:m", options=options, logit_effects=True, **of_run))
    made = report(["tiny"], tmp_path / "out", folder=own_runs)
    (panel,) = [panel for panel in made.panels if panel.name == "method"]
    texts = {b.lead: b.text for b in panel.blocks if isinstance(b, Prose) and b.lead}
    plain, effects = texts["lexical"], next(t for name, t in texts.items() if "+logits" in name)
    units = "2 features, 2 neurons, 2 planted units, 2 random directions and 2 shuffled units"
    assert units in plain
    assert "logits" not in plain
    assert "of features, neurons and random directions, by the tokens" in effects
    assert "Planted units and shuffled units have none, so their items look other." in effects
    asked = {b.caption.split(",")[0]: b.text for b in panel.blocks if isinstance(b, Verbatim)}
    assert "`promotes` lists the tokens" in asked["The instructions of explain-logits"]
    assert "`promotes`" not in asked["The instructions of explain"]
    assert '"fires"' in asked["An item of explain as it was shown"]


def rated(folder, name="main", rubric="interpretability-1-5", raters=("model:a",), top=0):
    sources = {"features": 6, "neurons": 6, "planted": 2}
    scale = len(load_rubric(rubric).scores)
    with fabricate_run(folder, sources, name, contexts=2) as run:
        for rater in raters:
            for source, n in sources.items():
                high = min(top, n)
                counts = [n - high, *[0] * (scale - 2), high]
                add_scores(run, source, rater, counts, rubric=rubric)
        return Material((compare(run),), (run,))


def test_activations_are_called_scaled_only_where_the_rubric_shows_them(tmp_path):
    for rubric in list_rubrics():
        if rubric.shows.description:
            continue
        text = method.activations_text(rated(tmp_path / rubric.id, rubric=rubric.id))
        scaled = rubric.shows.activations == "scaled"
        assert ("scaled to each unit's own maximum" in text) is scaled
        assert ("no activations are shown" in text) is not scaled


def test_a_rater_that_reads_all_contexts_is_not_said_to_have_read_the_rubric_s_items(tmp_path):
    shown = rated(tmp_path, raters=("model:a", "model:b"))
    (comparison,) = shown.comparisons
    a, b = comparison.judgements

    def text_of(*judgements):
        made = replace(comparison, judgements=judgements)
        return method.activations_text(Material((made,), shown.runs))

    assert text_of(a, b) == "On interpretability-1-5 no activations are shown."
    lone = text_of(replace(a, reads_all=True))
    assert "no activations are shown" not in lone
    assert lone.startswith("model:a reads all stored contexts of a unit, of both splits, with the")
    both = text_of(replace(a, reads_all=True), b)
    assert "On interpretability-1-5 no activations are shown. model:a reads all stored" in both


def test_what_nobody_was_shown_is_not_printed_as_shown(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        for reads_all in (False, True):
            made = compare(run)
            judgements = tuple(replace(one, reads_all=reads_all) for one in made.judgements)
            blocks = method.show(Material((replace(made, judgements=judgements),), (run,)))
            captions = [block.caption for block in blocks if isinstance(block, Verbatim)]
            said = " ".join(block.text for block in blocks if isinstance(block, Prose))
            shown = any(
                caption.startswith("The first item as it was shown") for caption in captions
            )
            assert shown is not reads_all
            assert ("read these instructions" in said) is reads_all


def test_tests_are_counted_run_by_run(tmp_path):
    one = rated(tmp_path, "one", top=3)
    two = rated(tmp_path, "two", raters=("model:a", "model:b"), top=3)
    assert "over the 1 primary test (" in method.families_text(one)
    assert "apart, over the 2 other pairs." in method.families_text(one)
    both = Material((*one.comparisons, *two.comparisons), ())
    text = method.families_text(both)
    assert "1 primary test of run 'one'" in text
    assert "2 primary tests of run 'two'" in text


def test_pairs_without_a_test_are_not_counted_among_the_tests(tmp_path):
    (comparison,) = rated(tmp_path, "flat").comparisons  # every score is the same
    assert [c.holm_p for j in comparison.judgements for c in j.contrasts] == [None] * 3
    assert method.families_text(Material((comparison,), ())) == ""


def test_a_draw_of_which_some_units_were_rated_is_not_said_to_have_known_probabilities(tmp_path):
    shown = rated(tmp_path, raters=("human:ann", "human:bob", "human:eve"))
    drawn = {"human:ann": UnlikeDraw("score", "model:a"), "human:bob": UnlikeDraw("several", "m")}
    (comparison,) = shown.comparisons
    judgements = tuple(replace(j, drawn=drawn.get(j.rater)) for j in comparison.judgements)
    unlike = Material((replace(comparison, judgements=judgements),), ())
    assert method.drawn_unlike_text(unlike) == (
        " From those, `plan-humans` drew what human:ann rated, with known probabilities. From "
        "those, `plan-humans` drew some of what human:bob rated, and others were rated beside them."
    )
    assert method.drawn_unlike_text(shown) == ""


def test_a_number_that_stands_for_none_is_not_printed_and_a_real_one_is():
    assert method.setting_text("settings.harvest.tokens", "0") == "all"
    assert method.setting_text("settings.harvest.tokens", "100") == "100"
    assert method.setting_text("settings.subject.corpus_separator", "-1") == ""
    assert method.setting_text("settings.subject.corpus_separator", "50256") == "50256"
    assert method.setting_text("settings.seed", "0") == "0"  # a seed like any other


def test_where_silence_is_assumed_and_what_was_left_out_is_said(tmp_path):
    with fabricate_run(tmp_path, {"features": 6, "neurons": 6}, contexts=2) as run:
        add_scores(run, "features", "model:a", [1, 1, 1, 1, 2])
        plain = method.show(Material((compare(run),), (run,)))
        note = f"silent contexts are other units', {ASSUMED_SILENT}"
        run.execute("UPDATE unit SET note = ? WHERE source = 'features' AND idx < 2", [note])
        facts = SubjectFacts(near_copies=3)
        material = Material((replace(compare(run), subject=facts),), (run,))
        (silence,) = assumed_silence(material)
        told = method.show(material)
    assert "The files that 2 features came from hold no context" in silence.text
    assert silence.tone == "warning"
    before = [block for block in plain if isinstance(block, Prose)]
    new = [block for block in told if isinstance(block, Prose) and block not in before]
    assert new[0].text.startswith("3 contexts were left out of one of the two splits")
    assert new[1] == silence
