import pytest

from autointerp.subjects.sites import basis_of


@pytest.mark.parametrize(
    ("site", "name", "are_neurons"),
    [
        ("layers.3.mlp.neurons", "neurons of the MLP", True),
        ("layers.3.mlp", "axes of the MLP's output", False),
        ("layers.3.mlp.input", "axes of the MLP's input", False),
        ("layers.0.residual", "axes of the residual stream", False),
        ("layers.0.input", "axes of the residual stream before the layer", False),
        ("layers.1.attention", "axes of the attention's output", False),
        ("model.h.2.act", "axes of the activations at model.h.2.act", False),
    ],
)
def test_a_site_says_whether_its_axes_are_neurons(site: str, name: str, are_neurons: bool):
    basis = basis_of(site)
    assert (basis.name, basis.are_neurons) == (name, are_neurons)
