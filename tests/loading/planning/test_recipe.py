"""A recipe has one number of channels for every sample, survives JSON, and unknown windows are refused with what there is."""

from __future__ import annotations

import json

import pytest

from radload.errors import UsageError
from radload.loading.planning.recipe import PRESETS, Recipe, Window, make_recipe


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [None, "file", (40, 400), *PRESETS])
def test_channels_are_fixed_and_json_keeps_everything(window: object, channels: int) -> None:
    recipe = make_recipe(window, channels, mean=0.4, std=[0.3] * channels)
    assert recipe.channels == channels == len(recipe.mean) == len(recipe.std)
    assert all(len(row) == channels for row in recipe.windows.values())
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_the_default_is_lung_soft_tissue_and_bone_for_ct_in_hounsfield_units() -> None:
    recipe = make_recipe()
    row = recipe.windows[recipe.row("CT", hounsfield=True, display=False)]
    assert [(w.centre, w.width) for w in row] == [(-600, 1500), (40, 400), (400, 1800)]


@pytest.mark.parametrize(
    ("modality", "hounsfield", "display", "rule"),
    [
        ("CT", False, False, "percentiles"),
        ("MR", False, False, "percentiles"),
        ("CR", False, False, "percentiles"),
        ("PT", False, False, "from_zero"),
        ("US", False, False, "display"),
        ("CT", False, True, "display"),
        ("XX", False, False, "percentiles"),
    ],
)
def test_rows(modality: str, hounsfield: bool, display: bool, rule: str) -> None:
    recipe = make_recipe()
    assert {w.rule for w in recipe.windows[recipe.row(modality, hounsfield, display)]} == {rule}


def test_a_preset_is_for_ct_in_hounsfield_units_and_numbers_are_for_all() -> None:
    brain, numbers = make_recipe("brain"), make_recipe((40, 80))
    assert brain.windows[brain.row("CT", True, False)][0] == Window("fixed", 40, 80)
    assert brain.windows[brain.row("MR", False, False)][0].rule == "percentiles"
    assert numbers.windows[numbers.row("MR", False, False)][0] == Window("fixed", 40, 80)
    assert numbers.windows[numbers.row("US", False, True)][0] == Window("fixed", 40, 80)


def test_describe_prints_the_table() -> None:
    text = make_recipe().describe()
    assert "-600/1500" in text and "p0.5 to p99.5" in text and "std 0.25" in text
    assert "own VOI" in make_recipe("file").describe()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"'lungs'.*lung.*brain"):
        make_recipe("lungs")


@pytest.mark.parametrize("window", [(40,), (40, 0), (40, -5), (float("nan"), 5), ("a", "b"), 7, (1, 2, 3)])
def test_what_is_no_window_is_refused(window: object) -> None:
    with pytest.raises(UsageError, match="window"):
        make_recipe(window)


@pytest.mark.parametrize("arguments", [{"channels": 2}, {"std": 0}, {"mean": (0.1, 0.2)}])
def test_bad_numbers_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_recipe(None, **arguments)


def test_rows_of_different_length_are_refused() -> None:
    with pytest.raises(UsageError, match="1 or 3 windows"):
        Recipe("mine", {"*": (Window("percentiles"),), "CT": (Window("percentiles"),) * 3})
    with pytest.raises(UsageError, match="as_dict"):
        Recipe.from_dict({"name": "x"})
