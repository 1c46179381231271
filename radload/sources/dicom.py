"""DICOM files: `scan_dicom` reads what a catalog needs, `read_dicom` the slices. The parts lie in the `dicom_*` files beside this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from radload.sources import dicom_tags as tags
from radload.sources.dicom_bits import Layout
from radload.sources.dicom_classes import refuse_object
from radload.sources.dicom_codestreams import LOSSY, Ahead
from radload.sources.dicom_details import details_of
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_file import DicomFile, open_dicom
from radload.sources.dicom_geometry import geometry_of, plane_of, stack_of
from radload.sources.dicom_groups import Groups, groups_of
from radload.sources.dicom_layout import layout_of
from radload.sources.dicom_luts import palette_of
from radload.sources.dicom_meaning import attributes_of, inverted, modality_of, padding_of, voi_of
from radload.sources.dicom_phases import phases_of
from radload.sources.dicom_pixels import frames_of, lossless_streams
from radload.sources.dicom_real_world import real_world_of
from radload.sources.dicom_segmentation import segmentation_of
from radload.sources.dicom_suv import suv_of
from radload.sources.dicom_ultrasound import regions_of
from radload.sources.slice import Header, Refused, SeriesAttributes, Slice

_UPSAMPLED: Final = {"YBR_FULL_422": "YBR_FULL", "YBR_PARTIAL_422": "YBR_PARTIAL", "YBR_PARTIAL_420": "YBR_PARTIAL"}


def scan_dicom(file: BinaryIO, source: str) -> Header:
    """The header of the DICOM file open as `file`; no pixel is decoded.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    dicom = open_dicom(file, tags.CATALOG)
    layout = _image_layout(dicom)
    elements, groups = dicom.elements, groups_of(dicom.elements)
    enhanced = bool(groups.frames)
    planes = [plane_of(elements, groups, frame) for frame in range(layout.frames if enhanced else 1)]
    positions, normal = stack_of(planes)
    origins = tuple(position for position, _ in planes if position is not None)
    instance = elements.hint(tags.InstanceNumber, "IS")
    return Header(
        source=source,
        format="dicom",
        rows=layout.rows,
        cols=layout.cols,
        channels=layout.samples,
        bits=layout.allocated,
        frames=layout.frames,
        attributes=_series_attributes(dicom, groups, layout),
        patient=elements.text(tags.PatientID),
        issuer=elements.text(tags.IssuerOfPatientID),
        study=elements.text(tags.StudyInstanceUID),
        series=elements.text(tags.SeriesInstanceUID),
        sop=elements.text(tags.SOPInstanceUID),
        accession=elements.text(tags.AccessionNumber),
        positions=positions if positions is not None and len(positions) == layout.frames else None,
        instance=int(instance[0]) if instance else None,
        normal=normal,
        sop_class=dicom.sop_class,
        image_type=elements.texts(tags.ImageType),
        intent=elements.text(tags.PresentationIntentType),
        segmentation=segmentation_of(elements, groups, layout.frames, dicom.sop_class),
        phases=phases_of(elements, groups, layout.frames),
        origins=origins if positions is not None and len(origins) == layout.frames else None,
        laterality=_laterality(elements, groups, 0),
        view=_view(elements),
        name=elements.text(tags.PatientName),
        burned_in=elements.text(tags.BurnedInAnnotation),
        us_regions=regions_of(elements, layout),
        private=details_of(dicom, groups),
    )


def read_dicom(file: BinaryIO, ahead: Ahead | None = None) -> Iterator[Slice | tuple[int, Refused]]:
    """Yield the frames of the DICOM file open as `file`, in order; (frame, reason) for one that cannot be read.

    ahead: see `dicom_codestreams.decode`.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    dicom = open_dicom(file, tags.FRAME)
    layout = _image_layout(dicom)
    elements, groups = dicom.elements, groups_of(dicom.elements)
    palette, first, bits = None, 0, 8
    if layout.photometric == "PALETTE COLOR":
        palette, first, bits = palette_of(elements, layout.signed)
    lossy = dicom.syntax in LOSSY or elements.text(tags.LossyImageCompression) == "01"
    ratios = elements.hint(tags.LossyImageCompressionRatio, "DS")
    enhanced = bool(groups.frames)
    meaning: Slice | None = None
    for frame, pixels in enumerate(frames_of(dicom, layout, ahead)):
        if isinstance(pixels, Refused):
            yield frame, pixels
            continue
        stored, photometric = pixels
        if meaning is None or enhanced:
            try:
                meaning = _meaning(dicom, groups, frame, layout, stored)
            except Refused as refused:
                if not enhanced:
                    raise
                yield frame, refused
                continue
        yield replace(
            meaning,
            frame=frame,
            stored=stored,
            photometric=_UPSAMPLED.get(photometric, photometric),
            palette=palette,
            palette_first=first,
            palette_bits=bits,
            lossy=lossy,
            lossy_ratios=ratios if lossy else (),
        )


def lossless_frames(file: BinaryIO) -> Iterator[tuple[int, bytes, str]]:
    """(frame, codestream, kind), see `dicom_pixels.lossless_streams`; nothing is decoded. Raises Refused."""
    dicom = open_dicom(file, tags.FRAME)
    yield from lossless_streams(dicom, _image_layout(dicom))


def _image_layout(dicom: DicomFile) -> Layout:
    """The layout of a file that holds an image; refuses what holds none."""
    if dicom.pixels is None:
        if dicom.size <= 132:
            raise Refused("truncated", "the file ends before its header starts")
        if tags.Rows in dicom.elements or UID(dicom.sop_class).name.endswith("Image Storage"):
            raise Refused("no-pixel-data", "no pixel data follows the header")
        raise refuse_object(dicom.sop_class)
    return layout_of(dicom)


def _meaning(dicom: DicomFile, groups: Groups, frame: int, layout: Layout, stored: NDArray[np.generic]) -> Slice:
    """A slice with all that `frame`'s attributes say, whose pixels are still to be exchanged."""
    elements = dicom.elements
    modality = modality_of(elements, groups, frame, layout)
    voi = voi_of(elements, groups, frame, layout, modality)
    geometry = geometry_of(elements, groups, frame)
    suv = suv_of(elements)
    return Slice(
        frame=frame,
        stored=stored,
        bits_stored=layout.allocated if layout.floating else layout.stored,
        slope=modality.slope,
        intercept=modality.intercept,
        modality_lut=modality.lut,
        voi_function=voi.function,
        centres=voi.centres,
        widths=voi.widths,
        explanations=voi.explanations,
        voi_lut=voi.lut,
        padding=padding_of(elements, layout),
        invert=inverted(elements, layout.photometric),
        spacing=geometry.spacing,
        spacing_source=geometry.spacing_source,
        position=geometry.position,
        orientation=geometry.orientation,
        laterality=_laterality(elements, groups, frame),
        view=elements.text(tags.ViewPosition),
        attributes=attributes_of(elements, groups, frame, layout, dicom.sop_class),
        real_world=real_world_of(elements, groups, frame, layout),
        suv_factor=suv.factor,
        suv_missing=suv.missing,
        claimed=_claimed(elements, layout),
    )


def _claimed(elements: Elements, layout: Layout) -> tuple[int, int] | None:
    """Smallest and Largest Image Pixel Value, read with the sign of the pixels whatever VR the file gives; 0 and 0 are no claim."""
    found = [elements.hint(tag, "US") for tag in (tags.SmallestImagePixelValue, tags.LargestImagePixelValue)]
    if not all(found):
        return None
    low, high = (int(values[0]) & 0xFFFF for values in found)
    if layout.signed:
        low, high = (value - 0x10000 if value >= 0x8000 else value for value in (low, high))
    return (low, high) if low < high else None


def _laterality(elements: Elements, groups: Groups, frame: int) -> str | None:
    anatomy = groups.macro(frame, tags.FrameAnatomySequence)
    own = anatomy.text(tags.FrameLaterality) if anatomy is not None else None
    return own or elements.text(tags.ImageLaterality) or elements.text(tags.Laterality)


def _view(elements: Elements) -> str | None:
    """View Position, or the code of the View Code Sequence, which mammograms have (PS3.3 C.8.11.7)."""
    code = elements.item(tags.ViewCodeSequence)
    return elements.text(tags.ViewPosition) or (code.text(tags.CodeValue) if code is not None else None)


def _series_attributes(dicom: DicomFile, groups: Groups, layout: Layout) -> SeriesAttributes:
    """The attributes of the first frame; a b-value only where all frames share it."""
    first = attributes_of(dicom.elements, groups, 0, layout, dicom.sop_class)
    if first.b_value is None or not groups.frames:
        return first
    values = {
        macro.hint(tags.DiffusionBValue, "FD")
        for frame in range(layout.frames)
        if (macro := groups.macro(frame, tags.MRDiffusionSequence)) is not None
    }
    return first if len(values) <= 1 else replace(first, b_value=None)
