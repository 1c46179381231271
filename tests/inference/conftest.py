"""Files of several kinds, made to order, and a data set packed of them."""

from conftest_pack import write_dicom, write_series

__all__ = ["write_dicom", "write_series"]
