"""The cohort page of a data set: flow from files to patients, Table 1, classes by scanner. It names nobody (docs/audit.md)."""

from radload.cohort.cohort import Cohort, describe
from radload.cohort.page import write_page

__all__ = ["Cohort", "describe", "write_page"]
