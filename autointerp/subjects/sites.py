"""What the activations at a site are: neurons of an MLP, or axes of something wider or narrower."""

from __future__ import annotations

import re
from dataclasses import dataclass

# By the end of a site's name, the longer ending first.
AXES = {
    "mlp.input": "axes of the MLP's input",
    "mlp.normalised": "axes of the normalised residual stream before the MLP",
    "mlp.stream": "axes of the residual stream before the MLP",
    "mlp.added": "axes of what the MLP adds to the residual stream",
    "mlp": "axes of the MLP's output",
    "attention.heads": "axes of the attention heads' outputs",
    "attention.normalised": "axes of the normalised residual stream before the attention",
    "attention.added": "axes of what the attention adds to the residual stream",
    "attention": "axes of the attention's output",
    "residual": "axes of the residual stream",
    "middle": "axes of the residual stream between attention and MLP",
    "input": "axes of the residual stream before the layer",
}
NEURONS = "mlp.neurons"


@dataclass(frozen=True, slots=True)
class Basis:
    """The basis of a site's activations: what one unit of the source `neurons` is.

    Attributes:
        name: In a sentence, such as `neurons of the MLP`.
        are_neurons: Each activation is the output of one nonlinearity of an MLP.
    """

    name: str
    are_neurons: bool


def basis_of(site: str) -> Basis:
    """Return the basis of the activations at a site, by the site's name."""
    if site == NEURONS or site.endswith("." + NEURONS):
        return Basis("neurons of the MLP", True)
    for ending, name in AXES.items():
        if site == ending or site.endswith("." + ending):
            return Basis(name, False)
    return Basis(f"axes of the activations at {site}", False)


def hidden_site(site: str) -> str | None:
    """Return the site of the hidden neurons in the layer of a site; None for one in no layer."""
    layer = re.search(r"(?:^|\.)(\d+)(?:\.|$)", site)
    return f"layers.{layer[1]}.{NEURONS}" if layer else None
