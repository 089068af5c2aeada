import json
import pathlib
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from support.fabricate import add_scores
from support.tiny_subject import NOUNS

from autointerp import Job, harvest
from autointerp.engine.work import RatingPolicy
from autointerp.errors import BadInput, UnknownName
from autointerp.findings.comparison import compare
from autointerp.findings.cover import covers_of
from autointerp.pipeline import cover as verb
from autointerp.pipeline.cover import StopAsking, as_text, cover, forecast_cover
from autointerp.pipeline.events import Harvesting
from autointerp.pipeline.plan import write_plan
from autointerp.pipeline.report import report
from autointerp.questions.cover import COVER
from autointerp.questions.explain import EXPLAIN
from autointerp.raters import RaterOptions
from autointerp.raters.scripted import Scripted
from autointerp.records import Reply
from autointerp.settings import load_settings
from autointerp.store.run import open_run
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.load import load_subject
from autointerp.subjects.one_layer import OneLayerConfig, OneLayerTransformer, load_one_layer
from autointerp.units.stream import site_batches

PLANTED = NOUNS[:8]  # each has a feature that fires on it
NOT_PLANTED = ["times", "The", "under", "ocean"]


class ReadsFocus(Scripted):
    """A judge that says yes where most of the marked tokens are the concept."""

    is_llm = True

    def __init__(self):
        super().__init__("model:focus", [{}])
        self.asked = []

    async def send(self, request):
        item = request.body["item"]
        if item["rubric"] != COVER.id:
            return Reply(json.dumps({"rationale": "", "description": "a word"}))
        self.asked.append(request.item)
        marked = [c["tokens"][c["focus"]].strip() for c in item["contexts"]]
        concept = item["descriptions"][0]
        share = np.mean([token == concept for token in marked]) if marked else 0
        return Reply(json.dumps({"rationale": "", "score": int(share > 0.5)}))


@pytest.fixture(scope="module")
def planted(tiny_subject, tmp_path_factory):
    """A folder of runs: `main` holds 12 of 40 features, of which the first 8 fire on a noun each.

    The model is wide enough to tell tokens apart. Encoders are ridge regressions of "this token" on
    its neurons, with a threshold that leaves out nearly all other tokens.
    """
    folder = tmp_path_factory.mktemp("planted")
    generator = torch.Generator().manual_seed(0)
    vocabulary = load_one_layer(tiny_subject / "transformer.safetensors").config.vocabulary
    model = OneLayerTransformer(
        OneLayerConfig(vocabulary, d_model=64, heads=2, d_mlp=160, context=32)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn / parameter.shape[1] ** 0.5)
    model.save(folder / "transformer.safetensors")
    settings = (tiny_subject / "autointerp.toml").read_text()
    for part in ("tokenizer.json", "corpus.npz"):
        settings = settings.replace(f'"{part}"', f'"{tiny_subject / part}"')
    (folder / "autointerp.toml").write_text(settings.replace('sae = "sae.safetensors"', ""))
    loaded = load_settings(str(folder / "autointerp.toml"), 0)
    subject = load_subject(loaded.subject)
    x, ids = [], []
    with torch.inference_mode():
        for batch, _, _ in site_batches(subject, loaded.harvest, 0):
            x.append(batch.activations[batch.kept])
            ids.append(batch.ids[batch.kept])
    x, ids = torch.cat(x).double(), torch.cat(ids)
    width = x.shape[1]
    columns, bias = [], []
    design = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    gram = design.T @ design + 1e-6 * torch.eye(width + 1, dtype=torch.float64)
    for noun in PLANTED:
        (token,) = subject.tokenise([f" {noun}"])[0]
        beta = torch.linalg.solve(gram, design.T @ (ids == token).double())
        values = design @ beta
        others = values[ids != token]
        threshold = max(float(others.quantile(0.999)), 0.0)
        columns.append(100 * beta[:width])  # stronger than the others where it fires
        bias.append(100 * (beta[width] - threshold))
    for _ in range(32):
        direction = torch.randn(width, generator=generator, dtype=torch.float64)
        columns.append(direction)
        bias.append(-(x @ direction).quantile(0.98))
    W_enc = torch.stack(columns, dim=1).float()
    SparseAutoencoder(
        W_enc, torch.stack([torch.as_tensor(b) for b in bias]).float(),
        W_enc.T.contiguous() / W_enc.norm(dim=0)[:, None], torch.zeros(width),
    ).save(folder / "sae.safetensors")  # fmt: skip
    (folder / "autointerp.toml").write_text(settings)
    harvest(Job(sources=("features",), n=12, run="main", subject=str(folder / "autointerp.toml"),
                controls=0, runs=folder / "runs"))  # fmt: skip
    lines = [f"{noun}: The old {noun} | He saw the {noun} in the garden" for noun in PLANTED]
    (folder / "concepts.txt").write_text(
        "# nouns of the tiny corpus, and words without a feature\n\n"
        + "\n".join([*lines, *(f"{word}: {word}" for word in NOT_PLANTED)])
    )
    return folder


@pytest.fixture(scope="module")
def covered(planted):
    """What the judge says of the concepts, the events, and the judge."""
    judge, events = ReadsFocus(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "judge_of_concepts", lambda resolved: judge)
        made = cover(planted / "concepts.txt", Job(run="main", runs=planted / "runs"),
                     out=planted / "page", on=events.append)  # fmt: skip
    return made, events, judge


def test_concepts_with_a_feature_are_covered_by_it_and_others_are_not(covered):
    found = covered[0].cover
    covered_ones = [one.name for one in found.concepts if one.covered()]
    # A random direction may happen to be about a frequent word, as `times`; none is about this.
    assert covered_ones[: len(PLANTED)] == PLANTED
    assert found.concepts[-1].name == "ocean"
    assert found.concepts[-1].covered() is False
    for number, concept in enumerate(found.concepts[: len(PLANTED)]):
        about = [one.unit.index for one in concept.of("strongest") if one.is_main]
        assert number in about
    assert found.coverage.value == pytest.approx(len(covered_ones) / 12)


def test_random_units_are_judged_in_the_same_queue_and_are_about_nothing(covered):
    found, _, judge = covered[0].cover, *covered[1:]
    assert all(len(one.of("random")) == 5 for one in found.concepts)
    assert found.yes["random"].value < 0.1
    assert found.control.value < found.coverage.value
    # A unit that is held against a concept has one item, whatever it was chosen for.
    assert len(judge.asked) == len(set(judge.asked))
    for concept in found.concepts:
        strongest = {one.unit for one in concept.of("strongest")}
        assert not strongest & {one.unit for one in concept.of("random")}


def test_the_strongest_are_those_of_the_largest_mean_activation_at_the_concept(covered):
    for concept in covered[0].cover.concepts:
        activations = [one.activation for one in concept.of("strongest")]
        assert activations == sorted(activations, reverse=True)
        assert all(one > 0 for one in activations)
        assert len(activations) <= 5


def test_units_outside_the_sample_are_harvested_beside_it_and_described(planted, covered):
    found, events = covered[0].cover, covered[1]
    with open_run("main", folder=planted / "runs", read_only=True) as run:
        sample = run.rows("SELECT idx FROM unit WHERE outcome = 'eligible'")
        aside = run.rows("SELECT idx FROM aside")
        assert not set(sample) & set(aside)
        # The sample is the beginning of its random order, as it was.
        orders = run.rows("SELECT ord FROM unit WHERE source = 'features' ORDER BY ord")
        assert orders == [(place,) for place in range(len(orders))]
        contexts = run.asides("features")
    assert aside
    assert any(isinstance(event, Harvesting) and "by name" in event.label for event in events)
    for unit, (peak, of_unit) in contexts.items():
        if of_unit:
            strengths = [context.activation for context in of_unit]
            assert max(strengths) <= peak * (1 + 1e-6)
            said = {
                one.description for concept in found.concepts for one in concept.units
                if one.unit == unit
            }  # fmt: skip
            assert said <= {"a word"}


def test_occurrences_are_counted_as_whole_words_in_the_text_that_was_read(planted, covered):
    loaded = load_settings(str(planted / "autointerp.toml"), 0)
    subject = load_subject(loaded.subject)
    text, tokens = "", 0
    for windows in subject.cut(32, 8):
        for row, attention in zip(windows.ids, windows.attention, strict=True):
            ids = [i for i in row[attention].tolist() if i not in subject.special]
            text += "".join(subject.token_texts[i] for i in ids).lower() + "\n"
            tokens += len(ids)
    found = covered[0].cover
    assert found.tokens == tokens
    for concept in found.concepts:
        assert concept.occurrences == len(re.findall(rf"\b{concept.name.lower()}\b", text))
    assert found.concepts[-1].occurrences == 0  # ocean


def test_the_same_is_not_asked_again_and_its_rows_are_replaced(planted, covered, monkeypatch):
    judge, events = ReadsFocus(), []
    monkeypatch.setattr(verb, "judge_of_concepts", lambda resolved: judge)
    again = cover(planted / "concepts.txt", Job(run="main", runs=planted / "runs"), page=False,
                  on=events.append)  # fmt: skip
    assert judge.asked == []
    assert not any(isinstance(event, Harvesting) for event in events)
    assert again.cover.as_json() == covered[0].cover.as_json()
    with open_run("main", folder=planted / "runs", read_only=True) as run:
        ((rows, concepts),) = run.rows("SELECT count(*), count(DISTINCT concept) FROM cover")
    assert rows == sum(len(one.units) for one in again.cover.concepts)
    assert concepts == 12


def test_the_run_s_report_and_json_hold_what_was_found(planted, covered, tmp_path):
    shutil.copytree(planted / "runs", tmp_path / "runs")
    with open_run("main", folder=tmp_path / "runs") as run:
        held = next(one for one in covers_of(run) if one.rater == "model:focus")
        add_scores(run, "features", "model:a", [1, 1, 1, 1, 1])
        fields = next(
            one for one in compare(run).as_json()["covers"] if one["rater"] == "model:focus"
        )
    found = covered[0].cover
    assert sorted(held.concepts, key=str) == sorted(found.concepts, key=str)
    assert (held.coverage, held.control, held.yes) == (found.coverage, found.control, found.yes)
    assert held.tokens == found.tokens
    assert fields["coverage"]["value"] == found.coverage.value
    report("main", tmp_path / "page", folder=tmp_path / "runs")
    assert "Coverage of concepts" in (tmp_path / "page" / "index.html").read_text()
    table = pd.read_csv(tmp_path / "page" / "tables" / "coverage.csv")
    assert found.coverage.value in table.covered.tolist()


def test_concepts_on_which_no_unit_fires_count_as_not_covered_when_read_again(own_runs):
    unit = {
        "concept": "king", "kind": "strongest", "place": 1, "idx": 0, "sign": 1, "activation": 1.0,
        "description": None, "status": "ok", "is_main": True, "occurrences": 3, "tokens": 100,
    }  # fmt: skip
    asked = [
        {"concept": name, "prompts": [name], "occurrences": 3, "tokens": 100}
        for name in ("king", "zebra")
    ]
    with open_run("tiny", folder=own_runs) as run:
        run.replace_cover("features", "model:a", asked, [unit])
        (held,) = covers_of(run)
    assert [one.covered() for one in held.concepts] == [True, False]
    assert held.coverage.value == 0.5  # 1 of 2, not 1 of the 1 that has units


def test_answers_about_concepts_are_no_ratings_of_units(planted, covered):
    with open_run("main", folder=planted / "runs", read_only=True) as run:
        assert run.rows("SELECT count(*) FROM unit_rating") == [(0,)]
        assert run.rows("SELECT count(*) FROM explanation") == [(0,)]
        comparison = compare(run)
    assert comparison.scores.empty
    assert comparison.judgements == ()
    assert [one.source for one in comparison.covers] == ["features"]


def test_a_person_s_answers_are_kept_and_taken_up_where_they_ended(planted):
    asked = []

    def first_three(item):
        if len(asked) == 3:
            raise StopAsking
        asked.append(item)
        return [True, False, None][len(asked) - 1]

    job = Job(run="main", rater="human:ann", runs=planted / "runs")
    made = cover(planted / "concepts.txt", job, page=False, ask=first_three)
    units = [one for concept in made.cover.concepts for one in concept.units]
    assert {one.status for one in units} == {"ok", "skipped", "missing"}
    assert all(item.contexts and item.descriptions for item in asked)

    def rest(item):
        assert item.id not in {one.id for one in asked}
        return False

    made = cover(planted / "concepts.txt", job, page=False, ask=rest)
    assert made.cover.rater == "human:ann"
    assert {one.status for c in made.cover.concepts for one in c.units} == {"ok", "skipped"}


def test_a_budget_that_ends_it_is_named(planted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (planted / "one.txt").write_text("cat: The old cat")
    events = []
    options = RaterOptions(price_in=1.0, price_out=4.0)
    job = Job(run="main", rater="openai:never-asked", runs=planted / "runs", options=options,
              policy=RatingPolicy(budget_usd=0.0))  # fmt: skip
    cover(planted / "one.txt", job, page=False, on=events.append)
    said = [str(event) for event in events]
    assert any("could exceed the budget of $0.00" in text for text in said)


def test_intervals_of_the_page_follow_the_level_of_the_runs_plan(planted, tmp_path):
    runs = shutil.copytree(planted / "runs", tmp_path / "runs")
    write_plan(Job(n=4, run="main", runs=runs), alpha=0.01)
    (tmp_path / "one.txt").write_text("cat: The old cat")
    job = Job(run="main", rater="scripted:1", runs=runs)
    made = cover(tmp_path / "one.txt", job, units=1, random=1, out=tmp_path / "page")
    found = made.cover
    assert {found.coverage.level, found.yes["random"].level, found.curve.slope.level} == {0.99}
    page = made.page.read_text()
    assert "Shares with 99 % intervals" in page
    assert "95 %" not in page


def test_a_page_without_answers_says_so_and_draws_no_empty_axes(planted, tmp_path):
    def stop(item):
        raise StopAsking

    job = Job(run="main", rater="human:ben", runs=planted / "runs")
    (tmp_path / "one.txt").write_text("cat: The old cat")  # on which units fire
    made = cover(tmp_path / "one.txt", job, out=tmp_path / "page", ask=stop)
    assert "Nothing is answered yet." in re.sub("</?span[^>]*>", "", made.page.read_text())
    assert not list((tmp_path / "page" / "figures").iterdir())


def test_the_page_its_tables_and_the_lines_say_what_is_covered(planted, covered):
    made = covered[0]
    folder = made.page.parent
    page = re.sub("</?span[^>]*>", "", made.page.read_text())
    assert f"{100 * made.cover.coverage.value:.0f} % of 12 are covered" in page
    assert "tells all answers apart" in page or "log odds" in page
    assert (folder / "figures" / "coverage_by_frequency.svg").exists()
    table = pd.read_csv(folder / "tables" / "judgements.csv")
    assert set(table.kind) == {"strongest", "random"}
    assert len(table) == sum(len(one.units) for one in made.cover.concepts)
    text = as_text(made.cover)
    assert f"{PLANTED[0]}: covered by features/" in text
    assert "ocean: not covered" in text
    assert f"12 concepts, covered {made.cover.coverage}" in text
    json.dumps(made.cover.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no concepts"),
        ("# only a comment\n", "holds no concepts"),
        ("king\n: The king", "line 2: no name"),
        ("king: The king | ", "line 1: an empty prompt"),
        ("king:", "line 1: an empty prompt"),
        ("king\nKing: x", "line 2: 'King' stands twice"),
    ],
)
def test_a_file_that_is_no_list_of_concepts_is_refused_with_its_line(planted, tmp_path, text, said):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(BadInput, match=said):
        cover(tmp_path / "c.txt", Job(run="main", runs=planted / "runs"), page=False)


def test_raters_that_read_no_concept_and_sources_that_are_none_are_refused(planted):
    job = Job(run="main", runs=planted / "runs", rater="lexical")
    with pytest.raises(BadInput, match="reads no concept"):
        cover(planted / "concepts.txt", job, page=False)
    with pytest.raises(BadInput, match="in the terminal alone"):
        cover(planted / "concepts.txt", Job(run="main", runs=planted / "runs", rater="human:a"))
    judged = Job(run="main", runs=planted / "runs", rater="scripted:1")
    with pytest.raises(BadInput, match="units of shuffled do not fire by the text"):
        cover(planted / "concepts.txt", judged, "shuffled", page=False)
    with pytest.raises(UnknownName, match="featurs"):
        cover(planted / "concepts.txt", job, "featurs")
    with pytest.raises(BadInput, match="--units 0"):
        cover(planted / "concepts.txt", job, units=0)
    with pytest.raises(BadInput, match=r"no\.txt: No such file"):
        cover(planted / "no.txt", job)


def test_a_concept_on_an_attention_sink_is_refused(planted, tmp_path, monkeypatch):
    read = verb.subject_again

    def without_bos(*of):
        return replace(read(*of), bos=None, begins_with_bos=False)

    monkeypatch.setattr(verb, "subject_again", without_bos)
    (tmp_path / "c.txt").write_text("The")
    judged = Job(run="main", runs=planted / "runs", rater="scripted:1")
    with pytest.raises(BadInput, match="'The': its token is the first of the prompt 'The'"):
        cover(tmp_path / "c.txt", judged, page=False)


def test_a_judge_that_always_says_yes_is_shown_up_by_the_random_units(planted, command_line):
    arguments = ["--run", "main", "--rater", "scripted:1", "--units", 2, "--random", 2]
    (planted / "few.txt").write_text("cat: The old cat\nocean")
    (pathlib.Path.cwd() / "runs").symlink_to(planted / "runs")
    result = command_line("cover", planted / "few.txt", *arguments, "-o", planted / "few")
    assert result.code == 0, result.err
    assert "covered 1.00" in result.out
    assert "by random units 1.00" in result.out
    printed = command_line("cover", planted / "few.txt", *arguments, "--json")
    told = json.loads(printed.out)
    assert told["control"]["value"] == 1
    assert [one["concept"] for one in told["concepts"]] == ["cat", "ocean"]


def test_the_forecast_is_what_is_asked_then_and_nothing_once_all_is_answered(planted):
    (planted / "two.txt").write_text("cat: The old cat\nocean")
    job = Job(run="main", rater="scripted:0", runs=planted / "runs")
    before = forecast_cover(planted / "two.txt", job, units=3, random=2)
    made = cover(planted / "two.txt", job, units=3, random=2, page=False).cover
    pairs = {(one.name, unit.unit) for one in made.concepts for unit in one.units}
    assert before.judge.calls == len(pairs) > 4
    with open_run("main", folder=planted / "runs", read_only=True) as run:
        asked = dict(
            run.rows(
                "SELECT rubric_digest, count(*) FROM rating WHERE rater = 'scripted:0' GROUP BY ALL"
            )
        )
    assert before.describe is not None
    assert [before.describe.calls, before.judge.calls] == [
        asked[EXPLAIN.digest], asked[COVER.digest],
    ]  # fmt: skip
    after = forecast_cover(planted / "two.txt", job, units=3, random=2)
    assert (after.describe.calls, after.judge.calls, after.harvested) == (0, 0, 0)
    assert "nothing, all was answered before" in str(after)


def test_a_dry_run_gives_the_price_without_a_key_and_asks_nobody(
    planted, command_line, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (planted / "one.txt").write_text("cat: The old cat")
    (pathlib.Path.cwd() / "runs").symlink_to(planted / "runs")
    price = ["--price-in", 1, "--price-out", 4, "--dry-run"]
    asking = ["cover", planted / "one.txt", "--rater", "openai:m", *price]
    said = command_line(*asking)
    assert said.code == 0, said.err
    assert "openai:m would be asked about 1 concept" in said.err
    told = json.loads(command_line(*asking, "--json").out)
    parts = [told["describe"], told["judge"]]
    # Dollars for a million tokens: 1 in, 4 out.
    cost = sum(one["tokens_in"] + 4 * one["tokens_out"] for one in parts) / 1e6
    assert told["cost_usd"] == pytest.approx(cost)
    assert cost > 0
    with open_run("main", folder=planted / "runs", read_only=True) as run:
        assert run.rows("SELECT count(*) FROM call WHERE rater = 'openai:m'") == [(0,)]
    person = command_line("cover", planted / "one.txt", "--rater", "human:cy", "--dry-run")
    assert "human:cy would be asked about 1 concept" in person.err


def test_a_person_answers_in_the_terminal(planted, command_line, monkeypatch):
    (pathlib.Path.cwd() / "runs").symlink_to(planted / "runs")
    (planted / "one.txt").write_text("cat: The old cat")
    answers = iter(["what?", "y", "n", "s", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    result = command_line("cover", planted / "one.txt", "--rater", "human:bea", "--json")
    assert result.code == 0, result.err
    assert "concept: cat" in result.err
    units = json.loads(result.out)["concepts"][0]["units"]
    assert sorted({one["status"] for one in units}) == ["missing", "ok", "skipped"]
