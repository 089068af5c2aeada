from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.loopback.server import Fault, LoopbackServer

from autointerp.pipeline.events import RunOpened
from autointerp.store.run import open_run
from autointerp.subjects.windows import TokenisedDocuments, load_documents

KEY = "sk-0123456789abcdefgh"


@pytest.fixture
def rate(own_runs: Path, command_line: Any, tiny_settings: Path, tiny_run_name: str) -> Any:
    """Call `rate` on the tiny run, whose 28 items are harvested and rated by scripted:4."""

    def call(*arguments: object) -> Any:
        of_it = ("--run", tiny_run_name, "--subject", tiny_settings, "--n", 8, "--controls", 4)
        return command_line("rate", "-s", "features", "-s", "neurons", *of_it, *arguments)

    return call


def test_a_dry_run_says_calls_tokens_and_cost_and_asks_nobody(rate: Any) -> None:
    told = rate("--rater", "openai:gpt-4o-mini", "--dry-run", "--repeats", 2)
    assert told.code == 0
    assert "56 calls, about" in told.err
    assert "tokens in" in told.err
    assert "$0.0" in told.err
    assert "list of 2026" in told.err


@pytest.mark.parametrize("option", ["--mix", "--planned", "--no-practice", "--overlap=2"])
def test_options_of_a_person_s_sitting_are_refused_for_a_model(
    command_line: Any, option: str
) -> None:
    result = command_line("rate", option)
    assert result.code == 2
    assert f"{option.partition('=')[0]}: for people, and lexical is none" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-url", "http://127.0.0.1:9/v1"], "--base-url: lexical has no use for it;"),
        (["--effort", "high", "--timeout", 9], "--timeout, --effort: lexical has no use for them;"),
        (["--rater", "human:ann", "--structured", "tool"], "--structured: human:ann has no use"),
        (["--rater", "human:ann", "--budget-usd", 1], "--budget-usd: human:ann is a person;"),
        (["--rater", "human:ann", "--batch"], "--batch: human:ann is a person;"),
        (["--contexts", 9], "--contexts: for rubrics about descriptions, and 'interpretability-1"),
        (["--explainer", "lexical"], "--explainer: for rubrics about descriptions"),
    ],
)
def test_options_that_a_rating_has_no_use_for_are_refused(
    command_line: Any, arguments: list[object], words: str
) -> None:
    for dry in ((), ("--dry-run",)):
        result = command_line("rate", *arguments, *dry)
        assert (result.code, words in " ".join(result.err.split())) == (2, True), result.err
    assert not Path("runs").exists()


def test_a_dry_run_counts_what_was_answered_of_the_units_that_are_asked_for(
    own_runs: Path, command_line: Any, tiny_settings: Path, tiny_run_name: str
) -> None:
    """The tiny run holds ratings of 8 features, 8 neurons and 12 controls by scripted:4."""
    of_it = ("--run", tiny_run_name, "--subject", tiny_settings, "--rater", "scripted:4")
    for asked, left, items in (
        (("-s", "features", "-s", "neurons", "--n", 8, "--controls", 4), 0, 28),
        (("-s", "random", "--n", 10, "--controls", 0), 6, 10),
        (("-s", "features", "--n", 9, "--controls", 4), 1, 21),
        (("-s", "features", "--n", 5, "--controls", 0, "--repeats", 2), 5, 10),
    ):
        told = command_line("rate", *of_it, *asked, "--dry-run")
        assert f"would ask scripted:4 about {left} of {items} items" in told.err, told.err
    for sent, left in (("", 1), (", call_key = 'never sent'", 0)):  # it shows nothing
        with open_run(tiny_run_name, folder=own_runs) as run:
            run.execute(
                f"UPDATE rating SET status = 'failed', score = NULL{sent} WHERE item_id ="
                " (SELECT min(item_id) FROM unit_rating WHERE source = 'features')"
            )
        told = command_line(
            "rate", *of_it, "-s", "features", "--n", 8, "--controls", 0, "--dry-run"
        )
        assert f"would ask scripted:4 about {left} of 8 items" in told.err, told.err


def test_a_dry_run_as_json_has_the_listed_price_and_its_day(rate: Any) -> None:
    told = rate("--rater", "openai:gpt-4o-mini", "--dry-run", "--json")
    assert told.code == 0, told.err
    estimate = json.loads(told.out)["estimate"]
    assert estimate["calls"] == 28
    assert estimate["price"]["as_of"].startswith("2026-")


def test_a_dry_run_goes_by_the_replies_that_the_run_holds(
    rate: Any, server: LoopbackServer, own_runs: Path, tiny_run_name: str
) -> None:
    asked = ("--rater", "openai:m", "--base-url", server.openai_url)
    assert rate(*asked).code == 0
    told = json.loads(rate(*asked, "--repeats", 2, "--dry-run", "--json").out)["estimate"]
    with open_run(tiny_run_name, folder=own_runs) as run:
        ((calls, spent),) = run.rows(
            "SELECT count(*), sum(tokens_out) FROM call WHERE tokens_out > 0"
        )
    assert (told["calls"], told["tokens_out"]) == (calls, spent)


def test_a_dry_run_counts_the_blinding_check_of_a_model(rate: Any, server: LoopbackServer) -> None:
    asked = ("--rater", "openai:m", "--base-url", server.openai_url, "--price-in", 1,
             "--price-out", 4, "--guess")  # fmt: skip
    told = json.loads(rate(*asked, "--dry-run", "--json").out)
    calls = [told[name]["calls"] for name in ("estimate", "guesses")]
    assert calls == [28, 28]
    text = " ".join(rate(*asked, "--dry-run").err.split())
    assert "would then ask what they are: 28 calls, about " in text
    assert rate(*asked).code == 0
    probed = len(server.completions) - 56
    assert 0 <= probed <= 3
    assert "would then ask what they are: 0 calls" in rate(*asked, "--dry-run").err
    assert "would then ask what they are: 2 calls," in rate(*asked, "--n", 9, "--dry-run").err
    refused = rate("--rater", "lexical", "--guess", "--dry-run")
    assert (refused.code, "no language model" in refused.err) == (2, True)


def test_a_dry_run_of_an_unknown_model_says_that_its_price_is(rate: Any) -> None:
    told = rate("--rater", "openai:my-model", "--base-url", "http://127.0.0.1:9/v1", "--dry-run")
    assert "price unknown" in told.err
    assert "$" not in told.err


def test_units_are_rated_by_a_server_and_not_twice(rate: Any, server: LoopbackServer) -> None:
    asked = ("--rater", "openai:m", "--base-url", server.openai_url)
    told = rate(*asked)
    assert told.code == 0
    assert "28 ok" in told.err
    assert len(server.completions) == 28
    assert "nothing new, 28 rated before" in rate(*asked).err
    assert len(server.completions) == 28


def test_a_budget_without_a_price_is_refused(rate: Any, server: LoopbackServer) -> None:
    told = rate("--rater", "openai:m", "--base-url", server.openai_url, "--budget-usd", 1)
    assert told.code == 2
    assert "--price-in" in told.err
    assert not server.calls


def test_a_budget_that_is_reached_is_said(rate: Any, server: LoopbackServer) -> None:
    prices = ("--price-in", 100, "--price-out", 100, "--max-output-tokens", 100)
    told = rate("--rater", "openai:m", "--base-url", server.openai_url, *prices, "--budget-usd", 1)
    assert told.code == 0
    assert "could exceed the budget of $1.00" in told.err
    assert 0 < len(server.completions) < 28


def test_why_items_failed_is_said(rate: Any, server: LoopbackServer) -> None:
    server.faults.append(Fault(status=400, body={"error": {"message": "no such thing"}}))
    told = rate("--rater", "openai:m9", "--base-url", server.openai_url, "--structured", "text")
    assert told.code == 0
    assert "1 failed, 27 ok" in " ".join(told.err.split())
    assert "most failed with: " in told.err
    assert "no such thing" in " ".join(told.err.split())


def test_a_batch_is_handed_over_waited_for_and_collected(
    rate: Any, server: LoopbackServer, command_line: Any, tiny_run_name: str
) -> None:
    server.batches_end = False
    asked = ("--rater", "anthropic:m", "--base-url", server.anthropic_url, "--price-in", 1,
             "--price-out", 1)  # fmt: skip
    assert "submitted 28 calls in 1 batch;" in rate(*asked, "--batch").err
    told = " ".join(rate(*asked).err.split())
    (name,) = server.batches
    collects = f"`autointerp rate --resume --run {tiny_run_name}` collects them"
    in_batches = rf"28 calls are in open batches \({name}; at most \$0\.\d+\): {collects}"
    assert re.search(in_batches, told)
    assert "rated before" not in told  # nobody has yet
    assert "handed over" not in rate(*asked, "--batch").err
    forecast = " ".join(rate(*asked, "--dry-run").err.split())
    assert "about 0 of 28 items" in forecast
    assert re.search(in_batches, forecast)
    assert not server.completions
    resume = ("rate", "--resume", "--run", tiny_run_name)
    assert "still open" in command_line(*resume).err
    server.batches_end = True
    assert re.search(r"collected 1 batch: 28 ok, \$0\.\d+", command_line(*resume).err)
    assert "nothing new, 28 rated before" in rate(*asked).err


def test_a_batch_that_its_provider_lost_is_named_and_can_be_given_up(
    rate: Any, server: LoopbackServer, command_line: Any, tiny_run_name: str
) -> None:
    asked = ("--rater", "anthropic:m", "--base-url", server.anthropic_url, "--price-in", 1,
             "--price-out", 1, "--batch")  # fmt: skip
    assert rate(*asked).code == 0
    (name,) = server.batches
    server.batches.clear()
    resume = ("rate", "--resume", "--run", tiny_run_name)
    lost = command_line(*resume)
    assert (lost.code, f"batch {name}: anthropic:m@" in lost.err) == (1, True)
    assert f"`autointerp rate --resume --run {tiny_run_name} --forget {name}`" in lost.err
    given_up = command_line(*resume, "--forget", name)
    assert given_up.code == 0
    text = " ".join(given_up.err.split())
    assert f"gave up batch {name} (anthropic:m@" in text
    assert "28 calls lost, charged at $" in text
    assert "submitted 28 calls in 1 batch;" in rate(*asked).err
    for wrong in (("rate", "--forget", name), (*resume, "--rater", "anthropic:m")):
        refused = command_line(*wrong)
        assert (refused.code, "--resume" in refused.err) == (2, True), refused.err


def test_no_key_is_in_any_file_of_the_run(
    rate: Any, server: LoopbackServer, own_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AUTOINTERP_KEY_127_0_0_1_{server.port}", KEY)
    server.headers = {"x-request-id": KEY}
    server.fault_for = lambda call: Fault(
        text=f'{{"rationale": "{KEY}", "description": "{KEY}", "score": 1}}'
    )
    told = rate("--rater", "openai:m", "--base-url", server.openai_url)
    assert told.code == 0
    assert KEY not in told.out + told.err
    assert any(KEY in str(call.headers) for call in server.calls)
    for path in own_runs.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_run_in_use_is_one_clear_line(
    rate: Any, own_runs: Path, tiny_run_name: str, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autointerp.store.run import open_run\n"
        f"with open_run({tiny_run_name!r}, folder=Path({str(own_runs)!r})): \n"
        "    print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    other.stdout.readline()
    told = rate("--rater", "scripted:5")
    other.communicate("")
    assert told.code == 1
    assert f"in use by process {other.pid}" in told.err
    assert "Traceback" not in told.err


def test_a_run_that_begins_is_said_and_the_one_that_may_be_meant(
    command_line: Any, own_runs: Path, tiny_settings: Path
) -> None:
    asked = ("-s", "planted", "--n", 2, "--controls", 0, "--subject", tiny_settings)
    rating = ("--rater", "scripted:truth", "--rubric", "specificity-0-3", "--contexts", 3)
    planned = command_line("rate", "--run", "tinny", *asked, *rating, "--dry-run")
    assert planned.code == 2
    assert "did you mean 'tiny'?" in planned.err
    assert not (own_runs / "tinny").exists()
    told = command_line("rate", "--run", "tinny", *asked, *rating)
    assert told.code == 0, told.err
    assert told.err.startswith(
        "new run 'tinny', subject transformer.safetensors; did you mean 'tiny', which exists?\n"
    )
    assert "new run" not in command_line("rate", "--run", "tinny", *asked, *rating).err
    for verb, name in (("harvest", "first"), ("rate", "other")):
        begun = command_line(verb, "--run", name, *asked)
        assert begun.err.startswith(f"new run '{name}', subject transformer.safetensors\n")


def test_a_new_run_of_the_embedded_subject_says_so_where_nobody_named_it(
    command_line: Any, tmp_path: Path
) -> None:
    """As after an import that was refused, which leaves nothing of its run."""
    table = tmp_path / "units.csv"
    table.write_text("unit,text\n")
    assert command_line("import", table, "--run", "mine").code == 2
    assert not Path("runs/mine").exists()
    asked = ("rate", "--run", "mine", "--dry-run")
    assert command_line(*asked).err.startswith(
        "new run 'mine', subject embedded, the small model that comes with autointerp, since "
        "nothing names another: would harvest 200 features"
    )
    named = command_line(*asked, "--subject", "embedded")
    assert named.err.startswith("new run 'mine', subject embedded: would harvest")
    sitting = command_line(*asked, "--rater", "human:ann").err
    assert "since nothing names another: would ask human:ann" in sitting
    begun = RunOpened("mine", "embedded", is_new=True, by_default=True)
    assert str(begun).endswith("autointerp, since nothing names another")


@pytest.mark.parametrize("command", ["rate", "harvest"])
def test_a_corpus_that_is_refused_leaves_no_run_behind(
    command: str, tiny_settings: Path, command_line: Any
) -> None:
    short = tiny_settings.with_name("short.toml")
    first = load_documents(tiny_settings.with_name("corpus.npz"))[0]
    TokenisedDocuments(first, np.array([0, len(first)])).save(short.with_suffix(".npz"))
    short.write_text(tiny_settings.read_text().replace("corpus.npz", "short.npz"))
    told = command_line(command, "-s", "features", "--run", "new", "--subject", short, "--n", 4)
    begun, refused = told.err.splitlines()
    assert (told.code, begun) == (2, "new run 'new', subject transformer.safetensors")
    assert "at least 2000 are needed" in refused
    assert not Path("runs/new").exists()


@pytest.mark.parametrize("rubric", ["interpretability-1-5", "specificity-0-3"])
def test_what_would_stop_the_rater_is_said_before_anything_is_harvested(
    rubric: str, tiny_settings: Path, command_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = ("rate", "-s", "features", "--run", "new", "--subject", tiny_settings, "--n", 4)
    asked += ("--rater", "openai:m", "--rubric", rubric)
    told = command_line(*asked)
    assert (told.code, told.err.count("\n")) == (1, 1)
    assert "openai:m needs a key: set OPENAI_API_KEY" in told.err
    told = command_line(*asked, "--budget-usd", 1)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "--budget-usd: no price is known for openai:m" in told.err
    assert not Path("runs/new").exists()


def test_a_look_at_the_first_tokens_is_said_to_be_one(
    command_line: Any, tiny_settings: Path, tmp_path: Path
) -> None:
    few = ("-s", "features", "--n", 3, "--controls", 0, "--rater", "scripted:4")
    began = ("rate", *few, "--subject", tiny_settings, "--run", "look", "--tokens", "4.5k")
    expected = command_line(*began, "--dry-run", "--json")
    assert json.loads(expected.out)["tokens"] == 4_500
    assert "3 features from the first 4,500 tokens of the corpus at most" in (
        command_line(*began, "--dry-run").err
    )
    assert not (tmp_path / "runs").exists()
    rated = command_line(*began)
    assert rated.code == 0, rated.err
    with open_run("look", folder=tmp_path / "runs", read_only=True) as run:
        assert run.settings.harvest.tokens == 4_500
        assert run.rows("SELECT DISTINCT tokens FROM unit") == [(4_500,)]
        harvested = json.loads((run.path / "log.jsonl").read_text().splitlines()[-2])
    assert (harvested["tokens"], harvested["corpus_goes_on"]) == (4_500, True)
    # A later command goes on with the run's own number, whether or not it names the subject.
    for subject in ((), ("--subject", tiny_settings)):
        again = command_line("rate", *few, "--run", "look", *subject)
        assert (again.code, "3 rated before" in again.err) == (0, True), again.err
        assert "run 'look' reads the first 4,500 tokens of the corpus at most" in again.err
    assert command_line(*began).code == 0
    for other, remedy in (("5k", "4,500 tokens"), ("0", "4,500 tokens")):
        for verb in ("rate", "harvest"):
            refused = command_line(verb, "--run", "look", "--tokens", other)
            assert refused.code == 2
            assert remedy in refused.err
            assert "leave --tokens out, or give another --run" in refused.err
    assert command_line("report", "look").code == 0
    page = (tmp_path / "reports" / "look" / "index.html").read_text("utf-8")
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "read: the first 4,500 tokens of the corpus" in text  # the subject's lines
    assert "Read were the first 4,500 tokens of the corpus, which has more" in text  # Method
    assert "Only the first 4,500 tokens of the corpus were read: densities" in text


def test_a_corpus_that_is_read_whole_is_not_said_to_be_cut(
    command_line: Any, tiny_settings: Path, tmp_path: Path
) -> None:
    few = ("-s", "features", "--n", 3, "--controls", 0, "--rater", "scripted:4")
    rated = command_line("rate", *few, "--subject", tiny_settings, "--tokens", "1M")
    assert rated.code == 0, rated.err
    assert command_line("report").code == 0
    page = (tmp_path / "reports" / "main" / "index.html").read_text("utf-8")
    assert "tokens of the corpus" not in page
    assert "tokens read" in page
    log = (tmp_path / "runs" / "main" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["corpus_goes_on"] for line in log if "corpus_goes_on" in line] == [
        False
    ]


def test_tokens_that_are_none_are_refused_before_anything_is_made(
    command_line: Any, tiny_settings: Path, tmp_path: Path
) -> None:
    for verb in (("rate",), ("harvest",), ("plan", "--write", "main")):
        refused = command_line(*verb, "--subject", tiny_settings, "--tokens", "lots")
        assert (refused.code, refused.err.count("--tokens lots")) == (2, 1)
        assert "such as 100k, 2M or 250000" in refused.err
    assert not (tmp_path / "runs").exists()
