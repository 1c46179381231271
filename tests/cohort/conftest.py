"""Fixtures of the packer's tests."""

from conftest_pack import write_dicom, write_series

__all__ = ["write_dicom", "write_series"]
