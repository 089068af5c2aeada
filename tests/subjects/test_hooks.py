import pytest

from autointerp.subjects.hooks import probable_site, site_of_hook


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("blocks.1.hook_mlp_out", "layers.1.mlp.added"),
        ("blocks.1.hook_attn_out", "layers.1.attention.added"),
        ("blocks.1.hook_mlp_in", "layers.1.mlp.stream"),
        ("blocks.2.ln2.hook_normalized", "layers.2.mlp.normalised"),
        ("blocks.0.hook_resid_mid", "layers.0.middle"),
        ("blocks.0.hook_resid_post", "layers.0.residual"),
        ("blocks.11.mlp.hook_post", "layers.11.mlp.neurons"),
        ("blocks.3.attn.hook_z", "layers.3.attention.heads"),
        ("resid_post_layer_3", "layers.3.residual"),
        ("mlp_out_layer4", "layers.4.mlp.module"),
        ("layers.1.mlp", None),
        ("hook_embed", None),
    ],
)
def test_another_librarys_name_of_a_site_is_translated(name: str, here: str | None):
    assert probable_site(name) == here


@pytest.mark.parametrize(
    "hook",
    [
        "blocks.1.hook_attn_in",
        "blocks.1.mlp.hook_pre",
        "blocks.1.attn.hook_q",
        "ln_final.hook_scale",
    ],
)
def test_a_hook_that_is_no_site_here_is_not_taken_for_one(hook: str):
    assert site_of_hook(hook)[0] is None


def test_a_hook_that_is_not_known_still_gives_its_layer():
    assert site_of_hook("blocks.7.hook_new") == (None, 7)
    assert site_of_hook(None) == (None, None)
