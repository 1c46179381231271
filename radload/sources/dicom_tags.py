"""Tags of the DICOM elements that the sources read (PS3.6), by their keywords."""

from __future__ import annotations

from typing import Final

SpecificCharacterSet: Final = 0x00080005
ImageType: Final = 0x00080008
SOPClassUID: Final = 0x00080016
SOPInstanceUID: Final = 0x00080018
AccessionNumber: Final = 0x00080050
Modality: Final = 0x00080060
PresentationIntentType: Final = 0x00080068
Manufacturer: Final = 0x00080070
ManufacturerModelName: Final = 0x00081090
PatientName: Final = 0x00100010
PatientID: Final = 0x00100020
IssuerOfPatientID: Final = 0x00100021
BodyPartExamined: Final = 0x00180015
RepetitionTime: Final = 0x00180080
EchoTime: Final = 0x00180081
MagneticFieldStrength: Final = 0x00180087
ImagerPixelSpacing: Final = 0x00181164
ConvolutionKernel: Final = 0x00181210
NominalScannedPixelSpacing: Final = 0x00182010
ViewPosition: Final = 0x00185101
EffectiveEchoTime: Final = 0x00189082
DiffusionBValue: Final = 0x00189087
MRTimingAndRelatedParametersSequence: Final = 0x00189112
MREchoSequence: Final = 0x00189114
MRDiffusionSequence: Final = 0x00189117
CTReconstructionSequence: Final = 0x00189314
StudyInstanceUID: Final = 0x0020000D
SeriesInstanceUID: Final = 0x0020000E
InstanceNumber: Final = 0x00200013
ImagePositionPatient: Final = 0x00200032
ImageOrientationPatient: Final = 0x00200037
Laterality: Final = 0x00200060
ImageLaterality: Final = 0x00200062
FrameAnatomySequence: Final = 0x00209071
FrameLaterality: Final = 0x00209072
PlanePositionSequence: Final = 0x00209113
PlaneOrientationSequence: Final = 0x00209116
SamplesPerPixel: Final = 0x00280002
PhotometricInterpretation: Final = 0x00280004
PlanarConfiguration: Final = 0x00280006
NumberOfFrames: Final = 0x00280008
Rows: Final = 0x00280010
Columns: Final = 0x00280011
PixelSpacing: Final = 0x00280030
BitsAllocated: Final = 0x00280100
BitsStored: Final = 0x00280101
HighBit: Final = 0x00280102
PixelRepresentation: Final = 0x00280103
PixelPaddingValue: Final = 0x00280120
PixelPaddingRangeLimit: Final = 0x00280121
WindowCenter: Final = 0x00281050
WindowWidth: Final = 0x00281051
RescaleIntercept: Final = 0x00281052
RescaleSlope: Final = 0x00281053
RescaleType: Final = 0x00281054
VOILUTFunction: Final = 0x00281056
PaletteDescriptors: Final = (0x00281101, 0x00281102, 0x00281103)
PaletteData: Final = (0x00281201, 0x00281202, 0x00281203)
SegmentedPaletteData: Final = (0x00281221, 0x00281222, 0x00281223)
LossyImageCompression: Final = 0x00282110
ModalityLUTSequence: Final = 0x00283000
LUTDescriptor: Final = 0x00283002
LUTData: Final = 0x00283006
VOILUTSequence: Final = 0x00283010
PixelMeasuresSequence: Final = 0x00289110
FrameVOILUTSequence: Final = 0x00289132
PixelValueTransformationSequence: Final = 0x00289145
Units: Final = 0x00541001
PresentationLUTShape: Final = 0x20500020
SharedFunctionalGroupsSequence: Final = 0x52009229
PerFrameFunctionalGroupsSequence: Final = 0x52009230
ExtendedOffsetTable: Final = 0x7FE00001
ExtendedOffsetTableLengths: Final = 0x7FE00002
FloatPixelData: Final = 0x7FE00008
DoubleFloatPixelData: Final = 0x7FE00009
PixelData: Final = 0x7FE00010

HEADER: Final = frozenset(
    (
        SpecificCharacterSet,
        ImageType,
        SOPClassUID,
        SOPInstanceUID,
        AccessionNumber,
        Modality,
        PresentationIntentType,
        Manufacturer,
        ManufacturerModelName,
        PatientName,
        PatientID,
        IssuerOfPatientID,
        BodyPartExamined,
        RepetitionTime,
        EchoTime,
        MagneticFieldStrength,
        ConvolutionKernel,
        DiffusionBValue,
        StudyInstanceUID,
        SeriesInstanceUID,
        InstanceNumber,
        ImagePositionPatient,
        ImageOrientationPatient,
        SamplesPerPixel,
        PhotometricInterpretation,
        PlanarConfiguration,
        NumberOfFrames,
        Rows,
        Columns,
        BitsAllocated,
        BitsStored,
        HighBit,
        PixelRepresentation,
        RescaleType,
        RescaleSlope,
        Units,
        SharedFunctionalGroupsSequence,
        PerFrameFunctionalGroupsSequence,
    )
)  # what a scan asks for

FRAME: Final = HEADER | frozenset(
    (
        ImagerPixelSpacing,
        NominalScannedPixelSpacing,
        ViewPosition,
        Laterality,
        ImageLaterality,
        PixelSpacing,
        PixelPaddingValue,
        PixelPaddingRangeLimit,
        WindowCenter,
        WindowWidth,
        RescaleIntercept,
        VOILUTFunction,
        *PaletteDescriptors,
        *PaletteData,
        *SegmentedPaletteData,
        LossyImageCompression,
        ModalityLUTSequence,
        VOILUTSequence,
        PresentationLUTShape,
        ExtendedOffsetTable,
        ExtendedOffsetTableLengths,
    )
)  # what a slice needs besides
