"""The SUV factor of a PET slice (body weight), worked out while weight, dose and times are still at hand: they go no further.

The rules are those of QIBA's vendor-neutral pseudo-code for SUV, and stricter where a de-identified header is met: a factor that cannot
be relied on is none, with a reason from `codes.SUV_MISSING`.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from typing import Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements

_DAY: Final = 86400.0
_WEIGHT_LIMIT: Final = 650.0  # kg
_DOSES: Final = (1e5, 1e11)  # Bq; 370 or 370,000 are megabecquerels or kilobecquerels under the wrong tag
_HALF_LIVES: Final = (
    6.0  # an image made later holds 1/64 of the dose: nobody scans then, but a shifted clock looks like it
)
_ROUNDING: Final = 1.0  # seconds that Series Time may be late, where one of the two times has no fraction
_SAME_CLOCK: Final = 60.0  # seconds that two records of one injection may differ
_TIME: Final = re.compile(r"(\d\d):?(\d\d)?:?(\d\d(?:\.\d{1,6})?)?\s*")
_DATE: Final = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_DATE_TIME: Final = re.compile(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)")


@dataclass(frozen=True, slots=True)
class Suv:
    """As in `Slice`."""

    factor: float | None
    missing: str | None


@dataclass(frozen=True, slots=True)
class _Moment:
    """Seconds since midnight, and the day's ordinal, None where the file does not say."""

    seconds: float
    day: int | None

    def minus(self, seconds: float) -> _Moment:
        days, rest = divmod(self.seconds - seconds, _DAY)
        return _Moment(rest, None if self.day is None else self.day + int(days))

    def since(self, other: _Moment) -> float:
        """Seconds from `other` to this; where a day is unknown, the shortest way (within half a day either way)."""
        if self.day is not None and other.day is not None:
            return (self.day - other.day) * _DAY + self.seconds - other.seconds
        return (self.seconds - other.seconds + _DAY / 2) % _DAY - _DAY / 2


class _Missing(Exception):
    """There is no factor; the code says why."""


def suv_of(elements: Elements) -> Suv:
    """The factor of a PET image (PS3.3 C.8.9.1 and C.8.9.4): SUVbw in g/ml = modality value * factor.

    Other modalities have neither a factor nor a reason for its absence.
    """
    if elements.text(tags.Modality) != "PT":
        return Suv(None, None)
    try:
        factor = _factor(elements)
    except _Missing as missing:
        return Suv(None, str(missing))
    except (ArithmeticError, ValueError):  # numbers at the end of what a float can hold: a hint less, no slice less
        return Suv(None, "implausible-times")
    return Suv(factor, None) if 0 < factor < math.inf else Suv(None, "implausible-dose")


def _factor(elements: Elements) -> float:
    units, scale = elements.text(tags.Units), 1.0
    if units == "GML":
        if elements.text(tags.SUVType) not in (None, "BW"):
            raise _Missing("suv-type")
        return 1.0
    if units == "CNTS":
        philips = (elements.text(tags.PhilipsPETCreator) or "").upper() == "PHILIPS PET PRIVATE GROUP"
        factor = _positive(elements, tags.PhilipsSUVFactor) if philips else None
        if factor is not None:
            return factor
        activity = _positive(elements, tags.PhilipsActivityFactor) if philips else None
        if activity is None:
            raise _Missing("units")
        scale = activity  # counts to Bq/ml
    elif units != "BQML":
        raise _Missing("units")
    corrected = elements.texts(tags.CorrectedImage)
    if "ATTN" not in corrected:
        raise _Missing("not-attenuation-corrected")
    correction = elements.text(tags.DecayCorrection)
    if "DECY" not in corrected or correction not in ("START", "ADMIN"):
        raise _Missing("not-decay-corrected")
    weight = _positive(elements, tags.PatientWeight)
    if weight is None:
        raise _Missing("no-weight")
    if weight > _WEIGHT_LIMIT:
        raise _Missing("implausible-weight")
    injections = elements.items(tags.RadiopharmaceuticalInformationSequence)
    if len(injections) > 1:
        raise _Missing("several-injections")
    dose = _positive(injections[0], tags.RadionuclideTotalDose) if injections else None
    if dose is None:
        raise _Missing("no-dose")
    if not _DOSES[0] <= dose <= _DOSES[1]:
        raise _Missing("implausible-dose")
    if correction == "START":
        dose *= 0.5 ** _half_lives(elements, injections[0])
    return scale * weight * 1000.0 / dose


def _half_lives(elements: Elements, injection: Elements) -> float:
    """Half-lives from the injection to the moment that the pixels are corrected to."""
    half_life = _positive(injection, tags.RadionuclideHalfLife)
    if half_life is None:
        raise _Missing("no-half-life")
    scan = _scan_start(elements, half_life)
    start = _injected(elements, injection)
    if start is None:
        raise _Missing("no-injection-time")
    known = scan.day is not None and start.day is not None
    # Without days the injection goes before the scan: midnight lay between, if need be.
    decay = scan.since(start) if known else (scan.seconds - start.seconds) % _DAY
    if not 0 <= decay <= _HALF_LIVES * half_life:
        raise _Missing("implausible-times")
    return decay / half_life


def _scan_start(elements: Elements, half_life: float) -> _Moment:
    """Series Date and Time, unless a later reconstruction wrote them: then back from the frame's own times."""
    series = _moment(elements, tags.SeriesDate, tags.SeriesTime)
    acquired = _moment(elements, tags.AcquisitionDate, tags.AcquisitionTime)
    if acquired is None:
        raise _Missing("no-scan-time")
    if series is not None and acquired.since(series) >= -_ROUNDING:
        return series
    reference = _positive(elements, tags.FrameReferenceTime)
    duration = _positive(elements, tags.ActualFrameDuration)
    if reference is None or duration is None:
        raise _Missing("no-scan-time" if series is None else "series-time-after-acquisition")
    rate = math.log(2) / half_life
    during = rate * duration / 1000.0  # milliseconds
    average = math.log(during / -math.expm1(-during)) / rate  # of the frame, when its count rate is the mean one
    return acquired.minus(reference / 1000.0 - average)


def _injected(elements: Elements, injection: Elements) -> _Moment | None:
    """Radiopharmaceutical Start DateTime, else Start Time on an unknown day."""
    seconds = _seconds(injection.text(tags.RadiopharmaceuticalStartTime))
    time = None if seconds is None else _Moment(seconds, None)
    dated = _dated(elements, injection.text(tags.RadiopharmaceuticalStartDateTime))
    if dated is None:
        return time
    if time is not None and abs(dated.since(time)) > _SAME_CLOCK:
        raise _Missing("implausible-times")  # one of the two was shifted
    return dated


def _dated(elements: Elements, text: str | None) -> _Moment | None:
    """A DT value on the clock of the file's other times; None also where it is on a clock of unknown distance from theirs."""
    match = _DATE_TIME.fullmatch(text or "")
    seconds = None if match is None else _seconds(match[2])
    if match is None or seconds is None:
        return None
    moment, own, local = (
        _Moment(seconds, _day(match[1])),
        _zone(match[3]),
        _zone(elements.text(tags.TimezoneOffsetFromUTC)),
    )
    if own is None:
        return moment
    return None if local is None else moment.minus(own - local)


def _moment(elements: Elements, date: int, time: int) -> _Moment | None:
    seconds = _seconds(elements.text(time))
    return None if seconds is None else _Moment(seconds, _day(elements.text(date)))


def _seconds(text: str | None) -> float | None:
    """A TM value (PS3.5 6.2) in seconds since midnight."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2] or 0), float(match[3] or 0)
    return hours * 3600 + minutes * 60 + seconds if hours < 24 and minutes < 60 and seconds < 61 else None


def _day(text: str | None) -> int | None:
    match = _DATE.fullmatch(text or "")
    try:
        return None if match is None else datetime.date(int(match[1]), int(match[2]), int(match[3])).toordinal()
    except ValueError:
        return None


def _zone(text: str | None) -> float | None:
    """An offset from UTC in seconds."""
    match = _OFFSET.fullmatch(text or "")
    return None if match is None else (int(match[2]) * 3600 + int(match[3]) * 60) * (-1 if match[1] == "-" else 1)


def _positive(elements: Elements, tag: int) -> float | None:
    values = elements.hint(tag, "DS")
    return values[0] if values and values[0] > 0 else None
