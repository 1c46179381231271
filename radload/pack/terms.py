"""Texts of headers that may leave the private folder, limited: defined terms where the standard has them, short device names elsewhere.

A code string (CS) or a long string (LO) can hold anything that somebody typed. What is no term, or could name a person or a day, is left
out: the attribute is then unknown.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeAlias

from radload.pack.persons import Person, person_of, vocabulary
from radload.sources import Header

_LONGEST: Final = 64  # characters of an LO (PS3.5 6.2)

# PS3.3 C.7.3.1.1.1, retired terms included; SC is none, and is written all the same.
MODALITIES: Final = vocabulary(
    """ANN AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA FID FS
    GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT
    PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF ST STAIN TEXTUREMAP
    TG US VA VF XA XAPROTOCOL XC"""
)

# PS3.16 Annex L, Body Part Examined.
BODY_PARTS: Final = vocabulary(
    """ABDOMEN ABDOMENPELVIS ACJOINT ADRENAL ANKLE ANUS AORTA APPENDIX ARM AXILLA BACK BILEDUCT BLADDER BRAIN BREAST BRONCHUS BUTTOCK
    CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA
    CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT FOREARM FOREFOOT
    GALLBLADDER HAND HEAD HEADNECK HEART HINDFOOT HIP HUMERUS IAC ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LOWERLEG
    LOWERLIMB LSPINE LSSPINE LUNG MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT
    OVARY PANCREAS PAROTID PATELLA PELVIS PENIS PHARYNX PITUITARY PROSTATE RECTUM RIB SCALP SCAPULA SCJOINT SCLERA SCROTUM
    SELLATURCICA SHOULDER SIJOINT SINUS SKIN SKULL SPINE SPINALCORD SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THUMB
    THYMUS THYROID TIBIAFIBULA TLSPINE TMJ TOE TONGUE TRACHEA TSPINE UPPERARM UPPERLIMB URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY
    WRIST ZYGOMA"""
)

# PS3.3 C.8.1.1 (CR), C.8.11.5 (DX), PS3.16 CID 4014 (mammography), and what is written beside them.
VIEWS: Final = vocabulary(
    """AP PA LL RL RLD LLD RLO LLO LAO RAO LPO RPO LAT LATERAL OBLIQUE AXIAL TANGENTIAL SWIMMERS SUNRISE CC MLO ML LM LMO FB SIO ISO
    XCC XCCL XCCM"""
)

LATERALITIES: Final = frozenset(("R", "L", "U", "B"))  # PS3.3 C.7.3.1, C.8.11.1: unpaired and both included

_DATE: Final = re.compile(
    r"(?<!\d)(?:19|20)\d\d[-./ ]?(?:0[1-9]|1[0-2])[-./ ]?(?:0[1-9]|[12]\d|3[01])"
    r"|(?<!\d)[0-3]?\d[-./][0-3]?\d[-./](?:19|20)\d\d(?!\d)"
)
_UID: Final = re.compile(r"\d+(?:\.\d+){5,}")


def term(text: str | None, terms: frozenset[str]) -> str | None:
    """The defined term that `text` means, whatever its case, spaces and hyphens; None for anything else."""
    if text is None:
        return None
    plain = re.sub(r"[\s_/-]", "", text).upper()
    return plain if plain in terms else None


def device_text(text: str | None, person: Person) -> str | None:
    """`text`; None where it is not printable, not ASCII, too long, or holds a date, a UID, an address or what names `person`."""
    if text is None or len(text) > _LONGEST or not text.isascii() or not text.isprintable() or not text.strip():
        return None
    if "@" in text or _DATE.search(text) or _UID.search(text) or person.stands_in(text):
        return None
    return text.strip()


_Texts: TypeAlias = tuple[str, str | None, str | None, str | None, str | None]


def limited(header: Header) -> Header:
    """The header with attributes that may leave."""
    attributes = header.attributes
    texts = (attributes.modality, attributes.body_part, attributes.manufacturer, attributes.model, attributes.kernel)
    found = _limited(texts, person_of(header))
    if found == texts:
        return header
    modality, body_part, manufacturer, model, kernel = found
    return replace(
        header,
        attributes=replace(
            attributes,
            modality=modality or "",
            body_part=body_part,
            manufacturer=manufacturer,
            model=model,
            kernel=kernel,
        ),
    )


@lru_cache(maxsize=1024)  # of the slices of a series all are equal
def _limited(texts: _Texts, person: Person) -> _Texts:
    modality, body_part, *devices = texts
    manufacturer, model, kernel = (device_text(text, person) for text in devices)
    return term(modality, MODALITIES) or "", term(body_part, BODY_PARTS), manufacturer, model, kernel
