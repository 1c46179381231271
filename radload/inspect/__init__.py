"""Looking at a packed data set: tables of what it holds, and a contact sheet of what a model will see."""

from radload.inspect.contact_sheet import write_contact_sheet
from radload.inspect.summary import Summary, summarise
from radload.inspect.tables import print_tables

__all__ = ["Summary", "print_tables", "summarise", "write_contact_sheet"]
