"""A folder that cannot be written, said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from radload.errors import UsageError


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """For a block that writes into `folder`, which --out named.

    Raises:
        UsageError: a file cannot be written; says why.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{folder} cannot be written ({why}): make room there, or give another --out") from None
