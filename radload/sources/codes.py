"""Why a file or a frame was refused: every code that `Refused.code` may hold, with its meaning. Codes are stable; reports count by them."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    "empty-file": "The file holds no bytes.",
    "truncated": "The file ends before its header says that it should.",
    "bad-header": "The header is damaged, or lacks an attribute without which the pixels have no meaning.",
    "no-pixel-data": "The header describes an image, but no pixel data follows it.",
    "not-an-image-object": "A DICOM object that holds no image and is none of the following: a private object, an annotation, raw data.",
    "unsupported-transfer-syntax": "The pixels are in an encoding that no installed decoder knows.",
    "unsupported-dtype": "The values are of a type that a shard cannot hold, such as complex numbers.",
    "unsupported-colour": "The colour model is neither grey, palette, RGB nor full-range YBR.",
    "decode-failed": "The compressed pixels are damaged, or are not what the header says.",
    "bad-checksum": "A checksum inside the file does not match its data.",
    "looks-like-mask": "A DICOM segmentation: labels of another image, no image itself.",
    "not-voxels": "A NIfTI file that holds surface or connectivity data (CIFTI), or no two-dimensional grid.",
    "changed-file": "The file is no longer the one that was scanned: its size in pixels or its number of frames differs.",
    "too-large": "More than 65,535 rows or columns, or more pixels than memory should be risked for.",
    "structured-report": "A DICOM structured report: findings, measurements, a radiation dose report, a selection of key images.",
    "presentation-state": "A DICOM presentation state: how another image is to be shown.",
    "rt-object": "A radiotherapy object: a plan, structures, a treatment record, or a dose grid.",
    "waveform": "A DICOM waveform: an ECG, a pressure curve, a sound.",
    "encapsulated-document": "A PDF, a CDA document or a surface model inside DICOM.",
    "dicomdir": "A DICOM directory (DICOMDIR): the table of contents of a medium.",
    "out-of-memory": "Reading the file takes more memory than a worker may have.",
    "missing-part": "One half of a .hdr/.img pair without the other.",
}
