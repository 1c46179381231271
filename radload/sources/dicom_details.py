"""What only the catalog says about a DICOM file: dates, age, descriptions, places. It stays in the private folder."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_file import DicomFile
from radload.sources.dicom_geometry import geometry_of
from radload.sources.dicom_groups import Groups
from radload.sources.slice import PrivateDetails

_AGE: Final = re.compile(r"(\d{1,3})([DWMY])")  # VR AS, PS3.5 6.2
_PER_YEAR: Final = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_DATE: Final = re.compile(r"(\d{4})[.\-]?(\d\d)[.\-]?(\d\d)")  # VR DA; ACR-NEMA wrote dots, some writers hyphens


def details_of(dicom: DicomFile, groups: Groups) -> PrivateDetails:
    """The private details of a file; what is damaged counts as absent."""
    elements = dicom.elements
    spacing = geometry_of(elements, groups, 0).spacing
    thickness = groups.elements(0, tags.PixelMeasuresSequence, elements).hint(tags.SliceThickness, "DS")
    study_date = _date(elements.text(tags.StudyDate))
    return PrivateDetails(
        study_date=study_date,
        series_date=_date(elements.text(tags.SeriesDate)),
        patient_age=_age(elements, study_date),
        patient_sex=elements.text(tags.PatientSex),
        study_description=elements.text(tags.StudyDescription),
        series_description=elements.text(tags.SeriesDescription),
        protocol=elements.text(tags.ProtocolName),
        station=elements.text(tags.StationName),
        institution=elements.text(tags.InstitutionName),
        transfer_syntax=dicom.syntax,
        spacing_row=spacing[0] if spacing else None,
        spacing_col=spacing[1] if spacing else None,
        slice_thickness=thickness[0] if thickness else None,
    )


def _date(text: str | None) -> date | None:
    match = _DATE.match(text or "")
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def _age(elements: Elements, study_date: date | None) -> float | None:
    """Years."""
    match = _AGE.fullmatch((elements.text(tags.PatientAge) or "").upper())
    if match:
        return int(match[1]) / _PER_YEAR[match[2]]
    born = _date(elements.text(tags.PatientBirthDate))
    if born is None or study_date is None or study_date < born:
        return None
    return round((study_date - born).days / 365.25, 2)
