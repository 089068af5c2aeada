"""Write what the tiny variant studies: a language model of random weights, and text of both sides.

The text is the embedded subject's; every tenth document is held out. The model reads it by the
embedded tokenizer. Nothing is downloaded, and nothing that comes out of it says anything of a model
that anybody trained: the tiny variant shows that the steps work.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import resources
from pathlib import Path

DOCUMENTS = 240
HELD_OUT = 3  # one document in so many
CHARACTERS = 1_500  # of each document, from its start
LAYERS, D_MODEL, D_MLP, WINDOW = 2, 32, 64, 128


def write_text(folder: Path, tokenizer: Path, corpus: Path) -> None:
    """Write train.jsonl and heldout.jsonl."""
    from autointerp.subjects.tokenizers import load_tokenizer
    from autointerp.subjects.windows import load_documents

    backend = load_tokenizer(tokenizer).backend
    documents = load_documents(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    sides: dict[str, list[str]] = {"train": [], "heldout": []}
    for number in range(min(DOCUMENTS, len(documents))):
        text = backend.decode(documents[number].tolist())[:CHARACTERS]
        side = "heldout" if number % HELD_OUT == 0 else "train"
        sides[side].append(json.dumps({"text": text, "document": number}, ensure_ascii=False))
    for side, lines in sides.items():
        (folder / f"{side}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def write_model(folder: Path, tokenizer: Path) -> None:
    """Write a Llama of random weights, and its tokenizer, as transformers reads them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer))
    fast.save_pretrained(str(folder))
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=D_MODEL, intermediate_size=D_MLP,
        num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=WINDOW, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(str(folder))


def main(arguments: list[str] | None = None) -> int:
    """Write the model and the text."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.smollm2.tiny", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for model/ and text/")
    out: Path = parser.parse_args(arguments).out
    embedded = Path(str(resources.files("autointerp.subjects") / "embedded"))
    write_text(out / "text", embedded / "tokenizer.json", embedded / "corpus.npz")
    write_model(out / "model", embedded / "tokenizer.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
