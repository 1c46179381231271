"""Whether a device decodes to the CPU's bits, remembered per machine: a small file in the user's cache folder.

It says which decoder of which versions on which GPU was equal or was not, and nothing else: no path, no sample, no serial number.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from radload.dataset.files import write_json

_FORMAT: Final = 1
_DRIVER: Final = Path("/proc/driver/nvidia")
_LIBRARIES: Final = (
    "imagecodecs",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "nvidia-nvimgcodec-cu12",
    "nvidia-nvimgcodec-cu13",
    "nvidia-nvjpeg",
    "nvidia-nvjpeg-cu12",
    "nvidia-nvjpeg2k-cu12",
    "nvidia-nvjpeg2k-cu13",
)

_Known = dict[str, dict[str, bool]]  # machine -> codec -> whether it was equal


@dataclass(frozen=True)
class Verdicts:
    """What is known of one machine.

    Attributes:
        path: of the file, None to remember nothing; machine: what the verdicts hold for.
    """

    path: Path | None
    machine: str
    _kept: dict[tuple[int, int, int], _Known] = field(default_factory=dict, repr=False, compare=False)

    def of(self, codec: str) -> bool | None:
        """True: it gave the CPU's bits; False: it once did not; None: nobody has looked."""
        return self._read().get(self.machine, {}).get(codec)

    def note(self, codec: str, equal: bool) -> None:
        """Remember; what was wrong once stays wrong. A file that cannot be written costs another look next time, no more."""
        if self.path is None:
            return
        known = {machine: dict(verdicts) for machine, verdicts in self._read().items()}
        here = known.setdefault(self.machine, {})
        if here.get(codec) in (equal, False):
            return
        here[codec] = equal
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_json(self.path, {"version": _FORMAT, "verdicts": known}, 0o600)

    def _read(self) -> _Known:
        """All that the file holds; nothing where it is damaged, or of another version.

        It is read once: whoever changes it, puts another file in its place.
        """
        if self.path is None:
            return {}
        try:
            found = self.path.stat()
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            known = self._kept.get(identity)
            if known is None:
                known = _parse(self.path.read_text("utf-8"))
                self._kept.clear()
                self._kept[identity] = known
            return known
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}


def _parse(text: str) -> _Known:
    """Raises ValueError, LookupError, TypeError or AttributeError for a damaged file."""
    content = json.loads(text)
    if content["version"] != _FORMAT:
        return {}
    return {
        str(machine): {str(codec): equal for codec, equal in verdicts.items() if isinstance(equal, bool)}
        for machine, verdicts in content["verdicts"].items()
    }


def open_verdicts(find: Callable[[], str | None] | None = None) -> Verdicts:
    """Those of this machine; where its GPU cannot be told, nothing is remembered."""
    machine = (find or machine_name)()
    return Verdicts(None if machine is None else verdicts_path(), machine or "")


def verdicts_path() -> Path:
    """decoders.json in the user's cache folder (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    return base / "radload" / "decoders.json"


def machine_name(driver: Path = _DRIVER) -> str | None:
    """GPUs, driver and versions of the libraries that decode, as one text; None without an NVIDIA driver."""
    try:
        said = (driver / "version").read_text("utf-8", "replace")
        found = [path.read_text("utf-8", "replace") for path in (driver / "gpus").glob("*/information")]
    except OSError:
        return None
    number = re.search(r"\b\d+\.\d+(\.\d+)?\b", said)
    models = {model[1].strip() for text in found if (model := re.search(r"^Model:(.*)$", text, re.MULTILINE))}
    if number is None or not models:
        return None
    return ", ".join([*sorted(models), f"driver {number[0]}", *_versions()])


def _versions() -> list[str]:
    found = []
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found
