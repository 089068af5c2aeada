import pytest
from support.tiny_sweep import sweep_text, table

from autointerp.errors import AutointerpError
from autointerp.pipeline.sweep_file import read_sweep
from autointerp.store.database import SETTINGS


def written(folder, text):
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[sae]]", "[other]", "names no SAE"),
        ("n = 6", "n = 1", "n = 1 must be 2 to"),
        ("n = 6", "n = -5", "n = -5 must be 2 to"),
        ("n = 6", 'n = "6"', "n = '6' must be a whole number"),
        ("n = 6", "n = true", "must be a whole number"),
        ("n = 6", "m = 6", "unknown key 'm'"),
        ('name = "tiny"', 'name = "../x"', "must be up to 30 letters"),
        ('name = "tiny"', 'name = ""', "must be up to 30 letters"),
        ('name = "one"', 'name = "a.b"', "must be up to 30 letters"),
        ('name = "one"', 'name = "neurons"', "is that of the neurons' run"),
        ('name = "one"', "name = 3", "must be text in quotes"),
        ('name = "one"', "", "lacks name"),
        ('sae = "x"', "", "lacks sae"),
        ('sae = "x"', 'sae = ""', "sae = '' must be text in quotes"),
        ('sae = "x"', 'sae = "x"\nmodel = "y"', r"unknown key 'model'.*stands in \[subject\]"),
        ('sae = "x"', 'sae = "x"\nk = -1', "subject.k = -1 must not be negative"),
        ('sae = "x"', 'sae = "x"\nrecipe = 4', "recipe = '4' must be text"),
        ("[subject]", '[subject]\nsae = "x"', r"write it in the \[\[sae\]\]"),
        ("[subject]", "[subject]\nmodle = 1", "unknown key 'subject.modle'"),
        ("n = 6", 'n = 6\nreference = "oen"', "'oen'"),
        ("n = 6", "n = 6\nloss_tokens = -1", "loss_tokens"),
        ("[subject]", "subject = 3\n[x]", r"unknown key 'x'|must be a table"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_key(tmp_path, old, new, message):
    text = sweep_text(tmp_path, table("one", "x")).replace("loss_tokens = 2000\n", "")
    assert old in text
    path = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(AutointerpError, match=message) as error:
        read_sweep(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_two_saes_of_one_name_and_a_recipe_of_two_sites_are_refused(tmp_path):
    twice = table("one", "x") + table("one", "y")
    with pytest.raises(AutointerpError, match="two SAEs are called 'one'"):
        read_sweep(written(tmp_path, sweep_text(tmp_path, twice)))
    apart = table("one", "x", "r") + table("two", "y", "r") + 'site = "layers.1.mlp"\n'
    with pytest.raises(AutointerpError, match="read different sites"):
        read_sweep(written(tmp_path, sweep_text(tmp_path, apart)))
    half = table("one", "x", "r") + table("two", "y", "r") + 'untrained = "z"\n'
    with pytest.raises(AutointerpError, match="some name an untrained twin"):
        read_sweep(written(tmp_path, sweep_text(tmp_path, half)))


def test_one_file_is_no_two_seeds_of_a_recipe(tmp_path):
    (tmp_path / "x").write_text("")
    one = table("one", "x", "r") + 'untrained = "t"\n'
    two = table("two", str(tmp_path / "x"), "r") + 'untrained = "u"\n'
    with pytest.raises(AutointerpError, match="'one' and 'two' are one and the same SAE, so they"):
        read_sweep(written(tmp_path, sweep_text(tmp_path, one + two)))
    twin = table("two", "y", "r") + 'untrained = "t"\n'
    with pytest.raises(AutointerpError, match="'one' and 'two' have one and the same untrained"):
        read_sweep(written(tmp_path, sweep_text(tmp_path, one + twin)))
    apart = one + two.replace('recipe = "r"', "")
    assert len(read_sweep(written(tmp_path, sweep_text(tmp_path, apart))).saes) == 2


def test_an_sae_s_run_has_the_settings_that_an_autointerp_toml_of_it_would_have(tmp_path):
    (tmp_path / "x").write_text("")
    more = table("two", "far/away") + 'site = "layers.1.mlp"\nk = 7\nuntrained = "u"\n'
    found = read_sweep(written(tmp_path, sweep_text(tmp_path, table("one", "x") + more)))
    assert list(found.settings) == [
        "tiny.neurons", "tiny.one", "tiny.neurons-layers-1-mlp", "tiny.two", "tiny.two.untrained",
    ]  # fmt: skip
    one, two = found.settings["tiny.one"].subject, found.settings["tiny.two"].subject
    assert one.sae == str(tmp_path / "x")  # beside the file
    assert (two.sae, two.k, two.site, two.untrained) == ("far/away", 7, "layers.1.mlp", "u")
    bare = found.settings["tiny.neurons-layers-1-mlp"].subject
    assert (bare.sae, bare.k, bare.site, bare.untrained) == ("", 0, "layers.1.mlp", "")
    assert found.settings["tiny.one"].harvest.top == 8
    assert found.wanted["tiny.two.untrained"] == "untrained"
    assert found.reference == "one"


def test_sites_whose_names_begin_alike_have_neurons_of_their_own(tmp_path):
    sites = [f"model.language_model.layers.11.self_attn.{name}_proj" for name in "qkvo"]
    tables = "".join(
        table(f"sae{number}", "x") + f'site = "{site}"\n' for number, site in enumerate(sites)
    )
    found = read_sweep(written(tmp_path, sweep_text(tmp_path, tables)))
    for sae, site in zip(found.saes, sites, strict=True):
        assert found.settings[sae.baseline].subject.site == site
    assert [sae.baseline for sae in found.saes][:2] == [
        "tiny.neurons", "tiny.neurons-model-language-model-layers-11-self",
    ]  # fmt: skip


def _run_toml(name, site):
    return (
        f'[run]\nname = "{name}"\nmade = "2026-01-01"\nsettings_digest = ""\n[settings]\nseed = 0\n'
        f'[settings.subject]\nmodel = "m"\nsite = "{site}"\n[digests]\n'
    )


def test_neurons_stay_in_the_run_that_has_them_whichever_sae_comes_first(tmp_path):
    """The run's settings alone are looked at."""
    one, two = table("one", "x"), table("two", "y") + 'site = "layers.1.mlp"\n'
    first = read_sweep(written(tmp_path, sweep_text(tmp_path, one + two)), tmp_path / "runs")
    for name in ("tiny.neurons", "tiny.neurons-layers-1-mlp"):
        site = first.settings[name].subject.site
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / SETTINGS).write_text(_run_toml(name, site))
    turned = read_sweep(written(tmp_path, sweep_text(tmp_path, two + one)), tmp_path / "runs")
    assert {sae.name: sae.baseline for sae in turned.saes} == {
        sae.name: sae.baseline for sae in first.saes
    }
    third = table("three", "z") + 'site = "layers.2.mlp"\n'
    joined = read_sweep(
        written(tmp_path, sweep_text(tmp_path, third + two + one)), tmp_path / "runs"
    )
    assert joined.saes[0].baseline == "tiny.neurons-layers-2-mlp"
    assert joined.settings.keys() >= first.settings.keys()
