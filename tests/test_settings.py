import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput, SettingsError, UnknownName
from autointerp.raters import RaterOptions
from autointerp.settings import (
    CHOICES,
    LEAST_TOKENS,
    HarvestSettings,
    RunSettings,
    SampleSettings,
    SubjectSettings,
    check_number,
    first_difference,
    from_mapping,
    load_settings,
    read_settings,
    token_count,
)

COUNTS = st.integers(1, 1000)
SHARES = st.floats(0, 1)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
SOME_NAMES = NAMES.filter(bool)

ANY_SETTINGS = st.builds(
    RunSettings,
    subject=st.builds(SubjectSettings, model=SOME_NAMES, site=SOME_NAMES, sae=NAMES, corpus=NAMES),
    harvest=st.builds(
        HarvestSettings,
        tokens=st.just(0) | st.integers(LEAST_TOKENS, 10**9),
        rows=COUNTS,
        top=COUNTS,
        per_interval=COUNTS,
        fires=st.floats(0, 10),
        explain_share=SHARES,
    ),
    sample=st.tuples(SHARES, SHARES).map(lambda ends: SampleSettings(*sorted(ends))),
    seed=st.integers(0, 2**31),
)


def written(folder: Path, text: str) -> Path:
    file = folder / "autointerp.toml"
    file.write_text(text, encoding="utf-8")
    return file


@given(settings=ANY_SETTINGS)
def test_settings_survive_the_way_through_toml(settings: RunSettings):
    import tomllib

    content = tomllib.loads(tomli_w.dumps(dataclasses.asdict(settings)))
    assert from_mapping(RunSettings, content, "x.toml") == settings


@given(one=ANY_SETTINGS, other=ANY_SETTINGS)
def test_digests_are_equal_exactly_where_nothing_that_matters_differs(
    one: RunSettings, other: RunSettings
):
    assert (one.digest == other.digest) == (first_difference(one, other) is None)


@given(settings=ANY_SETTINGS, rows=COUNTS)
def test_device_and_batch_size_change_neither_digest_nor_run(settings: RunSettings, rows: int):
    other = dataclasses.replace(
        settings,
        subject=dataclasses.replace(settings.subject, device="cuda", device_map="auto"),
        harvest=dataclasses.replace(settings.harvest, rows=rows),
    )
    assert other.digest == settings.digest
    assert first_difference(other, settings) is None


def test_every_other_setting_changes_the_digest_and_is_named_as_the_difference():
    base = RunSettings()
    for section in ("subject", "harvest", "sample"):
        for field in dataclasses.fields(getattr(base, section)):
            if field.name in ("device", "device_map", "rows", "trust_remote_code"):
                continue
            value = getattr(getattr(base, section), field.name)
            if isinstance(value, bool):
                changed = not value
            elif isinstance(value, str):
                changed = CHOICES.get((section, field.name), (value + "x",))[-1]
            else:
                changed = value / 2 or 0.5 if isinstance(value, float) else value + 2
            part = dataclasses.replace(getattr(base, section), **{field.name: changed})
            other = dataclasses.replace(base, **{section: part})
            assert other.digest != base.digest, field.name
            assert first_difference(other, base) == (
                f"{section}.{field.name} is {changed!r}, not {value!r}"
            )
    assert first_difference(dataclasses.replace(base, seed=3), base) == "seed is 3, not 0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 1", r"unknown key 'colour' \(known: subject, harvest, sample, seed\)"),
        ("[harvest]\ntopp = 3", r"unknown key 'harvest.topp' \(known: tokens, window"),
        ('[harvest]\ntop = "3"', "harvest.top = '3' must be a whole number"),
        ("[harvest]\ntop = 3.0", "harvest.top = 3.0 must be a whole number"),
        ("[harvest]\ntop = true", "harvest.top = True must be a whole number"),
        ("[harvest]\ntop = 0", "harvest.top = 0 must be at least 1"),
        ("[harvest]\ntokens = 1999", "harvest.tokens = 1999 must be 0, for all, or at least 2,000"),
        ("[harvest]\ntokens = -1", "harvest.tokens = -1 must not be negative"),
        ("[harvest]\nexplain_share = 1.5", "harvest.explain_share = 1.5 must be a share from 0"),
        ("[sample]\nmin_density = -0.1", "sample.min_density = -0.1 must be a share from 0 to 1"),
        ("[sample]\nmin_density = nan", "sample.min_density = nan must be a share from 0 to 1"),
        (
            "[sample]\nmin_density = 0.2\nmax_density = 0.1",
            "sample.min_density = 0.2 is above sample.max_density = 0.1, so no unit would pass",
        ),
        ("[harvest]\nfires = nan", "harvest.fires = nan must"),
        ("[harvest]\nfires = inf", "harvest.fires = inf must"),
        ('[subject]\nmodel = ""', "subject.model"),
        ('[subject]\ndevice = "gpu"', "subject.device = 'gpu' must be"),
        ('[subject]\nbos = "maybe"', "subject.bos = 'maybe' must be 'auto' or 'yes' or 'no'"),
        ("[subject]\ncheck_sae = 1", "subject.check_sae = 1 must be true or false"),
        ("[harvest]\nwindow = 1", "harvest.window = 1 must be 0 or at least 2"),
        ("[harvest]\ntokens = []", r"harvest.tokens = \[\] must be a whole number"),
        ("seed = -1", "seed = -1 must not be negative"),
        ("subject = 3", r"\[subject\] must be a table"),
        ("seed = 1\nseed = 2", "is not valid TOML"),
        ("seed = ", "is not valid TOML: .*end of document"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_remedy(tmp_path: Path, text: str, told: str):
    with pytest.raises(SettingsError, match=told) as raised:
        read_settings(written(tmp_path, text))
    assert "autointerp.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path):
    file = tmp_path / "autointerp.toml"
    file.write_bytes(b"seed = 1 # \xff")
    with pytest.raises(SettingsError, match=r"autointerp\.toml"):
        read_settings(file)


def test_a_whole_number_stands_for_a_share(tmp_path: Path):
    settings = read_settings(written(tmp_path, "[sample]\nmax_density = 1\n"))
    assert settings.sample.max_density == 1.0
    assert isinstance(settings.sample.max_density, float)


def test_paths_beside_the_file_become_absolute_and_hub_names_stay(tmp_path: Path):
    (tmp_path / "sae.safetensors").touch()
    text = '[subject]\nmodel = "gpt2"\nsae = "sae.safetensors"\ncorpus = "not-there.npz"\n'
    subject = read_settings(written(tmp_path, text)).subject
    assert subject.model == "gpt2"
    assert subject.sae == str(tmp_path / "sae.safetensors")
    assert subject.corpus == "not-there.npz"


def test_an_empty_file_gives_the_settings_of_the_embedded_subject(tmp_path: Path):
    assert read_settings(written(tmp_path, "")) == load_settings("embedded") == RunSettings()


def test_a_seed_on_the_command_line_replaces_the_one_in_the_file(tmp_path: Path):
    file = written(tmp_path, "seed = 4\n")
    assert load_settings(str(file)).seed == 4
    assert load_settings(str(file), seed=0).seed == 0


def test_a_negative_seed_on_the_command_line_is_refused():
    with pytest.raises(SettingsError, match="--seed -1 must not be negative"):
        load_settings("embedded", seed=-1)


def test_a_subject_that_is_neither_name_nor_file_is_unknown():
    with pytest.raises(UnknownName, match=r"unknown subject 'embeded'; did you mean 'embedded'"):
        load_settings("embeded")


@given(value=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.floats()))
def test_a_table_is_never_taken_from_anything_else(value: Any):
    with pytest.raises(SettingsError):
        from_mapping(HarvestSettings, value, "x.toml", "harvest")


def test_defaults_are_within_their_own_ranges():
    settings = RunSettings()
    assert from_mapping(RunSettings, dataclasses.asdict(settings), "x.toml") == settings
    assert not math.isnan(settings.harvest.fires)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.5, 2**63])
def test_a_number_that_nothing_can_use_is_refused_by_its_name(value):
    with pytest.raises(BadInput, match="--price-in"):
        check_number("--price-in", value)
    with pytest.raises(BadInput, match="--price-in"):
        check_number("--price-in", (0.1, value))
    with pytest.raises(BadInput, match=r"price_in|not below 0|finite|at most"):
        RaterOptions(price_in=value)


@pytest.mark.parametrize("value", [None, 0, 0.0, 1e300, True, "nan", 2**63 - 1])
def test_other_values_pass(value):
    check_number("--price-in", value)


@given(st.integers(LEAST_TOKENS, 10**12))
def test_tokens_are_read_as_they_are_written(tokens: int) -> None:
    assert token_count(tokens) == token_count(str(tokens)) == token_count(f" {tokens} ") == tokens
    assert token_count(f"{tokens}k") == token_count(f"{tokens}K") == 1_000 * tokens
    assert token_count(f"{tokens}M") == token_count(f"{tokens}m") == 1_000_000 * tokens
    assert token_count(f"{tokens // 1000}.{tokens % 1000:03}k") == tokens


def test_no_tokens_are_all_and_a_fraction_of_a_thousand_is_exact() -> None:
    assert token_count("0") == token_count("0k") == token_count(0) == 0
    assert token_count("2.3k") == 2_300  # 2.3 * 1000 is 2299.9999999999995 in floating point
    assert token_count("2k") == LEAST_TOKENS


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("1999", "a harvest takes at least 2,000 tokens; 0 reads all"),
        (1, "a harvest takes at least 2,000 tokens"),
        ("2.0005k", "give a whole number of tokens"),
        ("9300000000000M", "give at most 9,223,372,036,854,775,807"),
        (-1, "give a number of tokens, such as 100k, 2M or 250000; 0 reads all"),
        *(
            (written, "give a number of tokens")
            for written in ("", "k", "-5", "1e6", "100kk", "100 k", "100,000", "1_000", "inf", "٤k")
        ),
        pytest.param(10**5000, "give a number of tokens", id="no end"),
        (True, "give a number of tokens"),
    ],
)
def test_what_is_no_number_of_tokens_is_refused_in_a_line(written: int | str, why: str) -> None:
    with pytest.raises(BadInput, match=r"^--tokens ") as refused:
        token_count(written)
    assert why in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_tokens_to_train_on_are_as_few_as_one_likes_and_never_all() -> None:
    assert token_count("500", of_harvest=False) == 500
    with pytest.raises(BadInput, match=r"or 250000$"):
        token_count("many", of_harvest=False)


@given(st.text() | st.from_regex(r"[0-9]*[.]?[0-9]*[kM]?", fullmatch=True))
def test_any_text_is_a_number_of_tokens_or_refused_in_a_line(written: str) -> None:
    said = ""
    try:
        tokens = token_count(written)
    except BadInput as refused:
        tokens, said = 0, str(refused)
    assert tokens == 0 or tokens >= LEAST_TOKENS
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: HarvestSettings(top=0), "harvest.top = 0 must be at least 1"),
        (lambda: HarvestSettings(fires=math.nan), "harvest.fires = nan must be finite"),
        (lambda: HarvestSettings(explain_share=1.5), "harvest.explain_share = 1.5 must be a share"),
        (lambda: HarvestSettings(window="9"), "harvest.window = '9' must be a whole number"),
        (lambda: replace(HarvestSettings(), rows=2.0), "harvest.rows = 2.0 must be a whole number"),
        (lambda: SubjectSettings(dtype="int8"), "subject.dtype = 'int8' must be 'auto' or"),
        (lambda: RunSettings(seed=-1), "seed = -1 must not be negative"),
        (lambda: RunSettings(harvest={"top": 1}), "harvest = {'top': 1} must be a HarvestSettings"),
    ],
)
def test_what_the_file_refuses_is_refused_from_python(make: Callable[[], Any], told: str):
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        make()


def test_a_look_at_the_corpus_may_read_fewer_tokens_than_a_harvest():
    assert HarvestSettings(tokens=500).tokens == 500
