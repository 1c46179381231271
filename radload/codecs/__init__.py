"""Bytes of a member <-> stored values. Knows nothing of DICOM, tar files or torch."""

from radload.codecs.checksum import crc32c
from radload.codecs.encoded import EXTENSIONS, BytesLike, Encoded
from radload.codecs.member import CodecName, decode_mask, decode_stored, encode

__all__ = ["EXTENSIONS", "BytesLike", "CodecName", "Encoded", "crc32c", "decode_mask", "decode_stored", "encode"]
