"""All active units of a source on a prompt: ranks, correlation, and what is stored of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch
from scipy import stats

from autointerp.errors import BadInput, SubjectError
from autointerp.findings.attributed import STRONGEST
from autointerp.findings.comparison import compare
from autointerp.labs import design_of
from autointerp.pipeline.attribute import RankedEffect, attribute
from autointerp.pipeline.events import Ablating, Step
from autointerp.store.run import open_run
from autointerp.subjects.interventions import moved_logits
from autointerp.subjects.load import load_subject

PROMPT = "The old cat saw the river in the"


def test_every_active_unit_of_the_dictionary_is_measured_and_those_of_the_run_are_stored(own_runs):
    result = attribute(PROMPT, run="tiny", runs=own_runs, sources=("features", "neurons", "random"))
    assert [one.source for one in result.sources] == ["features", "neurons", "random"]
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        subject = load_subject(opened.settings.subject)
        held = {str(unit.summary.unit) for unit in opened.units("features")}
        stored = opened.lab_rows("attribution")
    features = result.sources[0]
    ids, attention = _batch(subject)
    latents = subject.sae.encode(subject.model.activations(ids, attention))[0, 1:]
    assert len(features.effects) == int((latents > 1e-5).sum())
    of_run = {(e.unit, e.position): e.ablation for e in features.effects if e.unit in held}
    kept = {(r["unit"], r["position"]): r["ablation"] for r in stored if r["source"] == "features"}
    assert kept == of_run
    assert features.stored == len(of_run)
    for one in result.sources:
        linear = [effect.attribution for effect in one.effects]
        exact = [effect.ablation for effect in one.effects]
        assert one.pearson == pytest.approx(stats.pearsonr(linear, exact).statistic)
        assert one.spearman == pytest.approx(stats.spearmanr(linear, exact).statistic)
        assert [e.ablation_rank for e in one.effects] == list(range(1, len(exact) + 1))
        assert (np.diff(np.abs(exact)) <= 0).all()
        by_linear = sorted(one.effects, key=lambda effect: effect.attribution_rank)
        assert (np.diff(np.abs([effect.attribution for effect in by_linear])) <= 0).all()


def test_all_that_was_found_is_in_the_run_in_comparisons_and_in_json(own_runs):
    asked = {"run": "tiny", "runs": own_runs, "sources": ("features", "neurons", "random")}
    wanted = attribute(PROMPT, **asked)
    assert attribute(PROMPT, **{**asked, "sources": ("features", "features")}).sources == (
        wanted.sources[0],
    )  # asked again, and twice in one command: rows are replaced
    other = attribute("The king", **asked)
    columns = [field.name for field in fields(RankedEffect) if field.name != "description"]
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        held = opened.rows(
            f"SELECT source, prompt, {', '.join(columns)} FROM attributed_unit"
            " JOIN attributed USING (question, source)"
        )
        found = compare(opened)
    assert sorted(held) == sorted(
        (one.source, result.prompt, *(getattr(effect, name) for name in columns))
        for result in (wanted, other)
        for one in result.sources
        for effect in one.effects
    )
    assert [(one.prompt, one.target, one.against) for one in found.attributions] == [
        (one.prompt, one.target, one.against) for one in (wanted, other)
    ]
    printed = found.as_json()["attributions"]
    for result, shown in zip((wanted, other), printed, strict=True):
        for source, one in zip(result.sources, shown["sources"], strict=True):
            assert (one["source"], one["active"]) == (source.source, len(source.effects))
            assert (one["pearson"], one["spearman"]) == (source.pearson, source.spearman)
            strongest = [asdict(effect) for effect in source.effects[:STRONGEST]]
            assert one["rows"] == [
                {**effect, "description": effect["description"] or None} for effect in strongest
            ]


def _batch(subject):
    ids = torch.tensor([[0, *subject.tokenise([PROMPT])[0]]])
    return ids, torch.ones_like(ids, dtype=torch.bool)


def test_descriptions_that_the_run_holds_stand_beside_their_units(truth_run, tmp_path):
    runs = shutil.copytree(truth_run, tmp_path / "runs")
    with open_run("tiny", folder=runs, read_only=True) as opened:
        described = dict(
            opened.rows(
                "SELECT unit_name(source, idx, sign), description FROM explanation"
                " JOIN unit USING (unit_id) WHERE source = 'features' AND status = 'ok'"
            )
        )
    assert described
    (features,) = attribute(PROMPT, run="tiny", runs=runs).sources
    for effect in features.effects:
        assert effect.description == described.get(effect.unit, "")


def test_what_cannot_be_measured_is_refused(own_runs):
    with pytest.raises(BadInput, match="give a text, after which"):
        attribute("", run="tiny", runs=own_runs)
    with pytest.raises(BadInput, match=r"has no units of source 'taste' \(it has: features"):
        attribute(PROMPT, run="tiny", runs=own_runs, sources=("taste",))
    with pytest.raises(SubjectError, match="units of planted are no directions"):
        attribute(PROMPT, run="tiny", runs=own_runs, sources=("features", "planted"))
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        assert opened.lab_rows("attribution") == []  # of features neither
        assert opened.rows("SELECT count(*) FROM ablated") == [(0,)]


def test_the_command_prints_the_strongest_units_and_json_has_all(command_line, own_runs):
    asked = ("attribute", "--prompt", PROMPT, "--run", "tiny", "--top", 2)
    result = command_line(*asked)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("logit of ")
    assert lines[1].startswith("features: ")
    assert len(lines) == 5
    printed = json.loads(command_line(*asked, "--json").out)
    (features,) = printed["sources"]
    assert len(features["effects"]) > 2
    assert features["effects"][0]["unit"] in lines[3]
    refused = command_line(*asked, "--target", " no such token")
    assert (refused.code, "and one is asked for; give one token" in refused.err) == (2, True)


def test_progress_ends_with_the_last_activation(own_runs):
    events = []
    (features,) = attribute(PROMPT, run="tiny", runs=own_runs, on=events.append).sources
    told = [event for event in events if isinstance(event, Ablating)]
    assert told[-1].done == told[-1].total == len(features.effects)
    assert [event.done for event in told] == sorted(event.done for event in told)


def test_ablations_in_one_batch_are_those_one_by_one(own_runs, monkeypatch):
    (together,) = attribute(PROMPT, run="tiny", runs=own_runs).sources
    monkeypatch.setattr("autointerp.labs.attribution.LOGITS", 1)
    (alone,) = attribute(PROMPT, run="tiny", runs=own_runs).sources
    exact = {(effect.unit, effect.position): effect.ablation for effect in alone.effects}
    assert len(exact) == len(together.effects) > 2
    for effect in together.effects:
        assert exact[effect.unit, effect.position] == pytest.approx(effect.ablation, abs=1e-4)


@pytest.mark.parametrize("stopped_in", ["features", "neurons"])
def test_one_that_was_stopped_goes_on_and_ends_with_the_same_result(
    own_runs, tmp_path, monkeypatch, stopped_in
):
    monkeypatch.setattr("autointerp.labs.attribution.LOGITS", 1)  # many calls of the model
    monkeypatch.setattr("autointerp.pipeline.attribute.SAVE_EVERY_S", 0.0)
    asked = {"run": "tiny", "sources": ("features", "neurons")}
    undisturbed = shutil.copytree(own_runs, tmp_path / "undisturbed")
    wanted = attribute(PROMPT, runs=undisturbed, **asked)
    rows = {"features": len(wanted.sources[0].effects), "neurons": len(wanted.sources[1].effects)}
    seen = []

    def stop_midway(event):
        if isinstance(event, Ablating) and event.source == stopped_in and event.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attribute(PROMPT, runs=own_runs, on=stop_midway, **asked)
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        kept = dict(opened.rows("SELECT source, count(*) FROM ablated GROUP BY source"))
    assert kept[stopped_in] < rows[stopped_in]
    if stopped_in == "neurons":
        assert kept["features"] == rows["features"]
    calls = []

    def counted(model, tokens, positions, changes, at_once, known=()):
        for some, logits in moved_logits(model, tokens, positions, changes, at_once, known):
            calls.append(len(some))
            yield some, logits

    monkeypatch.setattr("autointerp.labs.attribution.moved_logits", counted)
    resumed = attribute(PROMPT, runs=own_runs, on=seen.append, **asked)
    assert resumed == wanted  # to the bit
    assert sum(calls) == sum(rows.values()) - sum(kept.values())
    told = [e.text for e in seen if isinstance(e, Step)]
    assert any(f"{stopped_in} has {kept[stopped_in]} ablation" in text for text in told)
    for runs in (own_runs, undisturbed):
        with open_run("tiny", folder=runs, read_only=True) as opened:
            assert opened.rows("SELECT count(*) FROM ablated") == [(0,)]
    with (
        open_run("tiny", folder=own_runs, read_only=True) as left,
        open_run("tiny", folder=undisturbed, read_only=True) as whole,
    ):
        assert left.lab_rows("attribution") == whole.lab_rows("attribution")


def test_what_another_question_left_is_not_taken(own_runs, monkeypatch):
    monkeypatch.setattr("autointerp.labs.attribution.LOGITS", 1)
    with pytest.raises(KeyboardInterrupt):
        attribute("The old dog", run="tiny", runs=own_runs, on=_stopped)
    result = attribute(PROMPT, run="tiny", runs=own_runs, on=(seen := []).append)
    assert not [e for e in seen if isinstance(e, Step) and "goes on" in e.text]
    assert result == attribute(PROMPT, run="tiny", runs=own_runs)


def _stopped(event):
    if isinstance(event, Ablating):
        raise KeyboardInterrupt


def test_batches_of_which_a_part_is_known_are_computed_in_the_same_company(own_runs, monkeypatch):
    monkeypatch.setattr("autointerp.labs.attribution.TOKENS", 32)  # several rows at a time
    wanted = attribute(PROMPT, run="tiny", runs=own_runs)
    first, *_ = wanted.sources[0].effects
    with open_run("tiny", folder=own_runs) as opened:
        options = {"prompt": PROMPT, "target": "", "against": ""}
        number = int(first.unit.partition("/")[2])
        opened.add_ablated(
            design_of("attribution", options, []), "features", {(number, first.position): 0.0}
        )
    assert attribute(PROMPT, run="tiny", runs=own_runs) == wanted
