"""Shards are plain USTAR: what tarfile reads is what was written, and the same members give the same bytes anywhere."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.pack.shard import BLOCK, TarWriter, header

MEMBERS = st.lists(
    st.tuples(st.from_regex(r"[0-9]{12}\.(j2c|json|npy)", fullmatch=True), st.binary(max_size=1500)), max_size=8
)


@given(MEMBERS)
def test_tarfile_reads_what_was_written_where_the_writer_says(members: list[tuple[str, bytes]]) -> None:
    file = io.BytesIO()
    writer = TarWriter(file)
    offsets = [writer.add(name, data) for name, data in members]
    digest = writer.finish()
    content = file.getvalue()
    assert len(content) == writer.size and writer.size % BLOCK == 0
    assert hashlib.sha256(content).digest() == digest
    assert content.endswith(bytes(2 * BLOCK))
    with tarfile.open(fileobj=io.BytesIO(content), format=tarfile.USTAR_FORMAT) as tar:
        found = tar.getmembers()
        assert [member.name for member in found] == [name for name, _ in members]
        assert [member.offset_data for member in found] == offsets
        for member, (_, data) in zip(found, members, strict=True):
            reader = tar.extractfile(member)
            assert reader is not None and reader.read() == data
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime, member.mode) == (
                0,
                0,
                "",
                "",
                0,
                0o644,
            )


def test_a_header_is_what_tarfile_would_write() -> None:
    info = tarfile.TarInfo("000000000042.json")
    info.size = 1234
    assert header("000000000042.json", 1234) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("", 1), ("1" * 101, 1), ("1", 8**11)])
def test_what_ustar_cannot_say_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="USTAR"):
        header(name, size)
