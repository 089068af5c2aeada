import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import fabricate_run

from autointerp.errors import ExchangeError
from autointerp.exchange import ImportOptions
from autointerp.exchange.neuronpedia import read, recognises, write

ROW: dict[str, Any] = {
    "id": "x",
    "modelId": "gpt2-small",
    "layer": "6-res-jb",
    "index": "12",
    "tokens": ["▁the", "▁cat", "▁sat"],
    "values": [0.0, 3.5, -0.25],
    "maxValue": 3.5,
    "maxValueTokenIndex": 1,
}


def batch(folder: Path, kind: str, rows: list[Any], number: int = 0) -> Path:
    path = folder / kind / f"batch-{number}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_units_have_their_contexts_density_peak_and_explanation(tmp_path: Path):
    silent = {**ROW, "values": [0, 0, 0]}
    other = {**ROW, "index": 13}
    batch(tmp_path, "activations", [ROW, other, silent])
    fact = {"layer": "6-res-jb", "index": "12", "frac_nonzero": 0.01, "maxActApprox": 9.0}
    batch(tmp_path, "features", [fact, {**fact, "index": "13", "frac_nonzero": 0}])
    said = {"layer": "6-res-jb", "index": "12", "description": "cats", "explanationModelName": "m"}
    batch(tmp_path, "explanations", [said, {**said, "description": "pets"}])
    twelve, thirteen = read(tmp_path, ImportOptions())
    assert (twelve.source, twelve.name) == ("6-res-jb", "12")
    assert [c.activations for c in twelve.contexts] == [(0, 3.5, 0), (0, 0, 0)]
    assert twelve.contexts[0].tokens == (" the", " cat", " sat")
    assert [c.focus for c in twelve.contexts] == [1, 1]
    assert (twelve.density, twelve.peak) == (0.01, 9.0)
    assert twelve.note == "Neuronpedia: 'cats' (m)"
    assert thirteen.density is None  # 0 is what the exporter writes where it does not know
    assert thirteen.note == ""


def test_texts_are_cut_round_the_token_that_they_were_chosen_for(tmp_path: Path):
    tokens = [f"t{n}" for n in range(40)]
    values = [1.0 if n in (20, 30) else 0.0 for n in range(40)]
    named = {**ROW, "tokens": tokens, "values": values, "qualifyingTokenIndex": 30}
    del named["maxValueTokenIndex"]
    unnamed = {**named, "qualifyingTokenIndex": None}
    (unit,) = read(batch(tmp_path, "activations", [named, unnamed]), ImportOptions())
    # 10 on either side, as far as the text goes
    assert unit.contexts[0].tokens == tuple(tokens[20:40])
    assert unit.contexts[1].tokens == tuple(tokens[10:31])
    (unit,) = read(tmp_path, ImportOptions(each_side=2))
    assert unit.contexts[0].tokens == tuple(tokens[28:33])


def test_several_sources_of_a_model_and_several_batches_are_read(tmp_path: Path):
    batch(tmp_path / "6-res-jb", "activations", [ROW])
    batch(tmp_path / "6-res-jb", "activations", [{**ROW, "index": "1024"}], number=1)
    batch(tmp_path / "7-res-jb", "activations", [{**ROW, "layer": "7-res-jb"}])
    assert [(unit.source, unit.name) for unit in read(tmp_path, ImportOptions())] == [
        ("6-res-jb", "12"),
        ("6-res-jb", "1024"),
        ("7-res-jb", "12"),
    ]
    with pytest.raises(ExchangeError, match="has 6-res-jb and 7-res-jb"):
        list(read(tmp_path, ImportOptions(source="one")))


def test_folder_and_file_are_recognised_zipped_or_not(tmp_path: Path):
    zipped = batch(tmp_path / "a", "activations", [ROW])
    plain = tmp_path / "rows.jsonl"
    plain.write_text(json.dumps(ROW) + "\n")
    assert all(map(recognises, (tmp_path / "a", zipped, zipped.parent, plain)))
    (tmp_path / "other.jsonl").write_text('{"text": "a document"}\n')
    (tmp_path / "cut.gz").write_bytes(zipped.read_bytes()[:20])
    (tmp_path / "empty").mkdir()
    others = ("empty", "other.jsonl", "cut.gz", "none")
    assert not any(recognises(tmp_path / name) for name in others)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, "{"], "line 2: not JSON"),
        ([ROW, "[1]"], "line 2: not a JSON object"),
        ([without("tokens")], "line 1: no tokens"),
        ([without("values")], "line 1: no values"),
        ([without("layer")], "line 1: layer None; it must be a text"),
        ([without("index")], "line 1: index None; it must be a whole number"),
        ([{**ROW, "index": "a"}], "line 1: index 'a'; it must be a whole number"),
        ([{**ROW, "values": [0.0]}], "line 1: 3 tokens and 1 activations"),
        ([{**ROW, "tokens": [], "values": []}], "line 1: 0 tokens"),
        ([{**ROW, "tokens": [1, 2, 3]}], "line 1: tokens must be a list of texts"),
        ([{**ROW, "values": [0, None, 1]}], "line 1: activations must be a list of finite numbers"),
        ([{**ROW, "values": [0, float("nan"), 1]}], "line 1: activations must be a list of finite"),
        ([{**ROW, "values": "high"}], "line 1: activations must be a list of finite numbers"),
        ([{**ROW, "qualifyingTokenIndex": 3}], "line 1: qualifyingTokenIndex 3 of 3 tokens"),
        ([], "has no activations"),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_its_line(
    tmp_path: Path, rows: list[Any], message: str
):
    batch(tmp_path, "activations", rows)
    with pytest.raises(ExchangeError) as refused:
        list(read(tmp_path, ImportOptions()))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_unit_in_two_batches_is_refused(tmp_path: Path):
    batch(tmp_path, "activations", [ROW])
    batch(tmp_path, "activations", [ROW], number=1)
    with pytest.raises(ExchangeError, match="unit 6-res-jb/12 was in an earlier batch"):
        list(read(tmp_path, ImportOptions()))


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path):
    path = batch(tmp_path, "activations", [{**ROW, "id": str(n)} for n in range(2000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ExchangeError, match=r"batch-0\.jsonl\.gz, (after line \d+: can|line)"):
        list(read(tmp_path, ImportOptions()))


def test_a_folder_without_batches_is_refused(tmp_path: Path):
    with pytest.raises(ExchangeError, match="holds no activations/batch-N"):
        list(read(tmp_path, ImportOptions()))


@pytest.mark.parametrize("others", [("a b", "a/b", "A_b"), ("x", "x-negative")])
def test_sources_whose_names_look_alike_go_out_and_come_back_whole(
    tmp_path: Path, others: tuple[str, ...]
):
    with fabricate_run(tmp_path, dict.fromkeys(others, 3)) as run:
        if others[0] == "x":  # the negative half of x must not be taken for x-negative
            run.execute("UPDATE unit SET sign = -1 WHERE source = 'x'")
        written = write(run, tmp_path / "out")
        held = run.rows("SELECT count(*) FROM context")[0][0]
    came = [
        unit for folder in (tmp_path / "out").iterdir() for unit in read(folder, ImportOptions())
    ]
    assert written == held == sum(len(unit.contexts) for unit in came)
    assert len({(unit.source, unit.name) for unit in came}) == 3 * len(others)
