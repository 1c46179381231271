"""Fixtures of the packer's tests: the planted leaks are packed from real files."""

from audit_make import packed
from conftest_pack import clinic, write_dicom, write_series

__all__ = ["clinic", "packed", "write_dicom", "write_series"]
