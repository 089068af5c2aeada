"""Copy a trained subject into the package, weights in float16.

Run after `autointerp train`; see autointerp/subjects/embedded/CARD.md, Commands.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from autointerp.subjects.autoencoder import load_autoencoder
from autointerp.subjects.one_layer import load_one_layer

EMBEDDED = Path(__file__).parents[1] / "autointerp" / "subjects" / "embedded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trained", type=Path, help="folder of `autointerp train`")
    trained: Path = parser.parse_args().trained
    EMBEDDED.mkdir(exist_ok=True)
    load_one_layer(trained / "transformer.safetensors").save(
        EMBEDDED / "transformer.safetensors", half=True
    )
    load_autoencoder(trained / "sae.safetensors").save(EMBEDDED / "sae.safetensors", half=True)
    shutil.copyfile(trained / "tokenizer.json", EMBEDDED / "tokenizer.json")
    shutil.copyfile(trained / "heldout.npz", EMBEDDED / "corpus.npz")
    for path in EMBEDDED.glob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
