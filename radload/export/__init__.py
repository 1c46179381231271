"""A part of a data set for somebody else: new keys, where wanted new pseudonyms and no geometry, and no private folder."""

from radload.export.export import Exported, ExportOptions, export

__all__ = ["ExportOptions", "Exported", "export"]
