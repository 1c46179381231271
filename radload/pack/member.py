"""Reading a member of a shard by its header, which must be, to the byte, the one that radload writes for that name and size."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from radload.dataset.schema import KEY_DIGITS
from radload.errors import CorruptSample
from radload.pack.shard import BLOCK, header

MEMBER: Final = re.compile(rf"(\d{{{KEY_DIGITS}}})\.(j2c|npy|json|mask\.npy)")
_SIZE: Final = re.compile(rb"[0-7]{11}\0")


def read_member(file: BinaryIO, position: int, name: str) -> bytes:
    """The data of the member `name` whose header begins at `position`. Raises CorruptSample where it is not there."""
    file.seek(position)
    found = understood(file.read(BLOCK))
    if found is None or f"{found[0]:0{KEY_DIGITS}d}.{found[1]}" != name:
        raise CorruptSample(f"{name} is not at byte {position:,} of its shard: restore the shard from a copy")
    data = file.read(found[2])
    if len(data) != found[2]:
        raise CorruptSample(f"{name} is cut: restore the shard from a copy")
    return data


def understood(block: bytes) -> tuple[int, str, int] | None:
    """(key, extension, size) of a header that radload writes, None for any other block."""
    if len(block) != BLOCK or not _SIZE.fullmatch(block[124:136]):
        return None
    match = MEMBER.fullmatch(block[:100].rstrip(b"\0").decode("latin-1"))
    size = int(block[124:135], 8)
    if match is None or header(match[0], size) != block:
        return None
    return int(match[1]), match[2], size
