import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import fabricate_run

from autointerp.errors import BadInput, ExchangeError
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
        ([{**ROW, "values": [0.0]}], "line 1: 3 tokens and 1 activation"),
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


# ------------------------------------------------------------------- as others write their exports


def numbered(index: int, **fields: Any) -> dict[str, Any]:
    return {**ROW, "index": str(index), **fields}


def test_features_and_explanations_are_joined_by_index_and_not_by_batch(tmp_path: Path):
    # The official exporter sorts activations by number, features as text, and fills files of
    # explanations by count: "10" stands before "2", and in another batch.
    count, per_file = 12, 4
    for number in range(0, count, per_file):
        rows = [numbered(index) for index in range(number, number + per_file)]
        batch(tmp_path, "activations", rows, number // per_file)
    as_text = sorted(range(count), key=str)
    for number in range(0, count, per_file):
        facts = [
            {"layer": "6-res-jb", "index": str(i), "frac_nonzero": (i + 1) / 100, "maxActApprox": 9}
            for i in as_text[number : number + per_file]
        ]
        batch(tmp_path, "features", facts, number // per_file)
    said = [
        {"layer": "6-res-jb", "index": str(i), "description": f"d{i}", "explanationModelName": "m"}
        for i in as_text
        for _ in range(2)
    ]
    for number in range(0, len(said), per_file):
        batch(tmp_path, "explanations", said[number : number + per_file], number // per_file)
    units = list(read(tmp_path, ImportOptions()))
    assert [unit.density for unit in units] == [(i + 1) / 100 for i in range(count)]
    assert [unit.note for unit in units] == [f"Neuronpedia: 'd{i}' (m)" for i in range(count)]
    assert {unit.peak for unit in units} == {9.0}


def test_tokens_are_read_as_their_vocabulary_writes_them(tmp_path: Path):
    raw = ["Ġthe", "Ġcat", "Ċ", "âĢĻ", "s", "Ġä»", "Ĭ", "<0x0A>"]
    batch(tmp_path, "activations", [{**ROW, "tokens": raw, "values": [0, 2, 0, 0, 0, 0, 1, 0]}])
    (unit,) = read(tmp_path, ImportOptions())
    (context,) = unit.contexts
    assert context.tokens == (" the", " cat", "\n", "’", "s", " 今", "", "\n")
    assert context.activations[6] == 1


@pytest.mark.parametrize(
    "tokens",
    [
        [" the", " café", " Ġ", "'s"],  # texts, of which one names the mark
        ["są", "ł", "ę", "?"],  # Polish without a space; its letters stand for no UTF-8
        ["今", "天", "Ġ", "x"],
    ],
)
def test_texts_that_only_look_so_stay(tmp_path: Path, tokens: list[str]):
    batch(tmp_path, "activations", [{**ROW, "tokens": tokens, "values": [0, 1, 0, 0]}])
    (unit,) = read(tmp_path, ImportOptions())
    assert list(unit.contexts[0].tokens) == tokens


def test_control_tokens_neither_fire_nor_are_shown_and_end_a_text(tmp_path: Path):
    words = [f" w{n}" for n in range(20)]
    tokens = ["<bos>", *words[:8], "<|endoftext|>", *words[8:]]
    values = [5000.0, *[0.0] * 5, 1.5, 0.0, 0.0, 700.0, *[0.0] * 12]
    row = {**ROW, "tokens": tokens, "values": values, "qualifyingTokenIndex": 0}
    batch(tmp_path, "activations", [row])
    fact = {"layer": "6-res-jb", "index": "12", "frac_nonzero": 0.5, "maxActApprox": 5000.0}
    batch(tmp_path, "features", [fact])
    (unit,) = read(tmp_path, ImportOptions())
    (context,) = unit.contexts
    assert context.tokens == tuple(words[:8])
    assert (context.focus, max(context.activations)) == (5, 1.5)
    assert unit.peak is None  # the file's is that of <bos>


def test_texts_of_control_tokens_alone_are_left_out(tmp_path: Path):
    row = {**ROW, "tokens": ["<bos>", "<eos>"], "values": [9.0, 0.0]}
    batch(tmp_path, "activations", [row, ROW])
    (unit,) = read(tmp_path, ImportOptions())
    assert len(unit.contexts) == 1


# --------------------------------------------------------------------------------------- export

# Columns of apps/webapp/prisma/schema.prisma in hijohnnylin/neuronpedia that are neither optional
# nor have a default, and others that it has: the importer writes what a line says, or fails.
REQUIRED = {
    "release.jsonl": {"name", "description", "urls", "creatorName", "creatorId"},
    "model.jsonl": {"id", "creatorId", "layers", "neuronsPerLayer", "owner"},
    "sourceset.jsonl": {"modelId", "name", "description", "creatorName", "urls", "creatorId"},
    "source.jsonl": {"id", "modelId", "setName", "creatorId"},
    "features": {"modelId", "layer", "index"},
    "activations": {
        "id", "tokens", "index", "layer", "modelId", "maxValue", "maxValueTokenIndex", "minValue",
        "values", "creatorId",
    },
    "explanations": {"id", "modelId", "layer", "index", "description", "authorId"},
    "explanation_type.jsonl": {"name", "displayName", "description", "creatorName", "creatorId"},
    "explanation_model_type.jsonl": {"name", "displayName", "description", "creatorName"},
}  # fmt: skip
OPTIONAL = {
    "release.jsonl": {"visibility", "isNewUi", "featured", "descriptionShort", "creatorNameShort"},
    "model.jsonl": {
        "displayNameShort", "displayName", "visibility", "instruct", "inferenceEnabled", "website",
    },
    "sourceset.jsonl": {"visibility", "type", "releaseName", "hasDashboards"},
    "source.jsonl": {"visibility", "hasDashboards", "inferenceEnabled", "dataset", "notes"},
    "features": {"sourceSetName", "creatorId", "maxActApprox", "frac_nonzero"},
    "activations": {
        "dataIndex", "dataSource", "dfaValues", "dfaTargetIndex", "dfaMaxValue", "lossValues",
        "logitContributions", "binMin", "binMax", "binContains", "qualifyingTokenIndex",
    },
    "explanations": {"typeName", "explanationModelName", "notes"},
    "explanation_type.jsonl": set(),
    "explanation_model_type.jsonl": set(),
}  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return [json.loads(line) for line in raw.split(b"\n") if line]


def test_an_export_has_every_file_and_column_of_neuronpedia_s_importer(
    truth_run: Path, tiny_run_name: str, tmp_path: Path
):
    from autointerp.exchange import neuronpedia
    from autointerp.store.run import open_run

    with open_run(tiny_run_name, folder=truth_run, read_only=True) as run:
        neuronpedia.write(run, tmp_path)
    kinds = {"features", "activations", "explanations"}
    checked = set()
    for path in sorted(tmp_path.rglob("*.jsonl*")):
        kind = path.parent.name if path.suffix == ".gz" else path.name
        for line in lines(path):
            assert REQUIRED[kind] <= line.keys() <= REQUIRED[kind] | OPTIONAL[kind]
            assert all(line[name] is not None for name in REQUIRED[kind])
        # The importer takes the first line's columns for all.
        assert len({tuple(line) for line in lines(path)}) == 1
        checked.add(kind)
    assert checked >= {"release.jsonl", "model.jsonl", "sourceset.jsonl", "source.jsonl", *kinds}
    # What a line refers to is there: models, sources, sets and kinds of explanation.
    config = tmp_path / "config"
    types = {line["name"] for line in lines(config / "explanation_type.jsonl")}
    models = {line["name"] for line in lines(config / "explanation_model_type.jsonl")}
    for source in tmp_path.iterdir():
        if source == config:
            continue
        (model,), (described,) = lines(source / "model.jsonl"), lines(source / "source.jsonl")
        (group,) = lines(source / "sourceset.jsonl")
        assert described["setName"] == group["name"]
        assert group["releaseName"] == lines(source / "release.jsonl")[0]["name"]
        for kind in kinds:
            for path in sorted((source / kind).glob("*.gz")):
                for line in lines(path):
                    assert line["modelId"] == model["id"] == described["modelId"]
                    assert line["layer"] == described["id"]
                    if kind == "explanations":
                        assert line["typeName"] in types
                        assert line["explanationModelName"] in models
                    if kind == "features":
                        assert line["sourceSetName"] == group["name"]


def test_folders_of_two_sources_never_are_the_same():
    from autointerp.exchange.neuronpedia import _folder_names

    layers = ["a b", "a/b", "a_b", "A_B", "config", "é", "..", "features"]
    names = _folder_names(layers)
    assert len({name.lower() for name in names.values()} | {"config"}) == len(layers) + 1
    assert names["features"] == "features"
    assert all("/" not in name and name not in ("", ".", "..") for name in names.values())


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


def test_an_export_is_not_put_among_another_run_s(tmp_path: Path):
    # Batches that it does not write itself would stay there, and be taken for its own.
    with fabricate_run(tmp_path, {"x": 3}) as run:
        assert write(run, tmp_path / "out") == write(run, tmp_path / "out")
        release = tmp_path / "out" / "x" / "release.jsonl"
        release.write_text(release.read_text().replace(f"autointerp-{run.name}", "autointerp-b"))
        with pytest.raises(BadInput, match="holds another run's x; name a new folder"):
            write(run, tmp_path / "out")


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path):
    path = batch(tmp_path, "activations", [])
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n"))
    assert recognises(path)
    (unit,) = read(path, ImportOptions())
    assert unit.contexts[0].tokens == (" the", " cat", " sat")


@pytest.mark.parametrize(
    "wrong", [{"frac_nonzero": 10**400}, {"frac_nonzero": 2}, {"maxActApprox": 1e39},
              {"maxActApprox": float("inf")}, {"frac_nonzero": "often"}],
)  # fmt: skip
def test_facts_that_no_unit_can_have_are_refused(tmp_path: Path, wrong: dict[str, Any]):
    batch(tmp_path, "activations", [ROW])
    batch(tmp_path, "features", [{"layer": "6-res-jb", "index": "12", **wrong}])
    with pytest.raises(ExchangeError, match="unit 6-res-jb/12: frac_nonzero is"):
        list(read(tmp_path, ImportOptions()))


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (r"a \u0000 b", r"a \u0000 b"),
        (r"\\u0000", r"\\u0000"),
        ("nul \x00 here", "nul   here"),
        ("\\\x00 and \\\\\x00", "\\  and \\\\ "),
        ("\\\x00" + r"\u0000\n", "\\ " + r"\u0000\n"),
        (r"\u00e9 \n 今", r"\u00e9 \n 今"),
    ],
)
def test_neuronpedia_s_replacing_of_nul_breaks_no_text(text: str, there: str):
    from autointerp.exchange.neuronpedia import _line

    line = _line({"tokens": [text]})
    assert json.loads(line) == {"tokens": [text]}
    # lib/db/import.ts: jsonlData.replaceAll('\\u0000', ' ')
    assert json.loads(line.replace(r"\u0000", " ")) == {"tokens": [there]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps({**ROW, "index": "\u0661"}), "index '\u0661'; it must be a whole number"),
        (json.dumps({**ROW, "index": "9" * 300}), "99; it must be a whole number"),
        (json.dumps(ROW)[:-1] + ', "index": "13"}', "key 'index' is there twice"),
    ],
)
def test_an_index_that_could_be_two_is_refused(tmp_path: Path, line: str, message: str):
    file = batch(tmp_path, "activations", [line])
    with pytest.raises(ExchangeError, match=message):
        list(read(file, ImportOptions()))
