"""Fixtures of the packer's tests; they are written in conftest_pack.py, whose types and helpers the tests import."""

from conftest_pack import clinic, write_dicom, write_series

__all__ = ["clinic", "write_dicom", "write_series"]
