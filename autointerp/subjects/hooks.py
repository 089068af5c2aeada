"""Sites under the names that other libraries give to them."""

from __future__ import annotations

import re

HOOKS = {
    r"blocks\.(\d+)\.hook_resid_post": "layers.{}.residual",
    r"blocks\.(\d+)\.hook_resid_pre": "layers.{}.input",
    r"blocks\.(\d+)\.hook_mlp_out": "layers.{}.mlp",
    r"blocks\.(\d+)\.hook_mlp_in": "layers.{}.mlp.input",
    r"blocks\.(\d+)\.ln2\.hook_normalized": "layers.{}.mlp.input",
    r"blocks\.(\d+)\.mlp\.hook_in": "layers.{}.mlp.input",
    r"blocks\.(\d+)\.mlp\.hook_out": "layers.{}.mlp",
    r"blocks\.(\d+)\.mlp\.hook_post": "layers.{}.mlp.neurons",
    r"blocks\.(\d+)\.hook_attn_out": "layers.{}.attention",
    r"blocks\.(\d+)\.attn\.hook_z": "layers.{}.attention.heads",
}
# dictionary_learning and SAEBench call sites so.
SUBMODULES = {
    r"(?:resid|resid_post|resid_out)_(?:layer_?)?(\d+)": "layers.{}.residual",
    r"(?:mlp|mlp_out)_(?:layer_?)?(\d+)": "layers.{}.mlp",
    r"(?:attn|attention|attn_out)_(?:layer_?)?(\d+)": "layers.{}.attention",
}


def site_of_hook(hook: str | None) -> tuple[str | None, int | None]:
    """Return the site and layer that a TransformerLens hook names; None for an unknown hook."""
    for pattern, site in HOOKS.items():
        if hook is not None and (match := re.fullmatch(pattern, hook)):
            return site.format(match[1]), int(match[1])
    layer = re.search(r"\.(\d+)(\.|$)", hook or "")
    return None, int(layer[1]) if layer else None


def probable_site(site: str) -> str | None:
    """Return the site that another library's name probably means; None for other names."""
    for pattern, own_name in {**HOOKS, **SUBMODULES}.items():
        if match := re.fullmatch(pattern, site):
            return own_name.format(match[1])
    return None
