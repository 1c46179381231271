"""pretrain.py, which notes for each step of each process what it was given: index and a checksum of the image. RECORD: a folder."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from radload.train.feed import Feed
from radload.train.pretrain import main

_iterate = Feed.__iter__


def iterate_recorded(feed: Feed) -> Iterator[dict[str, Any]]:
    """`Feed.__iter__`, which notes what it gives."""
    with Path(os.environ["RECORD"], f"{os.environ.get('RANK', '0')}-{os.getpid()}.jsonl").open("a") as file:
        for batch in _iterate(feed):
            sums = [zlib.crc32(image.contiguous().numpy().tobytes()) for image in batch["image"]]
            file.write(json.dumps([feed._step, batch["index"].tolist(), sums]) + "\n")
            file.flush()
            yield batch


def recorded(folder: Path) -> dict[int, set[tuple[int, int]]]:
    """Step -> (row of the index, checksum of the augmented image) of all processes that ever took it."""
    steps: dict[int, set[tuple[int, int]]] = {}
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            step, rows, sums = json.loads(line)
            steps.setdefault(step, set()).update(zip(rows, sums, strict=True))
    return steps


if __name__ == "__main__":
    Feed.__iter__ = iterate_recorded  # type: ignore[method-assign]
    sys.exit(main())
