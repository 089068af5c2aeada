"""Attribution and ablation of units, against a model whose reconstruction is changed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.by_hand import coded

from autointerp.errors import BadInput
from autointerp.labs._prompts import one_token
from autointerp.labs.attribution import effects_of, question_of, run, strongest_prompt
from autointerp.pipeline.lab import run_lab
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.reopen import sources_again, subject_again

PROMPT = "The old cat saw the river in the"
NO_OPTIONS = {"prompt": "", "target": "", "against": ""}


@pytest.mark.parametrize("source", ["features", "neurons", "random"])
def test_rows_are_activation_times_gradient_and_ablation_by_hand(own_runs, source):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        units = {u.unit_id: u.summary.unit for u in opened.units(source)}
        subject = load_subject(opened.settings.subject)
        encode, decode = coded(opened, subject, source)
        ids = [0, *subject.tokenise([PROMPT])[0]]
        model = subject.model.transformer
        logits = model(torch.tensor([ids]))[0, -1]
        target, against = logits.topk(2).indices.tolist()
        rows = list(run(opened, list(units), {**NO_OPTIONS, "prompt": PROMPT}))
    residual = model.residual_before_mlp(torch.tensor([ids]))
    neurons = model.neurons(residual).requires_grad_()

    def difference(x):
        out = model.logits(residual, x)[0, -1]
        return out[target] - out[against]

    (gradient,) = torch.autograd.grad(difference(neurons), neurons)
    neurons = neurons.detach()
    latents = encode(neurons)
    nothing = decode(torch.zeros_like(latents[0, 0]))
    measured = [row for row in rows if row["outcome"] == "ok"]
    assert measured
    seen = set()
    for row in measured:
        index, position = units[row["unit_id"]].index, row["position"]
        seen.add((index, position))
        own = float(latents[0, position, index])
        assert row["activation"] == pytest.approx(own, rel=1e-4, abs=1e-5)
        one = torch.zeros_like(latents[0, 0])
        one[index] = 1
        slope = float(gradient[0, position] @ (decode(one) - nothing))
        assert row["attribution"] == pytest.approx(own * slope, rel=1e-3, abs=1e-5)
        changed = latents.clone()
        changed[0, position, index] = 0
        spliced = neurons + decode(changed) - decode(latents)
        lost = float(difference(neurons) - difference(spliced))
        assert row["ablation"] == pytest.approx(lost, rel=1e-3, abs=2e-5)
        assert row["target"] == subject.token_texts[target]
        assert row["token"] == subject.token_texts[ids[position]]
    harvested = [unit.index for unit in units.values()]
    active = (latents[0, 1:, harvested] > 1e-5).nonzero().tolist()  # BOS is no text
    assert seen == {(harvested[column], position + 1) for position, column in active}


def test_without_a_prompt_a_unit_is_measured_on_its_strongest_context(own_runs):
    rows = run_lab("attribution", "tiny", ("features", "random", "planted"), 3, runs=own_runs).rows
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        for row in rows:
            if row["source"] == "planted":
                assert row["outcome"].startswith("units of planted are no directions")
            elif row["outcome"] == "ok":
                assert row["prompt"] == strongest_prompt(opened, row["unit_id"])
                assert row["target"] != row["against"]
    assert {row["source"] for row in rows if row["outcome"] == "ok"} == {"features", "random"}


def test_without_bos_the_first_token_counts_as_none_as_in_the_harvest(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        subject = replace(subject_again(opened, "test"), bos=None, begins_with_bos=False)
        units = [unit.unit_id for unit in opened.units("neurons")]
        ((_, source, _),) = list(sources_again(opened, subject, units))
        settings = opened.settings.harvest
    question = question_of(subject, subject.model, PROMPT, NO_OPTIONS)
    kept, all_of_them = (
        {effect.position for effect in effects_of(subject, subject.model, source, question, each)}
        for each in (settings, replace(settings, mask_first=False))
    )
    assert all_of_them - kept == {0}


def test_a_token_is_named_by_its_text_also_where_the_tokenizer_begins_texts_with_a_space(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        subject = subject_again(opened, "test")
    like_llama = replace(subject, tokenise=lambda texts: subject.tokenise([f" {t}" for t in texts]))
    ((word,),) = subject.tokenise([" cat"])
    ((inside,),) = subject.tokenise(["c"])
    assert one_token(like_llama, " cat", "--target") == word
    assert one_token(like_llama, "cat", "--target") == word  # no token is called so
    assert one_token(like_llama, "c", "--target") == inside


def test_what_cannot_be_compared_is_refused_with_the_tokens(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        units = [u.unit_id for u in opened.units("features")]
        asked = {**NO_OPTIONS, "prompt": PROMPT}
        with pytest.raises(BadInput, match=r"--target ' cat river' is \d+ tokens \("):
            list(run(opened, units, {**asked, "target": " cat river"}))
        with pytest.raises(BadInput, match="are the same token, ' cat'; give two"):
            list(run(opened, units, {**asked, "target": " cat", "against": " cat"}))
        with pytest.raises(BadInput, match="reads at most 32; shorten it"):
            list(run(opened, units, {**asked, "prompt": PROMPT * 9}))
        # A tokenizer without bytes reads what it does not know as its token for that.
        special = subject_again(opened, "test")
        unknown = replace(special, tokenise=lambda texts: [[1] for _ in texts])
        assert 1 in unknown.special
        with pytest.raises(
            BadInput, match=r"--against ' dzo' is not in the vocabulary of .* reads"
        ):
            one_token(unknown, " dzo", "--against")
        assert one_token(unknown, unknown.token_texts[1], "--target") == 1
        planted = [u.unit_id for u in opened.units("planted")]
        with pytest.raises(BadInput, match=r"no unit can be ablated \(planted: units of planted"):
            list(run(opened, planted, asked))
