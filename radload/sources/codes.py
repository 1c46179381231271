"""Why a file or a frame was refused, and why a PET slice has no SUV factor: codes and meanings. Codes are stable: reports count by them."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    "empty-file": "The file holds no bytes.",
    "truncated": "The file ends before its header says that it should.",
    "bad-header": "The header is damaged, or lacks an attribute without which the pixels have no meaning.",
    "no-pixel-data": "The header describes an image, but no pixel data follows it.",
    "not-an-image-object": "A DICOM object that holds no image and is none of the following: a private object, an annotation, raw data.",
    "unsupported-transfer-syntax": "The pixels are in an encoding that no installed decoder knows.",
    "unsupported-dtype": "The values are of a type that a shard cannot hold, such as 16-bit or 128-bit floats.",
    "unsupported-colour": "The colour model is neither grey, palette, RGB nor YBR.",
    "decode-failed": "The compressed pixels are damaged, or are not what the header says.",
    "bad-checksum": "A checksum inside the file does not match its data.",
    "not-voxels": "A NIfTI file that holds surface or connectivity data (CIFTI), or no two-dimensional grid.",
    "changed-file": "The file is no longer the one that was scanned: written since, or another size in pixels or number of frames.",
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

SUV_MISSING: Final[dict[str, str]] = {
    "units": "Units (0054,1001) are neither BQML, GML nor Philips' counts with their factor.",
    "suv-type": "The values are SUV already, but not by body weight (SUV Type (0054,1006)).",
    "not-attenuation-corrected": "Corrected Image (0028,0051) does not hold ATTN.",
    "not-decay-corrected": "Corrected Image does not hold DECY, or Decay Correction (0054,1102) is neither START nor ADMIN.",
    "no-weight": "Patient's Weight (0010,1030) is missing or zero.",
    "implausible-weight": "Patient's Weight exceeds 650 kg: it is in another unit.",
    "no-dose": "Radionuclide Total Dose (0018,1074) is missing or zero.",
    "implausible-dose": "Radionuclide Total Dose is below 0.1 MBq or above 100 GBq: it is in another unit.",
    "several-injections": "The file tells of several injections.",
    "no-half-life": "Radionuclide Half Life (0018,1075) is missing or zero.",
    "no-injection-time": "Neither Radiopharmaceutical Start DateTime (0018,1078) nor Start Time (0018,1072) can be read.",
    "no-scan-time": "Neither Series Time nor Acquisition Time with the frame's own times can be read.",
    "series-time-after-acquisition": "Series Time is a later reconstruction's, and the frame's own times do not say when the scan began.",
    "implausible-times": "From injection to scan passed less than no time, or more than 6 half-lives: times were shifted or mixed up.",
}
