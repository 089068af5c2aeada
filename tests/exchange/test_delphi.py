from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignUnit, ImportOptions
from autointerp.exchange.delphi import read, recognises

ROWS, LENGTH, START = 12, 40, 100
END_OF_TEXT = 0


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 30 tokens: `<end>`, which is special, and t1 to t29."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {"<end>": END_OF_TEXT, **{f"t{n}": n for n in range(1, 30)}}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<end>"))
    backend.add_special_tokens([AddedToken("<end>", special=True)])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    backend.save(str(path))
    return path


def tokens() -> NDArray[np.int64]:
    """[ROWS, LENGTH] ids that go round from 1 to 29; a text ends at numbers 0 and 20 of a row."""
    ids = 1 + np.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % 29
    ids[:, 0] = ids[:, 20] = END_OF_TEXT
    return ids


def dense() -> NDArray[np.float32]:
    """[ROWS, LENGTH, 3] activations: latent 0 on token t7, latent 1 never, latent 2 at ends."""
    ids = tokens()
    activations = np.zeros((ROWS, LENGTH, 3), dtype=np.float32)
    places = np.arange(ROWS * LENGTH).reshape(ROWS, LENGTH)
    activations[..., 0] = np.where(ids == 7, 1 + places / 512, 0)  # exact in half precision
    activations[..., 2] = np.where(ids == END_OF_TEXT, 8, 0) + np.where(ids == 9, 2, 0)
    return activations


def tensors() -> dict[str, NDArray[Any]]:
    """What delphi writes of `dense`."""
    locations = np.ascontiguousarray(np.argwhere(dense() > 0))
    return {
        "locations": locations.astype(np.uint16),
        "activations": dense()[tuple(locations.T)].astype(np.float16),
        "tokens": tokens(),
    }


def cache(folder: Path, content: dict[str, NDArray[Any]] | None = None) -> Path:
    path = folder / "layers.3.mlp" / f"{START}_{START + 2}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors() if content is None else content, path)
    return path


@pytest.fixture
def units(tmp_path: Path, tokenizer: Path) -> list[ForeignUnit]:
    cache(tmp_path)
    return list(read(tmp_path, ImportOptions(tokenizer=tokenizer)))


def test_latents_have_the_hookpoint_as_source_and_numbers_counted_from_the_files_start(
    units: list[ForeignUnit],
):
    assert [(unit.source, unit.name) for unit in units] == [
        ("layers.3.mlp", "100"),
        ("layers.3.mlp", "102"),  # 101 never fires, and so is not in the cache
    ]


def test_density_counts_text_and_not_special_tokens(units: list[ForeignUnit]):
    text = tokens() != END_OF_TEXT
    fires = (dense()[..., 0] > 0) & text
    assert units[0].density == pytest.approx(fires.sum() / text.sum())
    assert units[0].tokens == text.sum()
    assert units[1].peak == 2  # not 8, which it has at the ends of texts alone


def test_every_activation_is_that_of_the_dense_matrix(units: list[ForeignUnit]):
    ids, activations = tokens(), dense()
    for unit, column in zip(units, (0, 2), strict=True):
        for context in unit.contexts:
            assert context.place is not None
            assert context.focus is not None
            row, position = context.place
            first = position - context.focus
            window = slice(first, first + len(context.tokens))
            assert context.tokens == tuple(f"t{n}" for n in ids[row, window])
            assert context.activations == tuple(activations[row, window, column])


def test_no_window_goes_beyond_the_end_of_a_text_or_ten_tokens(units: list[ForeignUnit]):
    for unit in units:
        for context in unit.contexts:
            assert "<end>" not in context.tokens
            assert len(context.tokens) <= 19  # there are 19 tokens between the ends
            assert context.focus is not None
            assert context.focus <= 10


def test_contexts_are_drawn_as_a_harvest_draws_them(units: list[ForeignUnit]):
    unit = units[0]
    for split in ("explain", "score"):
        mine = [context for context in unit.contexts if context.split == split]
        top = [c.activations[c.focus or 0] for c in mine if c.draw == "top"]
        assert top == sorted(top, reverse=True)
        rows = [c.place[0] for c in mine if c.draw == "top" and c.place]
        assert len(set(rows)) == len(rows)
        assert {c.draw for c in mine} == {"top", "interval", "random"}
        assert any(not any(c.activations) for c in mine if c.draw == "random")
    places = {
        split: {c.place[0] for c in unit.contexts if c.split == split and c.place}
        for split in ("explain", "score")
    }
    assert not places["explain"] & places["score"]


def test_the_interval_is_that_of_the_activation_on_the_focus(units: list[ForeignUnit]):
    unit = units[0]
    assert unit.peak
    for context in unit.contexts:
        activation = context.activations[context.focus or 0]
        if activation == 0:
            assert context.interval is None
        else:  # ten equal widths from 0 to the peak
            assert context.interval == min(10, 1 + int(np.float32(activation) / unit.peak * 10))


def test_the_same_seed_draws_the_same_contexts(tmp_path: Path, tokenizer: Path):
    cache(tmp_path)
    one, again, other = (
        list(read(tmp_path, ImportOptions(tokenizer=tokenizer, seed=seed))) for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_all_hookpoints_one_of_them_and_one_file_are_recognised(tmp_path: Path):
    file = cache(tmp_path)
    assert all(map(recognises, (tmp_path, file.parent, file)))
    (tmp_path / "other").mkdir()
    save_file(tensors(), tmp_path / "other" / "sae.safetensors")
    assert not recognises(tmp_path / "other")


def changed(**parts: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    return {name: part for name, part in {**tensors(), **parts}.items() if part is not None}


def with_location(place: tuple[int, int, int]) -> NDArray[Any]:
    locations = tensors()["locations"].copy()
    locations[0] = place
    return locations


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(locations=None), "has no locations"),
        (changed(activations=None), "has no activations"),
        (changed(tokens=None), "has no tokens"),
        (changed(locations=tensors()["locations"][:, :2].copy()), "must be [firings, 3]"),
        (changed(activations=tensors()["activations"][:-1].copy()), "must be [firings, 3]"),
        (changed(tokens=np.arange(5)), "must be [firings, 3]"),
        (changed(locations=tensors()["locations"].astype(np.float32)), "must be whole numbers"),
        (changed(locations=with_location((ROWS, 0, 0))), "lies outside rows"),
        (changed(locations=with_location((0, LENGTH, 0))), "lies outside rows"),
        (changed(locations=with_location((0, 0, 3))), "lies outside rows"),
        (
            changed(activations=np.full_like(tensors()["activations"], np.nan)),
            "an activation is not finite",
        ),
        (
            changed(activations=np.full(len(tensors()["activations"]), 1e300)),
            "an activation is not finite",
        ),
        (
            changed(activations=tensors()["activations"].astype(np.complex64)),
            "must be floating-point numbers",
        ),
        (changed(tokens=tokens() + 1), "token id 30 is beyond the 30"),
        (changed(tokens=tokens() - 1), "token id -1 is negative"),
        (
            changed(locations=np.tile(np.array([[0, 1, 0]]), (len(tensors()["locations"]), 1))),
            "latent 100 fires twice at one place",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, tokenizer: Path, content: dict[str, NDArray[Any]], message: str
):
    cache(tmp_path, content)
    with pytest.raises(ExchangeError) as refused:
        list(read(tmp_path, ImportOptions(tokenizer=tokenizer)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_safetensors_folders_without_any_and_no_tokenizer_are_refused(
    tmp_path: Path, tokenizer: Path
):
    with pytest.raises(ExchangeError, match="holds no START_END"):
        list(read(tmp_path, ImportOptions(tokenizer=tokenizer)))
    file = cache(tmp_path)
    with pytest.raises(ExchangeError, match=r"give the model's tokenizer\.json as --tokenizer"):
        list(read(tmp_path, ImportOptions()))
    with pytest.raises(ExchangeError, match="no tokenizer at"):
        list(read(tmp_path, ImportOptions(tokenizer=tmp_path)))
    file.write_bytes(b"not tensors")
    with pytest.raises(ExchangeError, match="is not a safetensors file"):
        list(read(tmp_path, ImportOptions(tokenizer=tokenizer)))


# ------------------------------------------------------------------------ what caches are like


def test_a_file_whose_latents_fire_on_special_tokens_alone_has_no_units(
    tmp_path: Path, tokenizer: Path
):
    ends = np.argwhere(tokens() == END_OF_TEXT)
    only = {
        "locations": np.pad(ends, ((0, 0), (0, 1))).astype(np.uint16, order="C"),
        "activations": np.full(len(ends), 9.0, np.float16),
        "tokens": tokens(),
    }
    folder = cache(tmp_path).parent
    save_file(only, folder / "200_209.safetensors")
    named = [unit.name for unit in read(tmp_path, ImportOptions(tokenizer=tokenizer))]
    assert named == ["100", "102"]
    (folder / f"{START}_{START + 2}.safetensors").unlink()
    with pytest.raises(ExchangeError, match="no latent fires on a token that is text"):
        list(read(tmp_path, ImportOptions(tokenizer=tokenizer)))


def test_half_precision_that_overflows_on_special_tokens_is_read(
    tmp_path: Path, tokenizer: Path, units: list[ForeignUnit]
):
    content = tensors()
    row, position = content["locations"][:, 0], content["locations"][:, 1]
    special = tokens()[row, position] == END_OF_TEXT
    assert special.any()
    content["activations"] = np.where(special, np.float16(np.inf), content["activations"])
    cache(tmp_path / "half", content)
    assert list(read(tmp_path / "half", ImportOptions(tokenizer=tokenizer))) == units
    content["activations"][np.flatnonzero(~special)[3]] = np.inf
    cache(tmp_path / "half", content)
    wanted = r"not finite, that of latent 10\d at row \d+, position \d+"
    with pytest.raises(ExchangeError, match=wanted):
        list(read(tmp_path / "half", ImportOptions(tokenizer=tokenizer)))


def test_bfloat16_is_read(tmp_path: Path, tokenizer: Path):
    import torch
    from safetensors.torch import save_file as save_tensors

    content = {name: torch.from_numpy(part.copy()) for name, part in tensors().items()
               if name != "locations"}  # fmt: skip
    content["locations"] = torch.from_numpy(tensors()["locations"].astype(np.int64))
    content["activations"] = content["activations"].bfloat16()
    path = tmp_path / "layers.3.mlp" / f"{START}_{START + 2}.safetensors"
    path.parent.mkdir()
    save_tensors(content, path)
    first, second = read(tmp_path, ImportOptions(tokenizer=tokenizer))
    at_seven = content["activations"].float()[content["locations"][:, 2] == 0]
    assert first.peak == float(at_seven.max())
    assert second.peak == 2


def test_rows_that_come_again_are_of_one_split_and_give_a_text_once(
    tmp_path: Path, tokenizer: Path
):
    twice = np.concatenate([tokens(), tokens()])
    locations = np.argwhere(np.concatenate([dense(), dense()]) > 0)
    values = np.concatenate([dense(), dense()])[tuple(locations.T)]
    content = {
        "locations": np.ascontiguousarray(locations).astype(np.uint16),
        "activations": values.astype(np.float16),
        "tokens": twice,
    }
    cache(tmp_path, content)
    for unit in read(tmp_path, ImportOptions(tokenizer=tokenizer)):
        where: dict[int, set[Any]] = {}
        drawn: dict[Any, list[tuple[str, ...]]] = {}
        for context in unit.contexts:
            assert context.place is not None
            where.setdefault(context.place[0] % ROWS, set()).add(context.split)
            drawn.setdefault((context.split, context.draw, context.interval), []).append(
                context.tokens
            )
        assert all(len(splits) == 1 for splits in where.values())
        for (_, draw, _), texts in drawn.items():
            if draw != "random":
                assert len(set(texts)) == len(texts)
