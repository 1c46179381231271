"""Promise: checksums are CRC-32C, of any kind of buffer, and those of all prefixes come from one pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.codecs.checksum import combine, crc32c, extend, prefix_crcs


def test_the_check_value_of_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the value that catalogues of CRCs list for CRC-32C
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4, 32 bytes of zeroes


@given(st.binary(max_size=300), st.integers(0, 300))
def test_every_kind_of_buffer_and_every_partition_gives_the_same(data: bytes, cut: int) -> None:
    view = memoryview(data)
    assert crc32c(data) == crc32c(bytearray(data)) == crc32c(view)
    assert extend(crc32c(view[:cut]), view[cut:]) == crc32c(data)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_pieces_combine_to_the_checksum_of_both(first: bytes, second: bytes) -> None:
    assert combine(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)


def test_large_pieces_combine() -> None:
    first, second = bytes(range(256)) * 1000, bytes(1 << 25)
    assert combine(crc32c(first), crc32c(second), len(second)) == extend(crc32c(first), second)


@given(st.data())
def test_prefixes_in_any_order(data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=100))
    ends = data.draw(st.lists(st.integers(0, len(content)), max_size=8))
    assert prefix_crcs(content, ends) == tuple(crc32c(content[:end]) for end in ends)


@pytest.mark.parametrize("end", [-1, 4])
def test_a_prefix_outside_the_data_is_refused(end: int) -> None:
    with pytest.raises(ValueError, match="prefix"):
        prefix_crcs(b"abc", [end])
