import pytest

from autointerp.subjects.hooks import probable_site, site_of_hook


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("blocks.1.hook_mlp_out", "layers.1.mlp"),
        ("blocks.0.hook_resid_post", "layers.0.residual"),
        ("blocks.11.mlp.hook_post", "layers.11.mlp.neurons"),
        ("blocks.3.attn.hook_z", "layers.3.attention.heads"),
        ("resid_post_layer_3", "layers.3.residual"),
        ("mlp_out_layer4", "layers.4.mlp"),
        ("layers.1.mlp", None),
        ("hook_embed", None),
    ],
)
def test_another_librarys_name_of_a_site_is_translated(name: str, here: str | None):
    assert probable_site(name) == here


def test_a_hook_that_is_not_known_still_gives_its_layer():
    assert site_of_hook("blocks.7.hook_new") == (None, 7)
    assert site_of_hook(None) == (None, None)
