"""Sites under the names that other libraries give to them.

A hook of TransformerLens is not always a module's output. `hook_mlp_out` and `hook_attn_out` are
what is added to the residual stream, so behind the norm that Gemma 2 and OLMo 2 have there;
`hook_mlp_in` is the stream before the norm; `hook_normalized` is the norm without its weight.
`make test-parity` holds each of these against TransformerLens itself, for each architecture.
"""

from __future__ import annotations

import re

# Of HookedTransformer and of TransformerBridge, which adds the modules' own inputs and outputs.
HOOKS = {
    r"blocks\.(\d+)\.hook_resid_pre": "layers.{}.input",
    r"blocks\.(\d+)\.hook_in": "layers.{}.input",
    r"blocks\.(\d+)\.ln1\.hook_normalized": "layers.{}.attention.normalised",
    r"blocks\.(\d+)\.attn\.hook_z": "layers.{}.attention.heads",
    r"blocks\.(\d+)\.attn\.hook_out": "layers.{}.attention.module",
    r"blocks\.(\d+)\.hook_attn_out": "layers.{}.attention.added",
    r"blocks\.(\d+)\.hook_resid_mid": "layers.{}.middle",
    r"blocks\.(\d+)\.hook_mlp_in": "layers.{}.mlp.stream",
    r"blocks\.(\d+)\.ln2\.hook_normalized": "layers.{}.mlp.normalised",
    r"blocks\.(\d+)\.mlp\.hook_in": "layers.{}.mlp.input",
    r"blocks\.(\d+)\.mlp\.hook_post": "layers.{}.mlp.neurons",
    r"blocks\.(\d+)\.mlp\.hook_out": "layers.{}.mlp.module",
    r"blocks\.(\d+)\.hook_mlp_out": "layers.{}.mlp.added",
    r"blocks\.(\d+)\.hook_resid_post": "layers.{}.residual",
    r"blocks\.(\d+)\.hook_out": "layers.{}.residual",
}
# dictionary_learning and SAEBench call sites so.
SUBMODULES = {
    r"(?:resid|resid_post|resid_out)_(?:layer_?)?(\d+)": "layers.{}.residual",
    r"(?:mlp|mlp_out)_(?:layer_?)?(\d+)": "layers.{}.mlp.module",
    r"(?:attn|attention|attn_out)_(?:layer_?)?(\d+)": "layers.{}.attention.module",
}


def site_of_hook(hook: str | None) -> tuple[str | None, int | None]:
    """Return the site and layer that a TransformerLens hook names; None for an unknown hook."""
    for pattern, site in HOOKS.items():
        if hook is not None and (match := re.fullmatch(pattern, hook)):
            return site.format(match[1]), int(match[1])
    layer = re.search(r"\.(\d+)(\.|$)", hook or "")
    return None, int(layer[1]) if layer else None


def hooks_in_layer(number: int) -> dict[str, str]:
    """Return the TransformerLens hooks of a layer, and the site of each."""
    return {
        pattern.replace(r"(\d+)", str(number)).replace("\\", ""): site.format(number)
        for pattern, site in HOOKS.items()
    }


def probable_site(site: str) -> str | None:
    """Return the site that another library's name probably means; None for other names."""
    for pattern, own_name in {**HOOKS, **SUBMODULES}.items():
        if match := re.fullmatch(pattern, site):
            return own_name.format(match[1])
    return None
