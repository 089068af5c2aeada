"""Copy a trained subject into the package, weights in float16.

Run after `autointerp train`; see autointerp/subjects/embedded/CARD.md, Commands.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from autointerp.subjects.autoencoder import load_autoencoder
from autointerp.subjects.one_layer import load_one_layer
from autointerp.subjects.places import RECORD
from autointerp.subjects.training.recipe import (
    ModelRecord,
    TrainingRecord,
    read_record,
)
from autointerp.subjects.untrained import weights_digest

EMBEDDED = Path(__file__).parents[1] / "autointerp" / "subjects" / "embedded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trained", type=Path, help="folder of `autointerp train`")
    parser.add_argument(
        "--untrained", action="store_true", help="it is the folder of `autointerp train untrained`"
    )
    arguments = parser.parse_args()
    trained: Path = arguments.trained
    EMBEDDED.mkdir(exist_ok=True)
    if arguments.untrained:
        twin = EMBEDDED / "untrained"
        twin.mkdir(exist_ok=True)
        load_autoencoder(trained / "sae.safetensors").save(twin / "sae.safetensors", half=True)
        shutil.copyfile(trained / RECORD, twin / RECORD)
        (twin / "sae.safetensors").chmod(0o644)
        return
    load_one_layer(trained / "transformer.safetensors").save(
        EMBEDDED / "transformer.safetensors", half=True
    )
    load_autoencoder(trained / "sae.safetensors").save(EMBEDDED / "sae.safetensors", half=True)
    shutil.copyfile(trained / "tokenizer.json", EMBEDDED / "tokenizer.json")
    shutil.copyfile(trained / "heldout.npz", EMBEDDED / "corpus.npz")
    # The twin's recipe is read from it; its digest is that of the shipped, rounded weights.
    recipe = read_record(trained).recipe
    shipped = load_one_layer(EMBEDDED / "transformer.safetensors")
    model = ModelRecord("embedded", digest=weights_digest(shipped))
    TrainingRecord(model, recipe, read_record(trained).measures).write(EMBEDDED)
    for path in EMBEDDED.glob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
