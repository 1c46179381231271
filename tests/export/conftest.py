"""Fixtures of the packer's tests."""

from conftest_pack import clinic, write_dicom, write_series

__all__ = ["clinic", "write_dicom", "write_series"]
