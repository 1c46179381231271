"""Who decodes the streams of a device's batches: one of its decoders, under guard, or the CPU where none can be had or trusted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.loading.gpu.calibrate import calibrate
from radload.loading.gpu.decoded import Decoded, Decoder
from radload.loading.gpu.decoder import NAMES
from radload.loading.gpu.device import Device
from radload.loading.gpu.guard import Guard
from radload.loading.gpu.share import AUTO, CPU

_REFUSALS = 3  # batches that a decoder may refuse one after the other before it is given up

_log = logging.getLogger("radload")


class Decoding:
    """Decoders of one device.

    Args:
        decode: as of Loader; threads: of the loader's process; count: the most streams of a batch.
        lost: called when what was decoded so far can be trusted no more.

    Attributes:
        share: of a batch's streams that the CPU should decode. distrusted: the device is not asked any more.

    Raises:
        UsageError: decode="gpu", and no decoder is installed.
    """

    def __init__(self, device: Device, decode: str, threads: int, count: int, lost: Callable[[], None]) -> None:
        self._verdicts, self._threads, self._lost = device.verdicts, threads, lost
        self.share, self.distrusted = (1.0 if decode == CPU else 0.0), False
        self._undecided = decode == AUTO
        self._decoders: list[Decoder] = [] if decode == CPU else self._open(device, decode, count)
        self._guards = {one.name: Guard(self._verdicts.of(_codec(one)) is True) for one in self._decoders}
        self._refused: Counter[str] = Counter()

    def _open(self, device: Device, decode: str, count: int) -> list[Decoder]:
        """All that can be had, for "auto" to choose from, else the first; [] where the CPU must do."""
        found: list[Decoder] = []
        missing: list[UsageError] = []
        for name in NAMES:
            if self._verdicts.of(f"{name} HTJ2K") is False:
                _log.warning(
                    "%s has not decoded HTJ2K as the CPU does on this machine before, and is not used (%s)",
                    name,
                    self._verdicts.path,
                )
                continue
            try:
                found.append(device.decoder(count, name))
            except UsageError as error:
                missing.append(error)
                continue
            if decode != AUTO:
                break
        if not found:
            if decode != AUTO and len(missing) == len(NAMES):
                raise missing[0]
            if missing:
                _log.info("decode=%r: the CPU decodes (%s)", decode, missing[0])
            self.share, self._undecided = 1.0, False
        return found

    def decode(self, data: list[NDArray[np.uint8]], shards: NDArray[np.integer]) -> Decoded | None:
        """The images of a batch, checked; None where the CPU must decode it. Batches may come that were asked for before that was known."""
        if self.distrusted:
            return None
        good: list[tuple[Decoder, Decoded]] = []
        for decoder in tuple(self._decoders):
            images = self._attempt(decoder, data, shards)
            if images is not None:
                good.append((decoder, images))
        if not self._decoders:
            self.give_up()
        if not good:
            return None
        best, found = good[0]
        if self._undecided:
            self._undecided = False
            self.share, best = calibrate(data, [decoder for decoder, _ in good], self._threads)
            self._decoders = [best]
            found = next(images for decoder, images in good if decoder is best)
        return found

    def _attempt(self, decoder: Decoder, data: list[NDArray[np.uint8]], shards: NDArray[np.integer]) -> Decoded | None:
        name = decoder.name
        try:
            decoded = decoder.decode(data)
        except RuntimeError as error:
            self._refused[name] += 1
            reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
            _log.warning("the GPU's decoder (%s) refused a batch, the CPU decodes it (%s)", name, reason)
            if self._refused[name] >= _REFUSALS:
                _log.warning("%s has refused %d batches in a row: it is not used from now on", name, _REFUSALS)
                self._decoders.remove(decoder)
            return None
        self._refused[name] = 0
        guard = self._guards[name]
        first = guard.looks_at_all
        wrong = guard.differs(data, shards, decoded)
        if wrong is not None:
            _log.warning(
                "the GPU (%s) does not decode HTJ2K as the CPU does: it is not used from now on (%s)", name, wrong
            )
            self._verdicts.note(_codec(decoder), False)
            self._decoders.remove(decoder)
            return None
        if first:
            self._verdicts.note(_codec(decoder), True)
        return decoded

    def give_up(self) -> None:
        """The CPU decodes everything from now on."""
        self.share, self._undecided, self.distrusted = 1.0, False, True
        self._decoders = []
        self._lost()


def _codec(decoder: Decoder) -> str:
    return f"{decoder.name} HTJ2K"
