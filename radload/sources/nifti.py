"""NIfTI-1 and NIfTI-2, plain, gzipped or as a .hdr/.img pair. nibabel reads the header, the voxels are read here, once.

A volume is cut along one axis of its voxel array, the last spatial one by default. Of the two axes that remain, the one that is stored
first becomes the columns and the other one the rows, so a slice is the transpose of nibabel's `volume[:, :, k]`: for the default axis,
rows follow y and columns follow x. Volumes of a 4-D or 5-D file follow one another: frame = k + n * t, with t in Fortran order.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from radload.sources.limits import MAX_FRAMES, MAX_SIDE, check_frame
from radload.sources.nifti_voxels import blocks, is_gzip
from radload.sources.slice import Header, NotAnImage, Refused, SeriesAttributes, Slice
from radload.sources.sniff import GZIP, nifti_magic, pair_stem

_HEADERS: Final = {b"n+1": Nifti1Header, b"ni1": Nifti1PairHeader, b"n+2": Nifti2Header, b"ni2": Nifti2PairHeader}
_CIFTI_INTENTS: Final = range(3000, 3100)
_TOO_WIDE: Final = (1536, 2048)  # float128 and complex256
_TO_MM: Final = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units
_BLOCK_LIMIT: Final = 1 << 30  # bytes of a volume that is cut along another axis than the last
_SILENT: Final = logging.Logger("nifti", logging.CRITICAL + 1)  # nibabel tells of every oddity on stderr
_LPS: Final = np.diag([-1.0, -1.0, 1.0])  # NIfTI's axes are RAS, DICOM's are LPS


@dataclass(frozen=True, slots=True)
class _Volume:
    """A checked header. `shape` has at least three axes; `axis` is the one to cut along; `data` is the file that holds the voxels."""

    shape: tuple[int, ...]
    axis: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    zooms: tuple[float, float, float]  # millimetres, 0 where unknown
    affine: NDArray[np.float64] | None  # voxel -> LPS millimetres, (3, 4)
    data: Path

    @property
    def plane(self) -> tuple[int, int]:
        """(axis of the rows, axis of the columns)."""
        cols, rows = (axis for axis in range(3) if axis != self.axis)
        return rows, cols

    @property
    def frames(self) -> int:
        return math.prod(self.shape) // (self.shape[self.plane[0]] * self.shape[self.plane[1]])

    @property
    def channels(self) -> int:
        return 1 if self.dtype.names is None else 3

    @property
    def bits(self) -> int:
        """Of one stored value; a complex number becomes a float of half its size."""
        return 8 if self.channels == 3 else self.dtype.itemsize * (4 if self.dtype.kind == "c" else 8)


def scan_nifti(file: BinaryIO, path: Path, source: str, axis: int) -> Header:
    """The header of the NIfTI file `path`, open as `file`; of a gzipped one only the start is inflated.

    Args:
        axis: 0, 1 or 2, the axis of the voxel array to cut along.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    volume = _volume(file, path, axis)
    if volume.data == path:
        held = None if is_gzip(path) else path.stat().st_size
        parts: tuple[str, ...] = ()
    else:
        held = None if is_gzip(volume.data) else volume.data.stat().st_size
        parts = (source[: len(source) - len(path.name)] + volume.data.name,)
    if held is not None and held < volume.offset + math.prod(volume.shape) * volume.dtype.itemsize:
        raise Refused("truncated", "the file ends before its voxels do")
    rows, cols = volume.plane
    planes = [_plane(volume, frame) for frame in range(volume.shape[volume.axis])]
    normal = planes[0][2]
    positions = None
    if volume.frames == volume.shape[volume.axis]:  # one volume: several of them are ordered by frame
        positions = tuple(along for _, _, _, along in planes)
    return Header(
        source=source,
        format="nifti",
        rows=volume.shape[rows],
        cols=volume.shape[cols],
        channels=volume.channels,
        bits=volume.bits,
        frames=volume.frames,
        attributes=SeriesAttributes(),
        parts=parts,
        positions=positions,
        normal=normal,
    )


def read_nifti(file: BinaryIO, path: Path, axis: int) -> Iterator[Slice]:
    """Yield the slices of the NIfTI file `path`, open as `file`; a gzipped one is checked as a whole before the first.

    `stored` is (rows, cols), or (rows, cols, 3) for RGB24 and RGBA32. Alpha is dropped, and complex numbers are scaled and become their
    magnitude: `exact` is False for both.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    volume = _volume(file, path, axis)
    rows, cols = volume.plane
    depth = volume.shape[volume.axis]
    block_shape = (*volume.shape[:2], 1 if volume.axis == 2 else volume.shape[2])
    size = math.prod(block_shape) * volume.dtype.itemsize
    stream = blocks(volume.data, volume.offset, size, math.prod(volume.shape) // math.prod(block_shape))
    block = np.zeros(0, volume.dtype)
    native = volume.dtype.newbyteorder("=")
    complex_numbers = volume.dtype.kind == "c"
    for frame in range(volume.frames):
        index = frame % depth
        if volume.axis == 2 or index == 0:
            block = np.ndarray(block_shape, dtype=volume.dtype, buffer=next(stream), order="F")
        cut: list[Any] = [slice(None)] * 3
        cut[volume.axis] = 0 if volume.axis == 2 else index
        plane = block[tuple(cut)].T  # (rows, cols); np.take would copy the volume for each slice
        if volume.channels == 3:
            stored: NDArray[np.generic] = np.stack([plane[name] for name in "RGB"], axis=-1)
        elif complex_numbers:
            stored = _magnitude(plane.astype(native, copy=False), volume)
        else:
            stored = np.ascontiguousarray(plane.astype(native, copy=False))
        position, orientation, _, _ = _plane(volume, index)
        spacing = volume.zooms[rows], volume.zooms[cols]
        yield Slice(
            frame=frame,
            stored=stored,
            photometric="RGB" if volume.channels == 3 else "MONOCHROME2",
            bits_stored=volume.bits,
            slope=1.0 if complex_numbers else volume.slope,
            intercept=0.0 if complex_numbers else volume.intercept,
            spacing=spacing if min(spacing) > 0 else None,
            spacing_source="pixel" if min(spacing) > 0 else "",
            position=position,
            orientation=orientation,
            exact=not complex_numbers and (volume.dtype.names is None or "A" not in volume.dtype.names),
        )


def _magnitude(plane: NDArray[np.generic], volume: _Volume) -> NDArray[np.generic]:
    """Of the scaled complex numbers, float32 for complex64 and float64 for complex128; scaling afterwards would be another number."""
    scaled = plane.astype(np.complex128) * volume.slope + volume.intercept
    return np.ascontiguousarray(np.abs(scaled).astype(f"f{volume.dtype.itemsize // 2}"))


def _volume(file: BinaryIO, path: Path, axis: int) -> _Volume:
    if axis not in (0, 1, 2):
        raise ValueError(f"NIfTI axis {axis}: must be 0, 1 or 2")
    head = _head(file)
    magic = nifti_magic(head)
    if magic is None:
        raise NotAnImage("no NIfTI header")
    kind = _HEADERS[magic]
    try:
        header = kind.from_fileobj(io.BytesIO(head[: kind.template_dtype.itemsize]), check=False)
        if int(header["datatype"]) in _TOO_WIDE:
            raise Refused("unsupported-dtype", "the voxels are 128-bit floats")
        header.check_fix(logger=_SILENT)
        slope, intercept = header.get_slope_inter()
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
        offset = int(header.get_data_offset())
    except (HeaderDataError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise Refused("bad-header", "the NIfTI header is damaged") from error
    if int(header["intent_code"]) in _CIFTI_INTENTS:
        raise Refused("not-voxels", "CIFTI: surfaces or connectivity, no volume")
    if len(shape) < 2:
        raise Refused("not-voxels", f"a grid of {len(shape)} dimensions has no slices")
    if len(shape) == 2 or shape[2:] == (1,) * (len(shape) - 2):
        axis = 2  # one plane: there is nothing to choose
    shape = shape + (1,) * (3 - len(shape))
    if min(shape) < 1 or offset < 0:
        raise Refused("bad-header", "the NIfTI header names no voxels")
    widest = 16 if dtype.kind == "c" else 8
    if dtype.names is None and (dtype.kind not in "iufc" or dtype.itemsize > widest or dtype.str[1:] == "f2"):
        raise Refused("unsupported-dtype", "the voxels are floats of an unusual width")
    _check_size(shape, axis, dtype)
    scale = _TO_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    zooms = [abs(float(zoom)) * scale for zoom in header.get_zooms()[:3]] + [0.0] * 3
    return _Volume(
        shape=shape,
        axis=axis,
        dtype=dtype,
        offset=offset,
        slope=1.0 if slope is None or dtype.names else float(slope),
        intercept=0.0 if intercept is None or slope is None or dtype.names else float(intercept),
        zooms=tuple(zoom if math.isfinite(zoom) else 0.0 for zoom in zooms)[:3],  # type: ignore[arg-type]
        affine=_affine(header, scale),
        data=_partner(path) if magic in (b"ni1", b"ni2") else path,
    )


def _check_size(shape: tuple[int, ...], axis: int, dtype: np.dtype[Any]) -> None:
    rows, cols = (shape[other] for other in range(3) if other != axis)
    check_frame(rows, cols, 1, dtype.itemsize)
    if shape[axis] > MAX_SIDE or math.prod(shape) // (rows * cols) > MAX_FRAMES:
        raise Refused("too-large", "more than 65,535 slices in a volume, or more than a million in a file")
    if axis != 2 and math.prod(shape[:3]) * dtype.itemsize > _BLOCK_LIMIT:
        raise Refused("too-large", "more than 1 GiB in a volume that is not cut along its last axis")


def _head(file: BinaryIO) -> bytes:
    """The first bytes of the header, inflated where the file is gzipped."""
    file.seek(0)
    head = file.read(1024)
    if not head.startswith(GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, Nifti2Header.template_dtype.itemsize)
    except zlib.error as error:
        raise Refused("decode-failed", "the gzip stream is damaged") from error


def _partner(path: Path) -> Path:
    """The .img beside a .hdr, plain or gzipped."""
    stem = pair_stem(path, ".hdr")
    ends = (".img", ".img.gz", ".IMG") if path.suffix.lower() != ".gz" else (".img.gz", ".img", ".IMG")
    for end in ends if stem is not None else ():
        partner = path.with_name(f"{stem}{end}")
        if partner.is_file():
            return partner
    raise Refused("missing-part", "the .img that belongs to this .hdr is not beside it")


def _affine(header: Any, scale: float) -> NDArray[np.float64] | None:
    """Voxel to LPS millimetres, from sform, else qform; None where the file has neither, or one that is no affine."""
    try:
        if int(header["sform_code"]) > 0:
            affine = header.get_sform()
        elif int(header["qform_code"]) > 0:
            affine = header.get_qform()
        else:
            return None
    except (HeaderDataError, ValueError, ArithmeticError):
        return None
    lps: NDArray[np.float64] = _LPS @ np.asarray(affine, dtype=np.float64)[:3] * scale
    usable = np.isfinite(lps).all() and (np.linalg.norm(lps[:, :3], axis=0) > 1e-6).all()
    return lps if usable else None


def _plane(volume: _Volume, index: int) -> tuple[Any, Any, Any, float]:
    """(position, orientation, normal, millimetres along the normal) of slice `index`, in DICOM's terms."""
    rows, cols = volume.plane
    if volume.affine is None:
        return None, None, None, index * (volume.zooms[volume.axis] or 1.0)
    along_row, along_column = (volume.affine[:, axis] / np.linalg.norm(volume.affine[:, axis]) for axis in (cols, rows))
    corner = volume.affine[:, 3] + index * volume.affine[:, volume.axis]
    normal = np.cross(along_row, along_column)
    length = float(np.linalg.norm(normal))
    position = tuple(corner.tolist())
    if length < 1e-6:
        return position, None, None, index * (volume.zooms[volume.axis] or 1.0)
    normal = normal / length
    rounded = tuple(round(value, 3) + 0.0 for value in normal.tolist())
    return position, (*along_row.tolist(), *along_column.tolist()), rounded, float(corner @ normal)


def few_values(path: Path, most: int) -> tuple[int, ...]:
    """All stored values of the NIfTI file `path`, ascending, where they are at most `most` whole numbers from 0 to 65,535.

    Empty where they are not, where the file scales them or holds colour, and where the voxels cannot be read. Reading stops at the
    first value too many, which for an image is near its start.
    """
    found: NDArray[np.bool_] = np.zeros(1 << 16, bool)
    try:
        with path.open("rb") as file:
            volume = _volume(file, path, 2)
        if volume.dtype.names is not None or (volume.slope, volume.intercept) != (1.0, 0.0):
            return ()
        left = math.prod(volume.shape) * volume.dtype.itemsize
        with gzip.open(volume.data) if is_gzip(volume.data) else volume.data.open("rb") as voxels:
            voxels.seek(volume.offset)
            while left:
                block = voxels.read(min(left, 1 << 18))  # a multiple of every item's size
                values = np.frombuffer(block, volume.dtype) if len(block) % volume.dtype.itemsize == 0 else None
                if values is None or not len(values) or not 0 <= values.min() <= values.max() <= 65535:
                    return ()
                whole = values.astype(np.uint16)
                if volume.dtype.kind == "f" and (whole != values).any():
                    return ()
                found |= np.bincount(whole, minlength=1 << 16) > 0
                if np.count_nonzero(found) > most:
                    return ()
                left -= len(block)
    except (
        Refused,
        NotAnImage,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
    ):  # whoever reads the file for its slices says why
        return ()
    return tuple(np.flatnonzero(found).tolist())
