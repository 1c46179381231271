"""The registry: everything that a pack writes outside of the private folder, by name, with where it comes from and why it may leave.

PS3.15 Table E.1-1 decides (`confidentiality`): an attribute that it lists leaves only as something else, which `instead` says. Writers
drop what does not stand here (`permitted`); a test walks a packed data set and compares both ways; docs/privacy.md prints the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

from radload.pack.confidentiality import listed

PLACES: Final = (
    "records.bin", "masks.bin", "series.bin", "samples", "series", "studies", "patients", "luts", "shards", "KEY.json", "manifest",
    "segment.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that leaves.

    Attributes:
        name: in the files; places: which of PLACES hold it.
        keywords: DICOM attributes that it is made of; none: it says nothing about the source's header.
        why: what it is for, and how its values are limited.
        instead: what leaves in the place of a listed attribute, "" where none of `keywords` is listed.
    """

    name: str
    places: frozenset[str]
    keywords: tuple[str, ...]
    why: str
    instead: str = ""

    @property
    def listed(self) -> bool:
        """Whether Table E.1-1 lists one of its keywords."""
        return any(listed(tag_for_keyword(keyword) or 0) for keyword in self.keywords)

    @property
    def verdict(self) -> str:
        """What Table E.1-1 says, in words."""
        if not self.keywords:
            return "no attribute of the source"
        return f"listed: {self.instead}" if self.listed else "not listed"


# How the rows below name PLACES: r records.bin, k masks.bin, e series.bin, s samples, x series, u studies, and so on.
_LETTERS: Final = dict(zip("rkesxuplhjmg", PLACES, strict=True))


def _row(name: str, places: str, keywords: str, why: str, instead: str = "") -> Attribute:
    return Attribute(name, frozenset(_LETTERS[letter] for letter in places), tuple(keywords.split()), why, instead)


REGISTRY: Final = (
    # names and places of things, numbered here
    _row("key", "rsj", "", "number given by the plan, in an order that follows neither paths nor dates"),
    _row("series", "rjmg", "SeriesInstanceUID", "which samples belong together", "a row number or a key; in the manifest their count"),
    _row("patient", "eju", "PatientID IssuerOfPatientID", "which samples are one person's", "a row number"),
    _row("study", "ej", "StudyInstanceUID", "which samples are one study's", "a row number"),
    _row("pseudonym", "xup", "PatientID IssuerOfPatientID StudyInstanceUID SeriesInstanceUID",
         "equal in packs with the same key, so that data sets can be joined by who holds it", "HMAC-SHA256 with a secret key"),
    _row("split", "rph", "", "train, val or test: a hash of the patient's number, or as given"),
    _row("known", "p", "", "whether the source says whose image it is"),
    _row("position", "sj", "InstanceNumber ImagePositionPatient", "rank of the slice in its series"),
    _row("first_row", "e", "", "of the series"),
    _row("count", "e", "", "samples of the series"),
    _row("format", "xm", "", "of the source's files (dicom, nifti, image); of the data set"),
    # how the pixels are stored
    *(_row(name, places, "", "where and how the pixels are stored") for name, places in (
        ("offset", "rk"), ("shard", "r"), ("length", "rk"), ("crc", "k"), ("bias", "rj"), ("codec", "rjm"), ("levels", "rj"),
        ("safe_levels", "rj"), ("level_end", "rj"), ("level_crc", "r"), ("flags", "r"), ("exact", "j"), ("version", "jm"),
        ("reserved", "e"), ("reserved2", "e"), ("name", "h"), ("bytes", "h"), ("sha256", "h"), ("generation", "hmg"),
    )),
    _row("dtype", "rj", "BitsAllocated PixelRepresentation", "type of the stored values"),
    _row("rows", "rj", "Rows", "size"),
    _row("cols", "rj", "Columns", "size"),
    _row("channels", "rj", "SamplesPerPixel", "grey or colour"),
    _row("bits_stored", "sj", "BitsStored", "range of the values"),
    _row("pixel_hash", "s", "PixelData", "to find equal images; it tells who has the source file which sample it is"),
    _row("minimum", "es", "PixelData", "statistics of the pixels"),
    _row("maximum", "es", "PixelData", "statistics of the pixels"),
    *(_row(name, "e", "PixelData", "statistics of the pixels, for normalisation") for name in
      ("p005", "p01", "p50", "p99", "p995", "mean", "std")),
    # what the pixels mean
    _row("photometric", "sj", "PhotometricInterpretation", "MONOCHROME1, MONOCHROME2 or RGB"),
    _row("invert", "j", "PhotometricInterpretation PresentationLUTShape", "whether low values are white"),
    _row("lossy", "j", "LossyImageCompression", "whether the source had lost detail"),
    _row("slope", "rj", "RescaleSlope", "modality value = slope * stored + intercept"),
    _row("intercept", "rj", "RescaleIntercept", "modality value = slope * stored + intercept"),
    _row("modality_lut", "sj", "ModalityLUTSequence", "numbers of a table, never its explanation"),
    _row("voi_lut", "sj", "VOILUTSequence", "numbers of a table, never its explanation"),
    _row("first", "l", "LUTDescriptor", "of a table"),
    _row("values", "l", "LUTData", "of a table"),
    _row("bits", "l", "LUTDescriptor", "of a table's entries"),
    _row("padding", "j", "PixelPaddingValue PixelPaddingRangeLimit", "values that are no image"),
    _row("padding_first", "r", "PixelPaddingValue", "values that are no image"),
    _row("padding_last", "r", "PixelPaddingRangeLimit", "values that are no image"),
    _row("voi", "rj", "VOILUTFunction", "one of five functions"),
    _row("window_centre", "r", "WindowCenter", "the file's first window"),
    _row("window_width", "r", "WindowWidth", "the file's first window"),
    _row("window_centres", "sj", "WindowCenter", "the file's windows, without their explanations"),
    _row("window_widths", "sj", "WindowWidth", "the file's windows, without their explanations"),
    _row("units", "exj", "RescaleType Units", "one of six units"),
    _row("suv_factor", "sj", "PatientWeight RadionuclideTotalDose RadiopharmaceuticalStartTime AcquisitionTime DecayFactor",
         "activity to SUV by body weight, the same for all slices of a scan", "one quotient of weight and decayed dose"),
    _row("suv_missing", "sj", "", "why a PET slice has no factor: a code of radload"),
    _row("window_explanations", "sj", "WindowCenterWidthExplanation", "one of a list of radload; the text itself stays"),
    _row("real_world", "sj", "RealWorldValueMappingSequence MeasurementUnitsCodeSequence",
         "other quantities of the values: numbers, and a UCUM code"),
    _row("lossy_ratios", "sj", "LossyImageCompressionRatio", "how much detail the source had lost"),
    _row("cropped", "sj", "", "where the pixels stood in the source's frame"),
    _row("masked", "sj", "", "how many rectangles were blanked because of burned-in text"),
    _row("max_error", "sj", "", "of values that were scaled to 16 bits"),
    _row("suspect", "s", "SmallestImagePixelValue LargestImagePixelValue", "what looks wrong about the pixels, as flags"),
    *(_row(name, "x", "PixelData", "statistics of the pixels, for normalisation") for name in
      ("foreground_mean", "foreground_std", "foreground_share")),
    _row("mask_labels", "x", "SegmentedPropertyTypeCodeSequence", "what labels mean, as codes of public vocabularies"),
    _row("masks", "m", "", "how many samples have a mask; the masks' members hold labels as numbers"),
    # where the slice lies
    _row("spacing", "j", "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing", "millimetres"),
    _row("spacing_row", "r", "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing", "millimetres"),
    _row("spacing_col", "r", "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing", "millimetres"),
    _row("spacing_source", "sj", "", "which of the three it is"),
    _row("image_position", "sj", "ImagePositionPatient", "millimetres in the scanner's coordinates"),
    _row("image_orientation", "sj", "ImageOrientationPatient", "directions of rows and columns"),
    _row("slice_spacing", "x", "ImagePositionPatient", "millimetres between slices"),
    *(_row(name, "x", "ImagePositionPatient ImageOrientationPatient", "how regular the stack of slices is") for name in
      ("gaps", "duplicates", "tilt", "stacks", "irregular")),
    _row("phases", "x", "EchoNumbers TemporalPositionIdentifier AcquisitionNumber", "most passes over one orientation"),
    _row("laterality", "sj", "Laterality ImageLaterality FrameLaterality", "R, L, U or B; another value is left out"),
    _row("view", "sj", "ViewPosition", "a defined term (AP, MLO, …); another value is left out"),
    # how it was acquired
    _row("modality", "exj", "Modality", "a defined term of PS3.3 C.7.3.1.1.1; another value is left out"),
    _row("body_part", "xj", "BodyPartExamined", "a defined term of PS3.16 Annex L; another value is left out"),
    *(_row(name, "x", keyword, "subgroups by scanner; at most 64 printable ASCII characters, left out where it holds a date, a UID, or the "
           "patient's name, number or accession number") for name, keyword in (
        ("manufacturer", "Manufacturer"), ("model", "ManufacturerModelName"), ("kernel", "ConvolutionKernel"),
    )),
    _row("field_strength", "x", "MagneticFieldStrength", "tesla"),
    _row("echo_time", "x", "EchoTime EffectiveEchoTime", "milliseconds"),
    _row("repetition_time", "x", "RepetitionTime", "milliseconds"),
    _row("b_value", "x", "DiffusionBValue", "s/mm²"),
    _row("kept", "jm", "", "what --keep and --retain added; samples.arrow has columns kept_KEYWORD, the manifest the keywords of --keep"),
    _row("retained", "m", "", "what --retain added"),
    _row("transform", "m", "", "the name of the user's function (--transform)"),
    _row("burned_in", "m", "", "how burned-in text was kept out: yes or no, and the digests of files of rectangles"),
    _row("encoding", "m", "", "how colour, axes and wide values were stored, and whether series are whole: options of the pack"),
    # totals and tools
    *(_row(name, places, "", "totals, rules and versions; texts written by radload") for name, places in (
        ("samples", "hmg"), ("patients", "mg"), ("studies", "g"), ("shards", "g"), ("luts", "g"), ("ranges", "g"), ("files", "g"),
        ("keys", "g"), ("largest", "g"),
        ("generations", "m"), ("splits", "m"), ("split_rule", "m"), ("patient_rule", "m"), ("tools", "m"), ("source", "m"),
        ("notes", "m"), ("unknown_patients", "m"),
    )),
    _row("next_key", "g", "", "first key that no version has used, so that a key never means two samples"),
    _row("next_shard", "g", "", "likewise, of shards"),
    _row("withdrawn", "m", "", "versions that nobody may open, by number; how many patients withdrew, and who, stays private"),
    _row("modalities", "g", "Modality", "as modality"),
    _row("fingerprint", "m", "PixelData", "one hash over all pixel hashes"),
    _row("key_id", "m", "", "start of the SHA-256 of the pseudonym key: tells equal keys, and not the key"),
)  # fmt: skip

# Made of an attribute that does not leave with them.
_DERIVED: Final = frozenset(("position", "slice_spacing", "pixel_hash", "phases", "suspect", "suv_factor"))

_NAMES: Final = {place: frozenset(one.name for one in REGISTRY if place in one.places) for place in PLACES}


def names_in(place: str) -> frozenset[str]:
    """Names that may stand in one of PLACES."""
    return _NAMES[place]


def permitted(place: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """`row` without what the registry does not name for `place`."""
    names = _NAMES[place]
    if row.keys() <= names:
        return dict(row)
    return {name: value for name, value in row.items() if name in names}


def packed_as(keyword: str) -> str | None:
    """The name under which a DICOM attribute leaves as it is, None where it does not."""
    for one in REGISTRY:
        if keyword in one.keywords and not one.listed and one.name not in _DERIVED:
            return one.name
    return None


def registry_table() -> str:
    """The registry as the Markdown table that docs/privacy.md prints."""
    lines = ["| name | in | made of | PS3.15 Table E.1-1 | what it is for |", "|---|---|---|---|---|"]
    for one in REGISTRY:
        where = ", ".join(place for place in PLACES if place in one.places)
        lines.append(f"| `{one.name}` | {where} | {', '.join(one.keywords)} | {one.verdict} | {one.why} |")
    return "\n".join(lines) + "\n"
