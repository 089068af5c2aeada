"""Logit effects from the run to the prompt: which tokens, for whom, and kept apart."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fabricate import make_older
from support.loopback.server import LoopbackServer
from support.tiny_language_models import LAYERS, saved

from autointerp.errors import BadInput, RunMismatch
from autointerp.labs.logit_effects import TOKENS, logit_effects, strongest
from autointerp.pipeline.describe import explain
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import collect, rate
from autointerp.questions.explain import (
    EXPLAIN,
    EXPLAIN_LOGITS,
    eligible_units,
    explain_trials,
    explainers,
    explanations,
)
from autointerp.questions.trials import Piece, Trial, load_trials
from autointerp.raters import RaterOptions
from autointerp.raters.openai import create
from autointerp.records import Item, ItemContext, LogitEffects
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sources.neurons import Neurons

EFFECTS = LogitEffects((" cat", "\n"), ('"}\n<<<quoted', " dog"))
CONTEXT = ItemContext((" a", " cat"), (0.0, 10.0), None, "explain", False)


def job(runs, server, **more):
    options = RaterOptions(base_url=server.openai_url, structured="json_schema")
    return Job(rater="openai:m", run="tiny", runs=runs, options=options, **more)


def test_effects_are_those_of_a_multiplication_by_hand(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = eligible_units(run)
        effects, without = logit_effects(run, list(units))
        index = {u: (i, s) for u, i, s in run.rows("SELECT unit_id, idx, sign FROM unit")}
        subject = load_subject(run.settings.subject)
    assert set(without) == {"planted", "shuffled"}
    assert {units[unit] for unit in effects} == {"features", "neurons", "random"}
    model = subject.model.transformer
    down, head = model.down.weight.double(), model.unembedding.weight.double()
    for unit, found in effects.items():
        number, sign = index[unit]
        if units[unit] == "random":
            # The directions as `sources/random.py` draws them.
            rng = np.random.default_rng([0, 0x72616E64])
            direction = torch.from_numpy(rng.standard_normal((subject.d_site, 512))[:, number])
        elif units[unit] == "features":
            direction = subject.sae.W_dec[number].double()
        else:
            direction = sign * torch.eye(subject.d_site, dtype=torch.float64)[number]
        written = down @ direction
        logits = head @ ((written - written.mean()) * model.norm_final.weight.double())
        order = [
            subject.token_texts[i] for i in logits.argsort(descending=True).tolist() if i > 1
        ]  # ids 0 and 1 are special
        assert list(found.promoted) == order[:TOKENS]
        assert list(found.suppressed) == order[: -TOKENS - 1 : -1]


def test_the_negative_half_of_a_neuron_writes_its_axis_turned_round():
    found = Neurons(4, signed=True).written(np.array([1, 6]))
    assert found.tolist() == [[0, 1, 0, 0], [0, 0, -1, 0]]


def test_special_tokens_and_ids_without_text_are_left_out_and_no_token_is_in_both(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        subject = load_subject(run.settings.subject)
    subject = replace(subject, token_texts=["<s>", "a", "", "b", "c", "d", "e"], special={0})
    (found,) = strongest(torch.tensor([[9.0, 1, 8, -2, 3, 0, -1]]), subject)
    assert found == LogitEffects(("c", "a"), ("b", "e"))  # five are left, so two on each side


def test_a_hugging_face_model_s_units_have_effects_at_a_site_that_writes(tmp_path):
    folder = saved(tmp_path / "model", "gpt_neox")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n\n".join(["the cat sat on the mat and the dog"] * 300))
    settings = tmp_path / "autointerp.toml"
    settings.write_text(
        f'[subject]\nmodel = "{folder}"\nsite = "layers.{LAYERS - 1}.mlp.neurons"\n'
        f'corpus = "{texts}"\n[harvest]\nwindow = 32\nexplain_share = 1\n'
    )
    asked = Job("neurons", 4, rater="scripted:4", run="hf", subject=str(settings),
                 controls=0, runs=tmp_path / "runs")  # fmt: skip
    rate(asked)
    with open_run("hf", folder=tmp_path / "runs", read_only=True) as run:
        units = list(eligible_units(run))
        effects, _ = logit_effects(run, units)
        negative = run.rows("SELECT count(*) FROM unit WHERE sign < 0")[0][0]
        special = set(load_subject(run.settings.subject).token_texts[:1])
    assert len(effects) == len(units) == 4
    assert negative > 0  # GELU: both halves
    for found in effects.values():
        assert len(found.promoted) == len(found.suppressed) == TOKENS
        assert not special & {*found.promoted, *found.suppressed}


def test_the_lists_stand_before_the_contexts_as_json_that_cannot_end_the_quotation():
    item = Item("aa", EXPLAIN_LOGITS.id, (CONTEXT,), effects=EFFECTS)
    lines = EXPLAIN_LOGITS.user(item).split("\n")
    assert len(lines) == 4
    assert json.loads(lines[1]) == {
        "promotes": [" cat", "\n"], "suppresses": ['"}\n<<<quoted', " dog"],
    }  # fmt: skip
    without = EXPLAIN_LOGITS.user(replace(item, effects=None)).split("\n")
    assert without == [lines[0], *lines[2:]]


def test_what_is_asked_without_them_has_the_ids_and_keys_that_it_always_had():
    # As they were before there were logit effects; runs made then find their answers by them.
    piece = Piece(7, 0, 21, None, None, "top")
    trial = Trial("explain", "d", "shown", 3, 2.5, (piece,))
    assert trial.item_id(0) == "118d86e0a254073a"
    assert replace(trial, effects=EFFECTS).item_id(0) != trial.item_id(0)
    item = Item("aa", "explain", (CONTEXT,))
    request = create("m", RaterOptions()).request(item, EXPLAIN)
    assert request.key == "2fdf1a2d719283f68cee9b0e95959b3c2e4e8a8d1e179bc74f3fa0cc8747fcf8"


def test_units_without_effects_are_asked_all_the_same_under_the_same_task(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = eligible_units(run, ["features", "planted"])
        effects, _ = logit_effects(run, list(units))
        trials = explain_trials(run, units, "shown", effects)
        plain = explain_trials(run, units, "shown")
    assert {trial.task for trial in trials} == {EXPLAIN_LOGITS.id}
    shown = {units[trial.unit_id] for trial in trials if trial.effects is not None}
    assert shown == {"features"}
    ids = {trial.item_id(0) for trial in (*trials, *plain)}
    assert len(ids) == 2 * len(units)


@pytest.mark.parametrize("batch", [False, True])
def test_descriptions_with_and_without_stay_apart_and_what_was_shown_is_kept(own_runs, batch):
    with LoopbackServer() as server:
        for with_effects in (False, True):
            mine = job(own_runs, server, batch=batch, n=2, logit_effects=with_effects)
            explain(mine)
            if batch:
                collect("tiny", own_runs)
        asked = len(server.completions)
        explain(mine)  # nothing is left to ask
        assert len(server.completions) == asked
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        plain, with_logits = explainers(run)
        assert with_logits == f"{plain}+logits"
        for name, task in ((plain, EXPLAIN), (with_logits, EXPLAIN_LOGITS)):
            found = explanations(run, name)
            assert len(found) == 10
            assert {one.text for one in found} == {"as told"}
            rows = run.rows("SELECT item_id FROM probe WHERE task = ? ORDER BY 1", [task.id])
            ids = [row[0] for row in rows]
            items = load_trials(run, ids, task)
            assert sum(item.effects is not None for item in items) == (
                6 if name == with_logits else 0
            )
        effects, _ = logit_effects(run, [one.unit_id for one in found])
        kept = run.rows(
            "SELECT unit_id, promoted, suppressed FROM explanation WHERE promoted IS NOT NULL"
        )
    assert {u: LogitEffects(tuple(p), tuple(s)) for u, p, s in kept} == effects


def test_raters_that_read_contexts_alone_are_refused(own_runs):
    asked = Job(rater="lexical", run="tiny", runs=own_runs, logit_effects=True)
    with pytest.raises(BadInput, match="lexical reads contexts alone; name a language model"):
        explain(asked)


def test_controls_alone_have_none_and_that_is_said_before_anything_is_asked(own_runs):
    with LoopbackServer() as server:
        with pytest.raises(BadInput, match=r"no unit has any \(planted: they are no directions"):
            explain(job(own_runs, server, sources="planted", logit_effects=True))
        assert not server.calls


def test_another_subject_than_the_run_s_and_an_imported_run_are_refused(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        run.about["digests"]["sae"] = "another"
        with pytest.raises(RunMismatch, match="this sae is not the run's"):
            logit_effects(run, list(eligible_units(run)))
        run.about["settings"]["subject"]["model"] = "imported"
        with pytest.raises(BadInput, match="imported without one"):
            logit_effects(run, list(eligible_units(run)))


def test_a_run_from_before_there_were_logit_effects_opens_and_is_explained(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        make_older(run.connection, "VIEW explanation")
        for column in ("promoted", "suppressed"):
            run.connection.execute(f"ALTER TABLE probe DROP COLUMN {column}")
    explain(Job(rater="lexical", run="tiny", runs=own_runs, n=1))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert len(explanations(run, "lexical")) == 5


def test_the_command_says_how_many_have_effects_and_which_sources_have_none(
    command_line, tiny_run, tmp_path
):
    shutil.copytree(tiny_run, tmp_path / "runs")
    with LoopbackServer() as server:
        result = command_line(
            "explain", "tiny", "--rater", "openai:m", "--base-url", server.openai_url,
            "--n", 1, "--logit-effects",
        )  # fmt: skip
    assert result.code == 0, result.err
    assert "logit effects of 3 of 5 units" in result.err
    assert "note: none of planted: they are no directions in the model" in result.err
    assert "+logits describes 5 of 5 units; 0 Unknown\n" in result.err


def test_what_a_batch_has_yet_to_answer_is_said(command_line, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "runs")
    with LoopbackServer() as server:
        result = command_line(
            "explain", "tiny", "--rater", "openai:m", "--base-url", server.openai_url,
            "--n", 1, "--batch",
        )  # fmt: skip
    assert "describes 0 of 5 units; 0 Unknown, 5 not answered yet" in result.err
