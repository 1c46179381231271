"""Later versions of a data set: patients who withdrew are left out (`forget`), and then their bytes go (`compact`)."""

from radload.versions.compact import Compacted, compact
from radload.versions.forget import Forgotten, forget

__all__ = ["Compacted", "Forgotten", "compact", "forget"]
