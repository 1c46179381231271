"""One file, whatever its format: `scan` and `read`, and the promise that damaged bytes end as `Refused` and as nothing else."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from radload.sources.dicom import lossless_frames, read_dicom, scan_dicom
from radload.sources.dicom_codestreams import Ahead
from radload.sources.images import read_image, scan_image
from radload.sources.nifti import read_nifti, scan_nifti
from radload.sources.slice import Header, NotAnImage, PartOf, Refused, Slice
from radload.sources.sniff import HEAD, Kind, pair_header, sniff

# What the parsers of damaged bytes raise, pydicom and nibabel among them; OSError joins them where no system call stands behind it.
_PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,  # with RecursionError and NotImplementedError
    struct.error,
    zlib.error,
)


def scan(path: Path, source: str, nifti_axis: int = 2) -> Header:
    """Read one file's header; no pixel is decoded.

    Args:
        path: the file.
        source: how the header names it: relative to the scanned folder, POSIX separators.
        nifti_axis: 0, 1 or 2, the axis of a NIfTI voxel array to cut along.

    Raises:
        Refused: the file cannot give a slice; codes in `codes.CODES`.
        NotAnImage: it is in no format that radload reads (`PartOf`: it belongs to another file).
        OSError: it cannot be read at all.
    """
    with path.open("rb") as file, damaged_bytes_are_refused():
        kind = _kind(file, path, source)
        if kind is Kind.DICOM:
            return scan_dicom(file, source)
        if kind is Kind.NIFTI:
            return scan_nifti(file, path, source, nifti_axis)
        return scan_image(file, kind, source)


def read(
    path: Path,
    header: Header | None = None,
    root: Path | None = None,
    nifti_axis: int = 2,
    ahead: Ahead | None = None,
) -> Iterator[Slice | tuple[int, Refused]]:
    """Yield one file's slices, in order of frame; (frame, reason) for a frame that cannot be decoded while others can.

    Args:
        path: the file; relative to `root` where that is given.
        header: what `scan` returned, if it is at hand: a file that no longer fits it is refused (`changed-file`).
        root: the scanned folder.
        nifti_axis: as in `scan`.
        ahead: of DICOM files, see `dicom_codestreams.decode`.

    Raises:
        Refused, NotAnImage, OSError: as `scan`; also where not one frame can be decoded. Raised when the first slice is asked for.
    """
    path = path if root is None else root / path
    refused: list[tuple[int, Refused]] = []
    decoded = False
    with path.open("rb") as file:
        slices = _slices(file, path, header, nifti_axis, ahead)
        while True:
            with damaged_bytes_are_refused():
                item = next(slices, None)
            if item is None:
                break
            if not isinstance(item, Slice) and not decoded:
                refused.append(item)  # kept back until it is known whether any frame can be decoded
                continue
            if isinstance(item, Slice) and header is not None:
                _check_unchanged(item, header)
            decoded = True
            yield from refused
            refused.clear()
            yield item
    if refused:
        raise refused[0][1]


def coded_frames(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """(frame, codestream, kind) of those frames of a DICOM file that any decoder may decode; nothing of other files.

    Raises:
        Refused, OSError: as `read`.
    """
    with path.open("rb") as file:
        if sniff(file.read(HEAD)) is not Kind.DICOM:
            return
        frames = lossless_frames(file)
        while True:
            with damaged_bytes_are_refused():
                item = next(frames, None)
            if item is None:
                return
            yield item


def _check_unchanged(item: Slice, header: Header) -> None:
    if item.frame >= header.frames or item.stored.shape[:2] != (header.rows, header.cols):
        raise Refused("changed-file", "the file is no longer the one that was scanned")


def _slices(
    file: BinaryIO, path: Path, header: Header | None, nifti_axis: int, ahead: Ahead | None
) -> Iterator[Slice | tuple[int, Refused]]:
    kind = _kind(file, path, header.source if header is not None else path.name)
    if kind is Kind.DICOM:
        yield from read_dicom(file, ahead)
    elif kind is Kind.NIFTI:
        yield from read_nifti(file, path, nifti_axis)
    else:
        yield read_image(file, kind)


def _kind(file: BinaryIO, path: Path, source: str) -> Kind:
    head = file.read(HEAD)
    if not head:
        raise Refused("empty-file", "the file is empty")
    kind = sniff(head)
    if kind is not None:
        return kind
    pair = pair_header(path)
    if pair is not None:
        raise PartOf(source[: len(source) - len(path.name)] + pair.name)
    raise NotAnImage("no image format that radload reads")


@contextmanager
def damaged_bytes_are_refused() -> Iterator[None]:
    """Turn what parsers raise into `Refused`. Their messages and warnings quote values of the file: neither goes any further."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (Refused, NotAnImage) as error:
            error.__cause__ = None  # a traceback would print it, and with it the value that could not be read
            raise
        except OSError as error:
            if error.errno is not None:
                raise
            raise Refused("bad-header", "the file cannot be parsed") from None
        except MemoryError:
            raise Refused("out-of-memory", "reading the file takes more memory than there is") from None
        except _PARSE_ERRORS as error:
            raise Refused("bad-header", f"the file cannot be parsed ({type(error).__name__})") from None
