"""HTJ2K members (KEY.j2c): reversible, unsigned 16 bit, with resolution levels that can be read on their own.

Coded value = stored value + bias, always 16 bits unsigned: decoders differ on signed and on 12-bit streams. Five levels
are written for every size (a level of n pixels has ceil(n / 2**k); an image of one pixel costs 257 bytes).

Round trips are exact for every integer image whose values span at most 65,535. The bias is chosen so that levels stay
inside 16 bits too (`wavelet`); `safe_levels` says how many of them may stand in for the image.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import DTypeLike, NDArray

from radload.codecs import checksum, codestream
from radload.codecs.codestream import cut, level_shape, open_level
from radload.codecs.encoded import BytesLike, Encoded, check_shape, dtype_code
from radload.codecs.wavelet import CODED_MAX, choose_bias
from radload.dataset.schema import LEVELS, Codec
from radload.errors import CorruptSample

__all__ = ["Encoded", "can_hold", "cut", "decode", "decode_stored", "encode", "level_shape", "remove_bias"]

_BIAS_LIMIT = 2**31 - 1  # the index holds the bias as a signed 32-bit number


def can_hold(stored: NDArray[np.generic]) -> bool:
    """Whether a stream can hold these values exactly: integers spanning at most 65,535, and not beyond +-2**31."""
    if stored.dtype.kind not in "iu":
        return False
    if stored.dtype.itemsize <= 2:  # whatever the values
        return True
    low, high = int(stored.min()), int(stored.max())
    return high - low <= CODED_MAX and max(abs(low), abs(high)) <= _BIAS_LIMIT - CODED_MAX


def _useful_levels(shape: tuple[int, ...]) -> int:
    """Levels at which a pixel still stands for a whole block of the image: 2**level <= the shorter side."""
    return min(LEVELS, min(shape[0], shape[1]).bit_length() - 1)


def _padding_is_below(stored: NDArray[np.generic], padding: tuple[int, int]) -> bool:
    """Whether no image pixel lies below a padding pixel. Padding below the image only touches its rim in a level;
    padding above or among the values would give false tissue there."""
    values: NDArray[Any] = stored
    is_padding = (values >= padding[0]) & (values <= padding[1])
    if not is_padding.any() or is_padding.all():
        return True
    return int(values[is_padding].max()) < int(values[~is_padding].min())


def encode(stored: NDArray[np.generic], *, averaging: bool = True, padding: tuple[int, int] | None = None) -> Encoded:
    """Encode one image.

    A level is called safe when averaging makes sense (see the arguments), its values are those of the low-pass without
    a wrap-around, and 2**level does not exceed the shorter side.

    Args:
        stored: integers, (rows, cols) or (rows, cols, 3), spanning at most 65,535.
        averaging: False where a mean of stored values means nothing (palette indices, modality LUT, label maps).
        padding: inclusive range of values that are no image content (PS3.3 C.7.5.1.1.2).

    Raises:
        ValueError: the array cannot be held exactly (`can_hold`), or is no image.
    """
    check_shape(stored.shape)
    dtype_code(stored.dtype)
    if not can_hold(stored):
        raise ValueError(f"values of type {stored.dtype} spanning more than 16 bits cannot be coded; use the raw codec")
    wanted = _useful_levels(stored.shape) if averaging else 0
    if wanted and padding is not None and not _padding_is_below(stored, padding):
        wanted = 0
    bias, safe = choose_bias(stored, wanted)

    # Exact in arithmetic modulo 2**16, because stored + bias lies in 0..65535.
    words = stored.view(np.uint16) if stored.dtype.itemsize == 2 and stored.dtype.isnative else stored.astype(np.uint16)
    coded = words + np.uint16(bias & 0xFFFF)
    colour: dict[str, Any] = {"planar": False, "rgb": True} if stored.ndim == 3 else {}
    coded = np.ascontiguousarray(coded)
    data = bytes(imagecodecs.htj2k_encode(coded, resolutions=LEVELS, reversible=True, tlm=True, tilepart=1, **colour))
    found = codestream.layout(data)
    if found.shape != stored.shape or found.levels != LEVELS:
        raise ValueError(
            f"imagecodecs wrote {found.levels} levels of shape {found.shape} for {stored.shape}: use another version"
        )
    crcs = checksum.prefix_crcs(data, (len(data), *found.level_end))
    return Encoded(data, Codec.HTJ2K, bias, found.levels, found.level_end, crcs, safe)


def decode(
    data: BytesLike, level: int = 0, out: NDArray[np.uint16] | None = None, *, shape: tuple[int, ...] | None = None
) -> NDArray[np.uint16]:
    """Coded values (stored + bias) of a member at a resolution level. The GIL is released while decoding.

    Check the CRC-32C of `data` before: a flipped payload byte decodes to wrong pixels in silence, and imagecodecs
    2026.3.6 swallows some of OpenJPH's errors and returns an array whose rows were not all written.

    Args:
        data: the first level_end[level-1] bytes of the member; all of them at level 0.
        level: 0 (the full image) to 5 (1/32).
        out: C-contiguous array of the level's shape that receives the values.
        shape: of the full image as the index has it; a stream of another shape is refused before it is decoded.

    Raises:
        CorruptSample: the bytes are not such a stream, of another shape, or cannot be decoded.
        ValueError: `out` does not fit the level, or the level is negative.
    """
    stream: Any  # imagecodecs takes a memoryview, but does not say so
    stream, expected = open_level(data, level)
    if shape is not None and level_shape(shape, level) != expected:
        raise CorruptSample(
            f"the codestream decodes to {expected} at level {level}, the index says {level_shape(shape, level)}: "
            "the shard and its index do not belong together; pack the source again"
        )
    if out is not None and (out.shape != expected or out.dtype != np.uint16 or not out.flags.c_contiguous):
        raise ValueError(f"out is {out.dtype} {out.shape}; a C-contiguous uint16 array of shape {expected} is needed")
    try:
        coded: NDArray[np.uint16] = imagecodecs.htj2k_decode(stream, planar=False, out=out)
    except imagecodecs.Htj2kError as error:
        raise CorruptSample(f"the codestream cannot be decoded at level {level}: it is damaged ({error})") from error
    if coded.shape != expected or coded.dtype != np.uint16:
        raise CorruptSample(
            f"the codestream decoded to {coded.dtype} {coded.shape} where uint16 {expected} was expected"
        )
    return coded


def remove_bias(coded: NDArray[np.uint16], bias: int, dtype: DTypeLike, *, spent: bool = False) -> NDArray[np.generic]:
    """Stored values from coded ones: coded - bias, in the stored integer dtype.

    Args:
        spent: nobody needs `coded` any more: a result of 16 bits takes its place.

    Raises:
        CorruptSample: a value does not fit the dtype, so bias or dtype are not those of this image.
    """
    target = np.dtype(dtype)
    limits = np.iinfo(target)
    low, high = int(coded.min()) - bias, int(coded.max()) - bias
    if low < limits.min or high > limits.max:
        raise CorruptSample(f"decoded values {low} to {high} do not fit {target}: bias or dtype in the index are wrong")
    unsigned = np.dtype(f"u{target.itemsize}")  # modulo arithmetic: exact, because the result fits
    offset = np.asarray(bias % 256**target.itemsize, unsigned)
    kept = coded if spent and unsigned == coded.dtype else coded.astype(unsigned)
    wrapped = np.subtract(kept, offset, out=kept)
    stored: NDArray[np.generic] = wrapped.view(target)
    return stored


def decode_stored(
    data: BytesLike, bias: int, dtype: DTypeLike, shape: tuple[int, ...], out: NDArray[np.uint16] | None = None
) -> NDArray[np.generic]:
    """The exact stored image of a whole member, in native byte order.

    Args:
        out: C-contiguous array of `shape` to decode to; the result may lie there.

    Raises:
        CorruptSample: the bytes are damaged, or do not belong to this bias, dtype and shape.
        ValueError: `out` does not fit.
    """
    return remove_bias(decode(data, out=out, shape=shape), bias, dtype, spent=True)
