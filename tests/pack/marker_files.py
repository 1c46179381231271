"""Image files with a marker of its own in every attribute that can hold one: the material of test_markers.py."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom.config
from nibabel.nifti1 import Nifti1Extension
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from radload.pack.persons import vocabulary

# Without these a file has no pixels, or other ones; or they leave as numbers and defined terms, which test_terms.py holds.
STRUCTURE = vocabulary(
    """SpecificCharacterSet SOPClassUID PresentationIntentType BurnedInAnnotation SamplesPerPixel PhotometricInterpretation
    PlanarConfiguration NumberOfFrames Rows Columns PixelSpacing PixelAspectRatio BitsAllocated BitsStored HighBit PixelRepresentation
    PixelPaddingValue PixelPaddingRangeLimit WindowCenter WindowWidth RescaleIntercept RescaleSlope VOILUTFunction RepetitionTime EchoTime
    EffectiveEchoTime MagneticFieldStrength DiffusionBValue ImagerPixelSpacing NominalScannedPixelSpacing ImagePositionPatient
    ImageOrientationPatient PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ModalityLUTSequence VOILUTSequence SmallestImagePixelValue
    LargestImagePixelValue LossyImageCompression PixelDataProviderURL DataSetTrailingPadding"""
)
# Texts of the device leave as they are, where they name nobody.
DEVICE = ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel")
_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "PN", "CS", "AE", "UR"))
_BYTES = frozenset(("OB", "OW", "OL", "OV", "OF", "OD", "UN"))


@dataclass
class Markers:
    """What was planted: where it stands -> how it reads as bytes, in any form that a writer could give it."""

    planted: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def text(self, where: str, value: str) -> str:
        """Remember a text and return it."""
        self.planted[where] = (value.encode(), value.encode("utf-16-le"))
        return value

    def number(self, where: str, value: float) -> float:
        """Remember a number: in digits, and as the binary types that hold it."""
        whole = int(value)
        forms = [str(whole).encode(), struct.pack("<d", value), struct.pack("<f", value)]
        forms += [struct.pack("<q", whole)] + ([struct.pack("<i", whole)] if abs(whole) < 1 << 31 else [])
        self.planted[where] = tuple(forms)
        return value

    def value(self, tag: int, vr: str) -> Any:
        """A value of `vr` for `tag` that is found nowhere else; None where the type is too narrow for one (US, SS, AT, AS)."""
        where, number = f"{tag:08X}", len(self.planted)
        if vr in _TEXT:
            return self.text(where, f"ZQX{tag:08X}")
        if vr == "UI":
            return self.text(where, f"1.2.777.{tag}")
        if vr == "DA":
            return self.text(where, f"{1801 + number % 97}{1 + number // 97 % 12:02d}{1 + number // 1164 % 28:02d}")
        if vr == "TM":
            return self.text(where, f"213141.{number:06d}")
        if vr == "DT":
            return self.text(where, f"18770317213141.{number:06d}")
        if vr in ("DS", "IS"):
            return f"{self.number(where, 1_777_000_000 + number):.0f}"
        if vr in ("UL", "SL", "UV", "SV"):
            return int(self.number(where, 1_777_000_000 + number))
        if vr in ("FD", "FL"):
            return self.number(where, 1_777_000_000.0 + 256 * number)
        if vr in _BYTES:
            return self.text(where, f"ZQX{tag:08X}BYTES   ").encode()
        if vr == "SQ":
            item = Dataset()
            item.add_new(0x00080104, "LO", self.text(f"{where}/00080104", f"ZQX{tag:08X}NESTED"))
            item.add_new(0x00991001, "LO", self.text(f"{where}/private", f"ZQX{tag:08X}INNER"))
            item.add_new(0x00990010, "LO", "ZQXCREATOR")
            return Sequence([item])
        return {"US": [number % 65536], "SS": [number % 32768], "AT": [0x00100010], "AS": "077Y"}[vr]


def standard_attributes() -> Iterator[tuple[int, str, str]]:
    """(tag, VR, keyword) of PS3.6, curves and overlays by their first group, without commands, file meta and items."""
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if tag >> 16 > 2 and tag & 0xFFFF and tag >> 16 != 0xFFFE and vr != "NONE":
            yield tag, vr.split(" ")[0], keyword
    for name, (vr, _, _, _, keyword) in RepeatersDictionary.items():
        tag = int(name.replace("x", "0"), 16)
        if tag >> 16 in (0x5000, 0x6000):
            yield tag, vr.split(" ")[0], keyword


def dicom(markers: Markers, frames: int = 1) -> FileDataset:
    """A CT image (enhanced where `frames` > 1) with a marker in every standard attribute, private tags, nested sequences and file meta."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage if frames == 1 else EnhancedCTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = markers.text("meta sop", "1.2.777.9001")
    meta.ImplementationVersionName = markers.text("meta version", "ZQXMETAVERSION")
    meta.SourceApplicationEntityTitle = markers.text("meta title", "ZQXMETATITLE")
    meta.PrivateInformationCreatorUID = markers.text("meta creator", "1.2.777.9002")
    meta.PrivateInformation = markers.text("meta private", "ZQXMETAPRIVATE  ").encode()
    image = FileDataset(
        "", {}, file_meta=meta, preamble=markers.text("preamble", "ZQXPREAMBLE").encode().ljust(128, b"\0")
    )
    with pydicom.config.disable_value_validation():
        for tag, vr, keyword in standard_attributes():
            if keyword not in STRUCTURE:
                image.add_new(tag, vr, markers.value(tag, vr))
        image.add_new(0x00990010, "LO", markers.text("private creator", "ZQXPRIVATECREATOR"))
        for element, vr in enumerate(("LO", "PN", "UT", "UI", "OB", "DS", "SQ"), 0x1001):
            image.add_new(0x00990000 + element, vr, markers.value(0x00990000 + element, vr))
        _pixels(image, markers, frames)
    return image


def _pixels(image: FileDataset, markers: Markers, frames: int) -> None:
    pixels = np.cumsum(np.random.default_rng(7).integers(-3, 4, (frames, 24, 20)), axis=2).astype(np.int16)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID
    image.SpecificCharacterSet = "ISO_IR 192"
    image.Modality, image.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.Rows, image.Columns, image.SamplesPerPixel = 24, 20, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    table = Dataset()
    table.add_new("LUTDescriptor", "SS", [-100, 0, 8])
    table.add_new("LUTExplanation", "LO", markers.text("lut", "ZQXLUTEXPLANATION"))
    table.LUTDescriptor, table.LUTData = [4, 0, 8], bytes(4)
    image.VOILUTSequence = Sequence([table])
    image.WindowCenter, image.WindowWidth = [40, 50], [400, 500]
    if frames > 1:
        image.NumberOfFrames = frames
        image.SharedFunctionalGroupsSequence = Sequence([_group(markers, "shared", None)])
        image.PerFrameFunctionalGroupsSequence = Sequence([_group(markers, f"frame {n}", n) for n in range(frames)])
    image.add_new("PixelData", "OW", pixels.tobytes())


def _group(markers: Markers, name: str, frame: int | None) -> Dataset:
    """A functional group: macros that are read, with markers beside what is read, and one that is not."""
    group, plane, window, content = Dataset(), Dataset(), Dataset(), Dataset()
    if frame is not None:
        plane.ImagePositionPatient = [0, 0, 2.5 * frame]
    plane.add_new(0x00081030, "LO", markers.text(f"{name} plane", f"ZQXPLANE{frame}"))
    window.WindowCenter, window.WindowWidth = 40, 400
    window.WindowCenterWidthExplanation = markers.text(f"{name} window", f"ZQXWINDOW{frame}")
    content.FrameComments = markers.text(f"{name} comment", f"ZQXFRAMECOMMENT{frame}")
    group.PlanePositionSequence, group.FrameVOILUTSequence = Sequence([plane]), Sequence([window])
    group.FrameContentSequence = Sequence([content])
    return group


def nifti(path: Path, markers: Markers) -> None:
    """A volume with markers in descrip, intent_name, aux_file, db_name and in extensions."""
    image = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), np.eye(4))  # type: ignore[no-untyped-call]
    for name in ("descrip", "intent_name", "aux_file", "db_name"):
        image.header[name] = markers.text(f"nifti {name}", f"ZQXNII{name.upper()}"[:16]).encode()
    for code in (2, 4, 6):  # DICOM, AFNI, comment
        text = markers.text(f"nifti extension {code}", f"ZQXNIIEXTENSION{code}")
        extension = Nifti1Extension("comment", text.encode())  # type: ignore[no-untyped-call]
        extension._code = code
        image.header.extensions.append(extension)
    nibabel.save(image, path)  # type: ignore[no-untyped-call]


def png(path: Path, markers: Markers) -> None:
    """A PNG with markers in tEXt, zTXt, iTXt, an EXIF block, a colour profile and a private chunk."""
    info = PngInfo()
    info.add_text(markers.text("png key", "ZQXPNGKEY"), markers.text("png tEXt", "ZQXPNGTEXT"))
    info.add_text("Comment", markers.text("png zTXt", "ZQXPNGZTXT"), zip=True)
    info.add_itxt("Author", markers.text("png iTXt", "ZQXPNGITXT"))
    info.add(b"zqXx", markers.text("png chunk", "ZQXPNGCHUNK").encode())
    pixels = (np.arange(600).reshape(20, 30) % 251).astype(np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=info, exif=_exif(markers, "png"), icc_profile=_profile(markers, "png"))


def jpeg(path: Path, markers: Markers) -> None:
    """A JPEG with markers in a comment, EXIF and a colour profile."""
    pixels = (np.arange(600).reshape(20, 30) % 251).astype(np.uint8)
    comment = markers.text("jpeg comment", "ZQXJPEGCOMMENT")
    Image.fromarray(pixels).save(
        path, comment=comment, exif=_exif(markers, "jpeg"), icc_profile=_profile(markers, "jpeg")
    )


def _exif(markers: Markers, form: str) -> Image.Exif:
    exif = Image.Exif()
    for name, tag in (("description", 0x010E), ("artist", 0x013B), ("copyright", 0x8298)):
        exif[tag] = markers.text(f"{form} exif {name}", f"ZQX{form.upper()}EXIF{name.upper()}")
    return exif


def _profile(markers: Markers, form: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile + markers.text(f"{form} icc", f"ZQX{form.upper()}ICCPROFILE").encode()


def damaged(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Variants of a file: cut at random places, twelve bytes changed in its first 4 kB or anywhere."""
    random = np.random.default_rng(zlib.crc32(data) + seed)
    for number in range(count):
        broken = bytearray(data)
        if number % 3 == 0:
            yield bytes(broken[: int(random.integers(1, len(data)))])
            continue
        for place in random.integers(0, min(len(data), 4096 if number % 2 else len(data)), 12):
            broken[int(place)] = int(random.integers(256))
        yield bytes(broken)
