"""Files of tensors: the same content is the same bytes."""

import torch
from safetensors import safe_open

from autointerp.subjects.tensor_file import save_tensors


def test_the_same_content_is_the_same_bytes(tmp_path):
    said = {f"key {n}": 'a "quoted" é' for n in (3, 1, 2, 5, 4)}  # of 120 orders one is by name
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    files = [tmp_path / f"{n}.safetensors" for n in range(3)]
    for file in files:
        save_tensors(tensors, file, said)
    first, *others = (file.read_bytes() for file in files)
    assert others == [first, first]
    with safe_open(files[0], framework="pt") as file:
        assert file.metadata() == said
        assert torch.equal(file.get_tensor("b"), tensors["b"])
