"""The founding experiments' transformer: one block, read at its MLP's neurons.

Source: Ward, "Monosemanticity at Home"; Bricken et al. 2023, "Towards Monosemanticity",
appendix "Transformer Training and Preprocessing".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from autointerp.errors import SubjectError
from autointerp.subjects.interventions import Intervention
from autointerp.subjects.places import no_weights
from autointerp.subjects.readout import Readout, linear, norm
from autointerp.subjects.tensor_file import save_tensors


@dataclass(frozen=True)
class OneLayerConfig:
    """Sizes of the transformer; `context` is the longest window in tokens."""

    vocabulary: int = 4096
    d_model: int = 128
    heads: int = 8
    d_mlp: int = 512
    context: int = 128


class OneLayerTransformer(nn.Module):
    """A pre-norm causal transformer of one block, with a ReLU MLP and learned positions."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.embedding = nn.Embedding(c.vocabulary, c.d_model)
        self.positions = nn.Parameter(torch.zeros(c.context, c.d_model))
        self.norm_attention = nn.LayerNorm(c.d_model)
        self.qkv = nn.Linear(c.d_model, 3 * c.d_model, bias=False)
        self.attention_out = nn.Linear(c.d_model, c.d_model, bias=False)
        self.norm_mlp = nn.LayerNorm(c.d_model)
        self.up = nn.Linear(c.d_model, c.d_mlp)
        self.down = nn.Linear(c.d_mlp, c.d_model)
        self.norm_final = nn.LayerNorm(c.d_model)
        self.unembedding = nn.Linear(c.d_model, c.vocabulary, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Set normal(0, 0.02) weights, the residual projections scaled by 1/√2, and no biases."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            if parameter.dim() < 2:
                continue
            nn.init.normal_(parameter, std=0.02, generator=generator)
            if name.startswith(("attention_out", "down")):
                parameter.data.mul_(2**-0.5)

    def residual_before_mlp(self, tokens: Tensor) -> Tensor:
        """Return the residual stream [batch, tokens, d_model] after attention."""
        batch, length = tokens.shape
        c = self.config
        residual = self.embedding(tokens) + self.positions[:length]
        q, k, v = (
            part.view(batch, length, c.heads, c.d_model // c.heads).transpose(1, 2)
            for part in self.qkv(self.norm_attention(residual)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch, length, c.d_model)
        after: Tensor = residual + self.attention_out(mixed)
        return after

    def neurons(self, residual: Tensor) -> Tensor:
        """Return the post-ReLU MLP activations [batch, tokens, d_mlp]."""
        return functional.relu(self.up(self.norm_mlp(residual)))

    def logits(self, residual: Tensor, neurons: Tensor) -> Tensor:
        """Return next-token logits [batch, tokens, vocabulary] with `neurons` put in place."""
        logits: Tensor = self.unembedding(self.norm_final(residual + self.down(neurons)))
        return logits

    def forward(self, tokens: Tensor) -> Tensor:
        residual = self.residual_before_mlp(tokens)
        return self.logits(residual, self.neurons(residual))

    def site_activations(self, tokens: Tensor) -> Tensor:
        """Return the neurons [batch, tokens, d_mlp]; nothing after the site is computed."""
        return self.neurons(self.residual_before_mlp(tokens))

    def save(self, path: Path, half: bool = False) -> None:
        """Write weights (float16 if `half`) and configuration to one safetensors file."""
        state = {
            name: (tensor.half() if half else tensor).contiguous()
            for name, tensor in self.state_dict().items()
        }
        metadata = {name: str(value) for name, value in asdict(self.config).items()}
        save_tensors(state, path, {"architecture": "one-layer", **metadata})


@dataclass(frozen=True)
class OneLayerSite:
    """The transformer, read at its neurons."""

    transformer: OneLayerTransformer

    @torch.inference_mode()
    def activations(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return the neurons [rows, tokens, d_mlp].

        Padding stands behind the text, where causal attention does not see it.
        """
        return self.transformer.site_activations(ids)

    def check_changeable(self) -> None:
        """Do nothing: what is put in place of the neurons reaches all that reads them."""

    @torch.no_grad()
    def logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return next-token logits [rows, tokens, vocabulary], with the neurons as `intervention`
        makes them; padding stands behind the text.
        """
        return self.differentiable_logits(ids, attention, intervention)

    def differentiable_logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return what `logits` does, with gradients where they are asked for."""
        ids = ids.to(self.transformer.positions.device)
        residual = self.transformer.residual_before_mlp(ids)
        neurons = self.transformer.neurons(residual)
        if intervention is not None:
            neurons = intervention(neurons)
        return self.transformer.logits(residual, neurons)

    @torch.no_grad()
    def next_logits(
        self, ids: Tensor, kept: object = None, intervention: Intervention | None = None
    ) -> tuple[Tensor, object]:
        """Return the logits [rows, vocabulary] behind ids [rows, tokens]; nothing is kept, since
        what is put in place of the neurons reaches the logits at its own token alone.
        """
        ids = ids.to(self.transformer.positions.device)
        residual = self.transformer.residual_before_mlp(ids)
        neurons = self.transformer.neurons(residual)
        if intervention is not None:
            neurons = intervention(neurons)
        return self.transformer.logits(residual[:, -1], neurons[:, -1]), None

    def readout(self, transcodes: bool = False, writes: str | None = None) -> Readout:
        """Return the path of the neurons: down projection, final norm, unembedding.

        Raises SubjectError for a transcoder: there is nothing here that it could write.
        """
        if transcodes:
            raise SubjectError(
                "a transcoder at the neurons of a one-layer model writes no site; give an SAE"
            )
        model, sizes = self.transformer, self.transformer.config
        final = norm(model.norm_final, sizes.d_model)
        return Readout(sizes.d_mlp, (linear(model.down), final, linear(model.unembedding)))


def load_one_layer(path: Path, device: str = "cpu") -> OneLayerTransformer:
    """Return the transformer written by `OneLayerTransformer.save`, in evaluation mode.

    Raises SubjectError if the file is missing, truncated or of another architecture.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except FileNotFoundError:
        raise no_weights(path) from None
    except (SafetensorError, OSError) as error:
        raise SubjectError(
            f"{path} is not a complete safetensors file ({error}); fetch or train it again"
        ) from None
    if metadata.get("architecture") != "one-layer":
        raise SubjectError(
            f"{path} does not hold a one-layer transformer; name its folder or hub id as `model`"
        )
    names = OneLayerConfig.__dataclass_fields__
    config = OneLayerConfig(**{name: int(metadata[name]) for name in names})
    model = OneLayerTransformer(config)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return model.eval().requires_grad_(False).to(device)
