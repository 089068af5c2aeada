"""The command line with shards of SHARD_TOKENS tokens, for corpora of a hundred thousand.

Each batch takes BATCH_S seconds at least, so that a kill meets a harvest at work.
"""

import os
import time
from typing import Any

from autointerp.apps.cli import _app as cli
from autointerp.units import shards as sharding


def main() -> None:
    """Run the command."""
    batch_s = float(os.environ.get("BATCH_S", "0"))
    sharding.SHARD_TOKENS = int(os.environ.get("SHARD_TOKENS", "8192"))
    read = sharding.at_site

    def slowly(*arguments: Any) -> Any:
        time.sleep(batch_s)
        return read(*arguments)

    sharding.at_site = slowly
    cli.main()


if __name__ == "__main__":
    main()
