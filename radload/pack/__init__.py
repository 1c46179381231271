"""Packing: a folder of image files becomes shards, an index and a private folder. `pack` is the command, `PackOptions` what it is asked."""

from radload.pack.append import append
from radload.pack.entry import pack
from radload.pack.options import PackOptions
from radload.pack.preview import DryRun, dry_run
from radload.pack.stopped import Stopped
from radload.pack.summary import PackSummary

__all__ = ["DryRun", "PackOptions", "PackSummary", "Stopped", "append", "dry_run", "pack"]
