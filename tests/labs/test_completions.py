"""Steering: completions of a changed model, against a model that is changed by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from support.by_hand import coded
from support.tiny_language_models import saved

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._refusals import none_measured
from autointerp.labs.completions import factors_of, run
from autointerp.pipeline.job import Job
from autointerp.pipeline.lab import run_lab
from autointerp.pipeline.rate import rate
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject

PROMPT = "The old cat saw"


def a_unit(runs, source="features"):
    with open_run("tiny", folder=runs, read_only=True) as opened:
        unit = opened.sampled(source, 1)[0]
    return unit, f"{source}/{unit.summary.unit.index}"


def steered(runs, names, **options):
    given = {"prompts": json.dumps([PROMPT]), "factors": "-80,0,80", "tokens": 6, **options}
    texts = {name: str(value) for name, value in given.items()}
    return run_lab("completions", "tiny", options=texts, runs=runs, units=names).rows


def by_hand(subject, splice, ids, tokens):
    """Greedy completion of the one-layer model with the neurons changed at every position."""
    model = subject.model.transformer
    for _ in range(tokens):
        residual = model.residual_before_mlp(torch.tensor([ids]))
        logits = model.logits(residual, splice(model.neurons(residual)))
        ids = [*ids, int(logits[0, -1].argmax())]
    return ids


@pytest.mark.parametrize("source", ["features", "neurons", "random"])
def test_completions_are_those_of_a_model_whose_reconstruction_is_spliced_by_hand(own_runs, source):
    unit, name = a_unit(own_runs, source)
    rows = steered(own_runs, [name], temperature=0)
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        subject = load_subject(opened.settings.subject)
        encode, decode = coded(opened, subject, source)
    texts = subject.token_texts
    (prompt,) = subject.tokenise([PROMPT])
    prompt = [0, *prompt]
    assert [row["factor"] for row in rows] == [None, -80, 0, 80]
    for row in rows:
        value = None if row["factor"] is None else row["factor"] * unit.summary.peak
        assert row["value"] == (None if value is None else pytest.approx(value))

        def splice(x, value=value):
            latents = encode(x)
            error = x - decode(latents)
            if value is not None:
                latents[..., unit.summary.unit.index] = value
            return decode(latents) + error

        ids = by_hand(subject, splice, prompt, 6)
        end = next((n for n, i in enumerate(ids[len(prompt) :]) if i in subject.special), 6)
        own = ids[len(prompt) :][:end]
        assert row["completion"] == ("".join(texts.joined(own, 0)) if own else "")
        if not own:
            assert row["perplexity"] is None
            assert row["distinct"] is None
            continue
        logs = subject.model.transformer(torch.tensor([ids]))[0].log_softmax(-1)
        losses = [float(logs[at - 1, ids[at]]) for at in range(len(prompt), len(prompt) + end)]
        assert row["perplexity"] == pytest.approx(math.exp(-sum(losses) / end), rel=1e-4)
        assert row["distinct"] == len(set(own)) / end
    assert len({row["completion"] for row in rows}) > 1  # it does something


def test_at_one_factor_alone_a_completion_is_what_it_is_beside_others(own_runs):
    _, name = a_unit(own_runs)
    together = steered(own_runs, [name], factors="-8..8/5")
    alone = steered(own_runs, [name], factors="4")
    beside = [row for row in together if row["factor"] in (None, 4.0)]
    assert [row["completion"] for row in beside] == [row["completion"] for row in alone]
    for one, other in zip(beside, alone, strict=True):  # sums over other rows round otherwise
        assert one["perplexity"] == pytest.approx(other["perplexity"], rel=1e-5)
    assert steered(own_runs, [name], factors="4", seed=1) != alone
    assert steered(own_runs, [name], factors="4") == alone


def test_the_smallest_temperature_takes_the_likeliest_token_as_none_does(own_runs):
    _, name = a_unit(own_runs)
    # Logits divided by it would be infinite, and the first token of the vocabulary the largest.
    coldest = steered(own_runs, [name], temperature=5e-324, tokens=3)
    greedy = steered(own_runs, [name], temperature=0, tokens=3)
    assert [row["completion"] for row in coldest] == [row["completion"] for row in greedy]


def test_neurons_and_controls_are_steered_alike_and_what_is_no_direction_says_so(own_runs):
    names = [a_unit(own_runs, source)[1] for source in ("features", "neurons", "random", "planted")]
    rows = steered(own_runs, names, prompts='["", "The king"]')
    outcomes = {row["source"]: row["outcome"] for row in rows}
    assert outcomes == {
        "features": "ok", "neurons": "ok", "random": "ok",
        "planted": "units of planted are no directions in the model, so none can be set",
    }  # fmt: skip
    prompts = [(row["source"], row["prompt"]) for row in rows if row["factor"] == 80]
    assert prompts == [(s, p) for s in ("features", "neurons", "random") for p in ("", "The king")]


def test_a_unit_that_never_fires_has_no_maximum_to_multiply(own_runs):
    unit, _ = a_unit(own_runs)
    with open_run("tiny", folder=own_runs) as opened:
        opened.connection.execute("UPDATE unit SET peak = 0 WHERE unit_id = ?", [unit.unit_id])
        with pytest.raises(BadInput, match=r"no unit can be steered.*it never fires"):
            list(run(opened, [unit.unit_id], options_of("completions", {})))


@pytest.mark.parametrize(
    ("text", "factors"),
    [("-10..10", [-10, -5, 0, 5, 10]), ("0..1/3", [0, 0.5, 1]), ("2", [2]), ("-1,3,-1", [-1, 3]),
     ("5..-5/2,0", [5, -5, 0]), ("-0", [0])],
)  # fmt: skip
def test_factors_are_numbers_and_evenly_spaced_ranges(text, factors):
    assert factors_of(text) == factors


@pytest.mark.parametrize(
    "text",
    ["", "a", "1,", "1..", "..2", "1..2/1", "1..2/0", "1/3", "nan", "inf..1", "1..2/999",
     "-1e308..1e308"],
)  # fmt: skip
def test_what_is_no_factor_is_refused_with_an_example(text):
    with pytest.raises(BadInput, match="--factor"):
        factors_of(text)


def test_what_cannot_be_completed_is_refused_with_the_reason(own_runs):
    _, name = a_unit(own_runs)
    with pytest.raises(BadInput, match=r"reads at most 32; give fewer --tokens"):
        steered(own_runs, [name], tokens=40)
    with pytest.raises(BadInput, match="reads at most 32; shorten it"):
        steered(own_runs, [name], prompts="the cat " * 30)
    with pytest.raises(BadInput, match="--tokens 0: ask for at least 1"):
        steered(own_runs, [name], tokens=0)
    with pytest.raises(BadInput, match=r"--temperature -1\.0: give 0 or more"):
        steered(own_runs, [name], temperature=-1)
    with pytest.raises(BadInput, match=r"unit 'features/9999': the run holds no such unit"):
        steered(own_runs, ["features/9999"])


def test_a_factor_at_which_logits_are_no_numbers_is_refused(own_runs):
    with pytest.raises(BadInput, match="logits are no numbers; give a factor nearer to 0"):
        steered(own_runs, [a_unit(own_runs)[1]], factors="0,1e30", tokens=2)


def test_the_command_prints_a_table_a_unit_and_refuses_what_cannot_be_steered(
    command_line, own_runs
):
    _, name = a_unit(own_runs)
    asked = ("steer", name, "--run", "tiny", "--factor", "-2..2/2", "--tokens", 3)
    result = command_line(*asked, "--prompt", PROMPT)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == f'{name} · "{PROMPT}"'
    assert lines[1].split() == ["factor", "perplexity", "distinct", "completion"]
    assert [line.split()[0] for line in lines[2:]] == ["none", "-2", "2"]
    printed = json.loads(command_line(*asked, "--json").out)
    assert [row["factor"] for row in printed["rows"]] == [None, -2, 2]
    _, control = a_unit(own_runs, "planted")
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        held = opened.rows("SELECT * FROM lab ORDER BY ALL")
    refused = command_line("steer", control, "--run", "tiny", "-q")
    assert refused.code == 2
    assert f"{control}: units of planted are no directions in the model" in refused.err
    assert len(refused.err.splitlines()) == 1
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        assert opened.rows("SELECT * FROM lab ORDER BY ALL") == held


def test_a_hugging_face_model_is_steered_by_its_neurons(tmp_path):
    folder = saved(tmp_path / "model", "llama")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n\n".join(["the cat sat on the mat and the dog"] * 300))
    settings = tmp_path / "autointerp.toml"
    settings.write_text(
        f'[subject]\nmodel = "{folder}"\nsite = "layers.1.mlp.neurons"\n'
        f'corpus = "{texts}"\n[harvest]\nwindow = 32\nexplain_share = 1\n'
    )
    rate(Job("neurons", 2, rater="scripted:4", run="hf", subject=str(settings), controls=0,
             runs=tmp_path / "runs"))  # fmt: skip
    options = {"prompts": "the cat", "factors": "-500,500", "tokens": "8"}
    rows = run_lab("completions", "hf", options=options, runs=tmp_path / "runs").rows
    assert {row["outcome"] for row in rows} == {"ok"}
    of_unit = [row["completion"] for row in rows if row["unit"] == rows[0]["unit"]]
    assert len(of_unit) == 3
    assert len(set(of_unit)) > 1


def test_units_of_which_none_can_be_steered_leave_no_rows(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        names = [f"planted/{u.summary.unit.index}" for u in opened.sampled("planted", 3)]
    with pytest.raises(BadInput, match=r"no unit can be steered \(planted: .*; name features or"):
        steered(own_runs, names)
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        assert opened.lab_rows("completions") == []
        assert opened.rows("SELECT * FROM lab_unit") == []


def test_at_a_site_where_nothing_can_be_set_each_reason_is_said_once_and_names_other_sites():
    names = ("features", "neurons", "random")
    refused = SimpleNamespace(check_changeable=None)
    reason = f"the model of tiny ({type(refused).__name__}) cannot be changed"
    subject = SimpleNamespace(name="tiny", model=refused, hidden=None)
    told = none_measured("none", dict.fromkeys(names, reason), "name others", subject)
    assert str(told) == f"none (features, neurons, random: {reason})"
    told = none_measured("none", {"planted": "no direction", "random": reason}, "name others")
    assert str(told) == f"none (planted: no direction; random: {reason}); name others"
