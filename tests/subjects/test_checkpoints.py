"""SAEs of a training loop: what is read, and by what a checkpoint is known again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autointerp.errors import BadInput, SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.checkpoints import model_digest, read_checkpoint
from autointerp.subjects.formats import AdaptedEncoder, Flags


def weights(latents: int = 6, width: int = 4) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    return {
        "W_enc": torch.randn(width, latents, generator=g),
        "b_enc": torch.zeros(latents),
        "W_dec": torch.randn(latents, width, generator=g),
        "b_dec": torch.ones(width),
    }


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, value in weights().items():
            self.register_parameter(name, nn.Parameter(value))


def test_weights_alone_are_read_as_a_file_with_a_config_beside_it_would_be():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    found = read_checkpoint(weights(), Flags(subtract_b_dec=True), {"activation": "topk", "k": 2})
    pre = ((x - 1) @ weights()["W_enc"]).relu()
    values, where = pre.topk(2)
    expected = torch.zeros_like(pre).scatter(-1, where, values)
    assert torch.allclose(found.sae.sae.encode(x), expected)
    assert not found.sae.strict
    by_object = read_checkpoint(Bare(), Flags(subtract_b_dec=True))
    assert torch.allclose(by_object.sae.sae.encode(x), pre)


def test_a_digest_follows_the_weights_and_nothing_else():
    sae = Bare()
    sae.encode = lambda x: (x - sae.b_dec) @ sae.W_enc
    before = read_checkpoint(sae).digest
    sae.steps_so_far = 4
    sae.eval().requires_grad_(False)
    assert read_checkpoint(sae).digest == before
    sae.W_dec.data[3, 1] += 1e-4
    assert read_checkpoint(sae).digest != before
    held = {name: value.clone() for name, value in sae.state_dict().items()}
    known = Flags(subtract_b_dec=True)
    first = read_checkpoint(held, known).digest
    assert read_checkpoint({**held}, known).digest == first
    held["b_enc"] += 1
    assert read_checkpoint(held, known).digest != first


def test_the_same_weights_with_another_k_or_scale_are_another_checkpoint(tmp_path):
    said = {"activation": "topk", "k": 2}
    file = tmp_path / "sae.pt"
    torch.save(weights(), file)

    def digest(sae, config, **flags):
        return read_checkpoint(sae, Flags(subtract_b_dec=True, **flags), config).digest

    assert digest(weights(), said) == digest(weights(), {**said})
    assert digest(weights(), said) != digest(weights(), {**said, "k": 3})
    assert digest(file, {}, k=2) == digest(file, {}, k=2)
    assert len({digest(file, {}, **one) for one in ({}, {"k": 2}, {"input_scale": 0.5})}) == 3
    relu = SparseAutoencoder(**weights())
    assert read_checkpoint(relu).digest != read_checkpoint(replace(relu, k=3)).digest


def test_an_object_with_encode_is_known_by_its_class_and_plain_attributes_too():
    class TopK(Bare):
        def __init__(self, k, act=nn.ReLU) -> None:
            super().__init__()
            self.k = k
            self.act = act()

        def encode(self, x):
            return self.act(x @ self.W_enc)

    class Other(TopK):
        pass

    digests = [
        read_checkpoint(sae).digest
        for sae in (TopK(2), TopK(3), TopK(2.5), TopK(2, nn.GELU), Other(2))
    ]
    assert len(set(digests)) == 5
    assert read_checkpoint(TopK(np.int64(2)).eval()).digest == digests[0]


def test_what_encode_itself_counts_and_keeps_makes_no_other_checkpoint():
    class Watched(Bare):
        tokens_seen, last_l0, calls = 0, 0.0, 0

        def encode(self, x):
            latents = (x @ self.W_enc).relu()
            self.tokens_seen += len(x)
            self.last_l0 = float((latents > 0).sum(-1).float().mean())
            self.calls += 1
            return latents

    sae = Watched()
    before = read_checkpoint(sae).digest
    for _ in range(2):
        sae.encode(torch.ones(3, len(sae.W_enc)))
        assert read_checkpoint(sae).digest == before


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("n_steps", 1, 10), ("step_size", 0.1, 0.2), ("step", 0.1, 0.2), ("steps", 1, 10),
        ("elastic", 0.1, 0.2), ("discount", 0.1, 0.2), ("top_count", 2, 3), ("seen_twice", 1, 2),
    ],
)  # fmt: skip
def test_a_setting_of_encode_is_no_count_of_what_was_done(name, one, other):
    class Iterated(Bare):
        def encode(self, x):
            return x @ self.W_enc * getattr(self, name)

    sae = Iterated()
    setattr(sae, name, one)
    before = read_checkpoint(sae).digest
    setattr(sae, name, other)
    assert read_checkpoint(sae).digest != before


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("step", 1, 2), ("global_step", 1, 2), ("epoch", 1, 2), ("_device", "cpu", "cuda:0"),
        ("call_count", 1, 2), ("aux_loss", 0.1, 0.2),
    ],
)  # fmt: skip
def test_how_far_training_came_makes_no_other_checkpoint(name, one, other):
    sae = Bare()
    sae.encode = lambda x: x @ sae.W_enc
    setattr(sae, name, one)
    before = read_checkpoint(sae).digest
    setattr(sae, name, other)
    assert read_checkpoint(sae).digest == before


def test_an_object_that_holds_its_weights_in_a_module_is_known_by_them():
    class Wrapper:
        def __init__(self):
            self.inner = nn.Linear(4, 6)

        def encode(self, x):
            return self.inner(x).relu()

    sae = Wrapper()
    before = read_checkpoint(sae).digest
    sae.inner.weight.data *= 2
    assert read_checkpoint(sae).digest != before
    sae.inner.weight.data /= 2
    assert read_checkpoint(sae).digest == before
    sae.threshold = 0.1
    assert read_checkpoint(sae).digest != before


def test_tensors_are_left_where_they_are_and_as_they_are():
    held = {name: value.requires_grad_(True) for name, value in weights().items()}
    ids = {name: (id(value), value.clone()) for name, value in held.items()}
    read_checkpoint(held, Flags(subtract_b_dec=True))
    for name, value in held.items():
        assert id(value) == ids[name][0]
        assert torch.equal(value, ids[name][1])
        assert value.requires_grad


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({**weights(), "b_enc": torch.zeros(5)}, "no axis has the 5 latents"),
        ({**weights(), "what_is_this": torch.zeros(3, 3)}, "what_is_this"),
        ({**weights(), "W_enc": torch.full((4, 6), torch.nan)}, "NaN"),
        ({"W_enc": weights()["W_enc"], "made_by": lambda: 0}, "cannot be written"),
        (nn.Linear(4, 6), "the Linear given for an SAE"),
    ],
)
def test_what_weights_lack_is_said_in_one_line_without_a_temporary_path(state, words):
    with pytest.raises((BadInput, SubjectError), match=words) as error:
        read_checkpoint(state, Flags(subtract_b_dec=True))
    assert "/tmp" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_may_hold_numpys_numbers_and_nothing_else_that_is_no_json():
    flags = Flags(subtract_b_dec=True)
    of_numpy, of_python = (
        read_checkpoint(weights(), flags, {"note": number}) for number in (np.int64(3), 3)
    )
    assert of_numpy.digest == of_python.digest
    with pytest.raises(BadInput, match=r"cannot be written \(a value of type ndarray is no JSON\)"):
        read_checkpoint(weights(), flags, {"note": np.zeros(2)})


def test_what_no_state_dict_says_is_asked_for_as_an_evaluator_takes_it():
    with pytest.raises(SubjectError, match=r"flags=Flags\(subtract_b_dec=…\)"):
        read_checkpoint(weights())


def test_what_is_compiled_or_spread_is_known_and_read_as_what_is_inside():
    class Compiled(nn.Module):  # as torch.compile makes one
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner
            inner._is_torch_compile = True

    class TopK(Bare):
        def encode(self, x):
            values, where = (x @ self.W_enc).relu().topk(2)
            return torch.zeros(len(x), 6).scatter(-1, where, values)

    alone, spread = read_checkpoint(TopK()), read_checkpoint(nn.DataParallel(Compiled(TopK())))
    assert type(spread.sae) is TopK  # not its weights alone, which would be read as a ReLU SAE's
    assert spread.digest == alone.digest


def test_buffers_that_are_not_saved_are_among_what_an_object_is_known_by():
    class Jump(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.eye(4))
            self.register_buffer("threshold", torch.ones(4), persistent=False)

        def encode(self, x):
            return x @ self.W * (x @ self.W > self.threshold)

    class Wrapper:
        def __init__(self):
            self.inner = Jump()
            self.encode = self.inner.encode

    for sae, buffers in ((one := Jump(), one), (two := Wrapper(), two.inner)):
        before = read_checkpoint(sae).digest
        buffers.threshold += 1
        assert read_checkpoint(sae).digest != before
        buffers.threshold -= 1
        assert read_checkpoint(sae).digest == before


def test_a_model_is_known_by_its_weights_large_tensors_included():
    model = nn.Sequential(nn.Embedding(3000, 64), nn.Linear(64, 2))
    before = model_digest(model)
    assert model_digest(model.train()) == before
    with torch.no_grad():
        model[0].weight.mul_(1 + 1e-3)
    assert model_digest(model) != before


def test_a_reconstruction_takes_what_encode_gives():
    sae = SparseAutoencoder(**weights(), activation="topk", k=2, subtract_b_dec=True)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(4))
    expected = sae.decode(sae.encode(x), x)

    class Sparse:  # as sparsify's SparseCoder
        d_in, num_latents = 4, 6

        def encode(self, x):
            values, where = sae.encode(x).topk(2)
            return {"top_acts": values, "top_indices": where, "pre_acts": x}

        def decode(self, top_acts, top_indices):
            rows = torch.zeros(len(top_acts), 6).scatter(1, top_indices, top_acts)
            return rows @ sae.W_dec + sae.b_dec

    class Two:
        d_in = 4

        def encode(self, x):
            return sae.encode(x)

        def decode(self, latents, x):
            return sae.decode(latents, x)

    class Silent(Two):
        decode = None

    assert torch.allclose(AdaptedEncoder(Sparse()).reconstruct(x), expected)
    assert AdaptedEncoder(Sparse()).undecoded == ""
    assert "Two.decode does not take what encode gives" in AdaptedEncoder(Two()).undecoded
    assert AdaptedEncoder(Silent()).undecoded == "Silent has no method `decode`"


def test_inputs_are_in_the_precision_of_weights_wherever_an_object_holds_them():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("W", torch.eye(4).bfloat16())

        def encode(self, x):
            return (x @ self.W).relu()

    class Wrapper:
        def __init__(self):
            self.inner = Held()

        def encode(self, x):
            return self.inner.encode(x)

    x = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    for sae in (Held(), Wrapper()):
        assert torch.equal(AdaptedEncoder(sae, d_in=4).encode(x), x.relu())
