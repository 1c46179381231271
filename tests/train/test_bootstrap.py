"""Patients are drawn with replacement, the same ones for the same seed; intervals cover, and are given only where they mean something."""

from __future__ import annotations

import numpy as np
import pytest

from radload.train.auroc import weighted_auroc
from radload.train.bootstrap import RESAMPLES, Measure, as_text, draw_patients, measure, resamples_for


def test_a_draw_has_as_many_patients_as_there_are() -> None:
    drawn = draw_patients(40, 300)
    assert (drawn.sum(axis=1) == 40).all() and len({row.tobytes() for row in drawn}) == 300
    assert np.array_equal(drawn, draw_patients(40, 300)) and not np.array_equal(drawn, draw_patients(40, 300, seed=1))
    assert abs(float((drawn == 0).mean()) - (1 - 1 / 40) ** 40) < 0.01  # the share that is never drawn
    assert abs(float(drawn.mean(axis=0).std()) - (1 / 300) ** 0.5) < 0.02


def test_fewer_resamples_where_they_would_take_long() -> None:
    assert resamples_for(10_000, 10, 500) == RESAMPLES
    assert resamples_for(1_350_000, 165, 100_000) == 200
    assert 200 < resamples_for(135_000, 300, 20_000) < RESAMPLES
    assert resamples_for(10_000_000, 2, 500_000) == 400


def test_a_measure_needs_enough_draws() -> None:
    assert measure(float("nan"), np.ones(500)).as_dict() == {"value": None, "low": None, "high": None}
    few = np.full(500, np.nan)
    few[:50] = 0.5
    assert measure(0.5, few).as_dict() == {"value": 0.5, "low": None, "high": None}
    found = measure(0.5, np.linspace(0, 1, 1001))
    assert (found.low, found.high) == (pytest.approx(0.025), pytest.approx(0.975))


def test_intervals_over_patients_cover_the_truth_and_those_over_slices_do_not() -> None:
    """Two classes of patients, ten nearly equal slices each: the AUROC of the population is 0.7592 (two Gaussians one apart)."""
    truth, trials, patients, slices = 0.7592, 150, 40, 10
    by_patient = by_slice = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        positive = np.repeat(np.arange(patients) % 2 == 1, slices)
        scores = np.repeat(rng.normal(size=patients), slices) + 0.1 * rng.normal(size=patients * slices) + positive
        unit = np.repeat(np.arange(patients), slices)
        own = measure(0.5, weighted_auroc(scores, positive, unit, draw_patients(patients, 200, trial)))
        alone = np.arange(patients * slices)
        wrong = measure(0.5, weighted_auroc(scores, positive, alone, draw_patients(len(alone), 200, trial)))
        by_patient += own.low is not None and own.high is not None and own.low <= truth <= own.high
        by_slice += wrong.low is not None and wrong.high is not None and wrong.low <= truth <= wrong.high
    assert by_patient / trials > 0.88 and by_slice / trials < 0.7, (by_patient, by_slice)


def test_a_measure_as_text() -> None:
    assert as_text(Measure(0.9124, 0.8731, 0.9409).as_dict()) == "0.912 (0.873 to 0.941)"
    assert as_text(Measure(-0.05).as_dict(), "+.2f") == "-0.05"
    assert as_text(Measure(0.5, 0.25, 0.75).as_dict(), "+.2f") == "+0.50 (+0.25 to +0.75)"
    assert as_text(Measure(None).as_dict()) == as_text(None) == ""
