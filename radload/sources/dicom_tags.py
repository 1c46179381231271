"""Tags of the DICOM elements that the sources read (PS3.6), by their keywords."""

from __future__ import annotations

from typing import Final

SpecificCharacterSet: Final = 0x00080005
ImageType: Final = 0x00080008
SOPClassUID: Final = 0x00080016
SOPInstanceUID: Final = 0x00080018
StudyDate: Final = 0x00080020
SeriesDate: Final = 0x00080021
AcquisitionDate: Final = 0x00080022
SeriesTime: Final = 0x00080031
AcquisitionTime: Final = 0x00080032
AccessionNumber: Final = 0x00080050
Modality: Final = 0x00080060
PresentationIntentType: Final = 0x00080068
Manufacturer: Final = 0x00080070
InstitutionName: Final = 0x00080080
CodeValue: Final = 0x00080100
CodingSchemeDesignator: Final = 0x00080102
TimezoneOffsetFromUTC: Final = 0x00080201
StationName: Final = 0x00081010
StudyDescription: Final = 0x00081030
SeriesDescription: Final = 0x0008103E
ManufacturerModelName: Final = 0x00081090
ReferencedSeriesSequence: Final = 0x00081115
ReferencedInstanceSequence: Final = 0x0008114A
ReferencedSOPInstanceUID: Final = 0x00081155
ReferencedFrameNumber: Final = 0x00081160
SourceImageSequence: Final = 0x00082112
DerivationImageSequence: Final = 0x00089124
PatientName: Final = 0x00100010
PatientID: Final = 0x00100020
IssuerOfPatientID: Final = 0x00100021
PatientBirthDate: Final = 0x00100030
PatientSex: Final = 0x00100040
PatientAge: Final = 0x00101010
PatientWeight: Final = 0x00101030
BodyPartExamined: Final = 0x00180015
SliceThickness: Final = 0x00180050
RepetitionTime: Final = 0x00180080
EchoTime: Final = 0x00180081
EchoNumbers: Final = 0x00180086
MagneticFieldStrength: Final = 0x00180087
ProtocolName: Final = 0x00181030
RadiopharmaceuticalStartTime: Final = 0x00181072
RadionuclideTotalDose: Final = 0x00181074
RadionuclideHalfLife: Final = 0x00181075
RadiopharmaceuticalStartDateTime: Final = 0x00181078
ImagerPixelSpacing: Final = 0x00181164
ConvolutionKernel: Final = 0x00181210
ActualFrameDuration: Final = 0x00181242
NominalScannedPixelSpacing: Final = 0x00182010
ViewPosition: Final = 0x00185101
SequenceOfUltrasoundRegions: Final = 0x00186011
RegionSpatialFormat: Final = 0x00186012
RegionLocation: Final = (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)  # Min X0, Min Y0, Max X1, Max Y1
EffectiveEchoTime: Final = 0x00189082
DiffusionBValue: Final = 0x00189087
MRTimingAndRelatedParametersSequence: Final = 0x00189112
MREchoSequence: Final = 0x00189114
MRDiffusionSequence: Final = 0x00189117
CTReconstructionSequence: Final = 0x00189314
StudyInstanceUID: Final = 0x0020000D
SeriesInstanceUID: Final = 0x0020000E
AcquisitionNumber: Final = 0x00200012
InstanceNumber: Final = 0x00200013
ImagePositionPatient: Final = 0x00200032
ImageOrientationPatient: Final = 0x00200037
Laterality: Final = 0x00200060
ImageLaterality: Final = 0x00200062
TemporalPositionIdentifier: Final = 0x00200100
FrameAnatomySequence: Final = 0x00209071
FrameLaterality: Final = 0x00209072
FrameContentSequence: Final = 0x00209111
PlanePositionSequence: Final = 0x00209113
PlaneOrientationSequence: Final = 0x00209116
TemporalPositionIndex: Final = 0x00209128
FrameAcquisitionNumber: Final = 0x00209156
SamplesPerPixel: Final = 0x00280002
PhotometricInterpretation: Final = 0x00280004
PlanarConfiguration: Final = 0x00280006
NumberOfFrames: Final = 0x00280008
Rows: Final = 0x00280010
Columns: Final = 0x00280011
PixelSpacing: Final = 0x00280030
PixelAspectRatio: Final = 0x00280034
CorrectedImage: Final = 0x00280051
BitsAllocated: Final = 0x00280100
BitsStored: Final = 0x00280101
HighBit: Final = 0x00280102
PixelRepresentation: Final = 0x00280103
SmallestImagePixelValue: Final = 0x00280106
LargestImagePixelValue: Final = 0x00280107
PixelPaddingValue: Final = 0x00280120
PixelPaddingRangeLimit: Final = 0x00280121
FloatPixelPaddingValue: Final = 0x00280122
DoubleFloatPixelPaddingValue: Final = 0x00280123
FloatPixelPaddingRangeLimit: Final = 0x00280124
DoubleFloatPixelPaddingRangeLimit: Final = 0x00280125
BurnedInAnnotation: Final = 0x00280301
WindowCenter: Final = 0x00281050
WindowWidth: Final = 0x00281051
RescaleIntercept: Final = 0x00281052
RescaleSlope: Final = 0x00281053
RescaleType: Final = 0x00281054
WindowCenterWidthExplanation: Final = 0x00281055
VOILUTFunction: Final = 0x00281056
PaletteDescriptors: Final = (0x00281101, 0x00281102, 0x00281103)
PaletteData: Final = (0x00281201, 0x00281202, 0x00281203)
SegmentedPaletteData: Final = (0x00281221, 0x00281222, 0x00281223)
LossyImageCompression: Final = 0x00282110
LossyImageCompressionRatio: Final = 0x00282112
ModalityLUTSequence: Final = 0x00283000
LUTDescriptor: Final = 0x00283002
LUTData: Final = 0x00283006
VOILUTSequence: Final = 0x00283010
PixelMeasuresSequence: Final = 0x00289110
FrameVOILUTSequence: Final = 0x00289132
PixelValueTransformationSequence: Final = 0x00289145
MeasurementUnitsCodeSequence: Final = 0x004008EA
RealWorldValueMappingSequence: Final = 0x00409096
RealWorldValueLastValueMapped: Final = 0x00409211
RealWorldValueLUTData: Final = 0x00409212
DoubleRealWorldValueLastValueMapped: Final = 0x00409213
DoubleRealWorldValueFirstValueMapped: Final = 0x00409214
RealWorldValueFirstValueMapped: Final = 0x00409216
RealWorldValueIntercept: Final = 0x00409224
RealWorldValueSlope: Final = 0x00409225
RadiopharmaceuticalInformationSequence: Final = 0x00540016
ViewCodeSequence: Final = 0x00540220
Units: Final = 0x00541001
SUVType: Final = 0x00541006
DecayCorrection: Final = 0x00541102
FrameReferenceTime: Final = 0x00541300
SegmentationType: Final = 0x00620001
SegmentSequence: Final = 0x00620002
SegmentNumber: Final = 0x00620004
SegmentIdentificationSequence: Final = 0x0062000A
ReferencedSegmentNumber: Final = 0x0062000B
MaximumFractionalValue: Final = 0x0062000E
SegmentedPropertyTypeCodeSequence: Final = 0x0062000F
PresentationLUTShape: Final = 0x20500020
SharedFunctionalGroupsSequence: Final = 0x52009229
PerFrameFunctionalGroupsSequence: Final = 0x52009230
PhilipsPETCreator: Final = 0x70530010
PhilipsSUVFactor: Final = 0x70531000
PhilipsActivityFactor: Final = 0x70531009
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
        ReferencedSeriesSequence,
        SegmentationType,
        SegmentSequence,
        MaximumFractionalValue,
        EchoNumbers,
        TemporalPositionIdentifier,
        AcquisitionNumber,
        Laterality,
        ImageLaterality,
        ViewPosition,
        ViewCodeSequence,
        SequenceOfUltrasoundRegions,
        BurnedInAnnotation,
    )
)  # what a scan asks for

FRAME: Final = HEADER | frozenset(
    (
        ImagerPixelSpacing,
        NominalScannedPixelSpacing,
        PixelSpacing,
        PixelAspectRatio,
        SmallestImagePixelValue,
        LargestImagePixelValue,
        PixelPaddingValue,
        PixelPaddingRangeLimit,
        FloatPixelPaddingValue,
        DoubleFloatPixelPaddingValue,
        FloatPixelPaddingRangeLimit,
        DoubleFloatPixelPaddingRangeLimit,
        WindowCenter,
        WindowWidth,
        WindowCenterWidthExplanation,
        RescaleIntercept,
        VOILUTFunction,
        *PaletteDescriptors,
        *PaletteData,
        *SegmentedPaletteData,
        LossyImageCompression,
        LossyImageCompressionRatio,
        ModalityLUTSequence,
        VOILUTSequence,
        PresentationLUTShape,
        RealWorldValueMappingSequence,
        ExtendedOffsetTable,
        ExtendedOffsetTableLengths,
        # for the SUV factor of PET, and for nothing else:
        SeriesDate,
        AcquisitionDate,
        SeriesTime,
        AcquisitionTime,
        TimezoneOffsetFromUTC,
        PatientWeight,
        ActualFrameDuration,
        CorrectedImage,
        RadiopharmaceuticalInformationSequence,
        SUVType,
        DecayCorrection,
        FrameReferenceTime,
        PhilipsPETCreator,
        PhilipsSUVFactor,
        PhilipsActivityFactor,
    )
)  # what a slice needs besides

CATALOG: Final = HEADER | frozenset(
    (
        StudyDate,
        SeriesDate,
        InstitutionName,
        StationName,
        StudyDescription,
        SeriesDescription,
        PatientBirthDate,
        PatientSex,
        PatientAge,
        SliceThickness,
        ProtocolName,
        PixelSpacing,
        ImagerPixelSpacing,
        NominalScannedPixelSpacing,
    )
)  # a scan's question, with what only the catalog keeps
