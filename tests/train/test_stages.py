"""Stages cover all steps once, in the sizes that were asked for."""

from __future__ import annotations

import pytest

from radload.errors import UsageError
from radload.train.stages import Stage, sizes_of, stages_of


def test_sizes_become_stages() -> None:
    sizes = sizes_of("128:0.4,176:0.7,224", 999)
    assert sizes == ((128, 0.4), (176, 0.7), (224, 1.0)) and sizes_of(None, 96) == ((96, 1.0),)
    assert stages_of(sizes, 10) == (Stage(128, 0, 4), Stage(176, 4, 7), Stage(224, 7, 10))
    assert stages_of(sizes, 1) == (Stage(176, 0, 1),), "what is too short for a step is left out"


@pytest.mark.parametrize("total", [1, 2, 3, 7, 1000])
def test_every_step_has_one_stage(total: int) -> None:
    stages = stages_of(sizes_of("32:0.1,48:0.5,64:0.9,96", 1), total)
    assert [step for stage in stages for step in range(stage.first, stage.end)] == list(range(total))


WRONG = [
    "",
    "128:0.5",
    "128:0.5,176:0.4,224",
    "128:0.5,224:1.0",
    "a:0.5,9",
    "0:0.5,9",
    "128:1.5,9",
    "128:nan,9",
    "128,224",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_list_of_sizes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--sizes {text}"):
        sizes_of(text, 1)
