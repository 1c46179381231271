"""A shard written anew without some of its samples: for a version that leaves out what is damaged, or whom it must not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from radload.codecs import EXTENSIONS
from radload.dataset.files import atomic_file
from radload.dataset.schema import Codec, key_text
from radload.dataset.segment import ShardPart
from radload.dataset.shards import ShardFiles
from radload.pack.member import read_member
from radload.pack.shard import BLOCK, TarWriter


def rewrite_shard(root: Path, part: ShardPart, name: str) -> ShardPart:
    """Write the samples of `part`, and no other, from its shard into a new one, `name`; returns the part that this one is.

    Members are copied bit for bit, and keys stay. Every byte of pixels and masks is checked again.

    Raises:
        CorruptSample: a sample is damaged. FormatError, OSError: the shard cannot be opened.
    """
    records, masks = part.records.copy(), part.masks.copy()
    with (
        ShardFiles(root, [part.name]) as shards,
        (root / part.name).open("rb") as old,
        atomic_file(root / name) as file,
    ):
        tar = TarWriter(file)
        for row, record in enumerate(records):
            key, data = key_text(int(record["key"])), shards.read(record)
            text = read_member(old, int(record["offset"]) + len(data) + -len(data) % BLOCK, f"{key}.json")
            mask = shards.read_mask(masks[row], record) if len(masks) and masks[row]["length"] else None
            record["offset"] = tar.add(f"{key}.{EXTENSIONS[Codec(int(record['codec']))]}", data)
            tar.add(f"{key}.json", text)
            if mask is not None:
                masks[row]["offset"] = tar.add(f"{key}.mask.npy", mask)
        digest = tar.finish()
    return replace(part, name=name, size=tar.size, sha256=digest, records=records, masks=masks, generation=None)
