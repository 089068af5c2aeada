import json

import pandas as pd
from support.tiny_subject import make_tiny_twin
from support.tiny_sweep import sweep_text, table


def test_a_sweep_with_an_untrained_twin_gives_page_csv_and_contrast(
    tiny_subject, tmp_path, command_line
):
    make_tiny_twin(tiny_subject, tmp_path / "untrained")
    sae = table("own", str(tiny_subject / "sae.safetensors")) + 'untrained = "untrained"\n'
    sae += 'recipe = "=1+1"\n'
    (tmp_path / "sweep.toml").write_text(
        sweep_text(tiny_subject, sae).replace("controls = 4", "controls = 0")
    )
    planned = command_line("sweep", "sweep.toml", "--dry-run", "--json")
    assert planned.code == 0, planned.err
    forecast = json.loads(planned.out)
    assert (forecast["twins"], forecast["items"], forecast["measured"]) == (1, 18, 1)
    made = command_line("sweep", "sweep.toml", "--csv", "table.csv", "-q")
    assert made.code == 0, made.err
    assert "features of tiny.own against untrained of tiny.own.untrained" in made.out
    assert "page: reports/sweep-tiny/index.html" in made.out
    assert (tmp_path / "reports" / "sweep-tiny" / "index.html").is_file()
    frame = pd.read_csv(tmp_path / "table.csv")
    assert frame.sae.tolist() == ["own"]
    assert frame.recipe.tolist() == ["'=1+1"]  # no formula of a spreadsheet
    assert 0 < frame.l0_low[0] < frame.l0[0] < frame.l0_high[0]
    again = command_line("sweep", "sweep.toml", "--no-rate", "--json")
    assert again.code == 0, again.err
    (result,) = json.loads(again.out)["results"]
    assert result["figures"]["l0"]["value"] == frame.l0[0]


def test_a_csv_that_cannot_stand_there_is_refused_before_anything_is_harvested(
    tiny_subject, tmp_path, command_line
):
    sae = table("own", str(tiny_subject / "sae.safetensors"))
    (tmp_path / "sweep.toml").write_text(sweep_text(tiny_subject, sae))
    for place, why in (("no/table.csv", "no folder no; make it first"), (".", "it is a folder")):
        result = command_line("sweep", "sweep.toml", "--csv", place)
        assert (result.code, why in result.err) == (2, True), result.err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_there_is_one_line(command_line):
    result = command_line("sweep", "nothing.toml")
    assert result.code == 2
    assert "nothing.toml" in result.err
    assert result.err.count("\n") <= 1


def test_a_report_of_what_was_never_made_says_what_makes_it(tiny_subject, tmp_path, command_line):
    sae = table("own", str(tiny_subject / "sae.safetensors"))
    (tmp_path / "sweep.toml").write_text(sweep_text(tiny_subject, sae))
    result = command_line("sweep", "sweep.toml", "--no-rate")
    assert result.code == 2
    assert "tiny" in result.err
    assert not (tmp_path / "runs" / "tiny.own").exists()


def test_a_sweep_and_a_forecast_of_an_sae_that_is_not_there_are_refused(
    tiny_subject, tmp_path, command_line
):
    (tmp_path / "sweep.toml").write_text(sweep_text(tiny_subject, table("own", "nothing")))
    for said in (("--dry-run",), ()):
        result = command_line("sweep", "sweep.toml", *said)
        assert result.code == 2
        assert "no SAE at nothing; train one with `autointerp train sae`" in result.err


def test_how_the_judge_of_a_sweep_is_reached_is_said_on_the_command_line(
    tiny_subject, tmp_path, command_line
):
    text = sweep_text(tiny_subject, table("own", str(tiny_subject / "sae.safetensors")))
    (tmp_path / "sweep.toml").write_text(text)
    address = ("sweep", "sweep.toml", "--dry-run", "--base-url", "http://127.0.0.1:9/v1")
    refused = command_line(*address)
    assert (refused.code, "--base-url: lexical has no use for it" in refused.err) == (2, True)
    (tmp_path / "sweep.toml").write_text(text.replace("lexical", "openai:m"))
    assert "openai:m@127.0.0.1:9" in command_line(*address).out


def test_a_plan_is_written_for_the_whole_sweep_by_its_file(tiny_subject, tmp_path, command_line):
    sae = table("own", str(tiny_subject / "sae.safetensors"))
    (tmp_path / "sweep.toml").write_text(sweep_text(tiny_subject, sae))
    written = command_line("plan", "--write", "sweep.toml", "--tokens", "3k", "--json")
    assert written.code == 0, written.err
    plan = json.loads(written.out)
    assert (plan["sweep"], plan["n"], plan["tokens"], plan["rater"]) == ("tiny", 6, 3000, "lexical")
    assert len(plan["digest"]) == 64
    said = command_line("plan", "--write", "sweep.toml", "--tokens", "3k")
    assert plan["digest"] in said.out
    assert "next: autointerp sweep sweep.toml" in said.out
    forecast = command_line("sweep", "sweep.toml", "--dry-run")
    assert "from the first 3,000 tokens" in forecast.out
    idle = command_line("plan", "--write", "sweep.toml", "--base-url", "http://h/v1")
    assert (idle.code, "--base-url: lexical has no use for it" in idle.err) == (2, True)
    text = (tmp_path / "sweep.toml").read_text().replace('"lexical"', '"openai:m"')
    (tmp_path / "served.toml").write_text(text.replace('"tiny"', '"served"'))
    served = command_line("plan", "--write", "served.toml", "--base-url", "http://127.0.0.1:9/v1")
    assert "openai:m@127.0.0.1:9 on" in served.out
    assert "next: autointerp sweep served.toml --base-url http://127.0.0.1:9/v1\n" in served.out
    for options in (["--rater", "scripted:4"], ["--n", "9"], ["--source", "features"],
                    ["--until-width", "0.1"], ["--repeats", "2"], ["--alpha", "0.01"],
                    ["--rater", "lexical", "--rater", "scripted:4"]):  # fmt: skip
        refused = command_line("plan", "--write", "sweep.toml", *options)
        assert (refused.code, options[0] in refused.err) == (2, True), refused.err
