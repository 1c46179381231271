"""Labels: one column is a class, several are a vector with unknowns; nothing matched is refused, never packed in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radload.errors import UsageError
from radload.pack.label_sets import from_csv, from_folder, from_modality, from_texts, majority
from radload.pack.table import Identity

FILES = [Identity(path=f"{folder}/{name}.png", patient=folder) for folder in "ab" for name in "12"]


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_one_column_is_a_class(tmp_path: Path) -> None:
    labels = from_csv(csv(tmp_path, "path,label\na,lung\nb/1.png,brain\n"), FILES, "ignore")
    assert (labels.task, labels.classes, labels.codes.tolist(), labels.origin) == (
        "single",
        ("brain", "lung"),
        [1, 1, 0, -1],
        "csv",
    )
    assert labels.labelled() == 3


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", np.nan), ("zero", 0.0), ("one", 1.0)])
def test_several_columns_are_a_vector_and_minus_one_is_what_the_user_says(
    tmp_path: Path, uncertain: str, value: float
) -> None:
    labels = from_csv(csv(tmp_path, "patient,effusion,mass\na,1,-1\nb,0.0,\n"), FILES, uncertain)
    nan = np.nan
    np.testing.assert_array_equal(labels.codes, np.array([[1, value], [1, value], [0, nan], [0, nan]], np.float32))
    assert (labels.task, labels.classes) == ("multi", ("effusion", "mass"))


def test_a_sample_s_row_follows_its_file() -> None:
    labels = from_texts(["x", None, "y"], "csv")
    assert labels.take(np.array([2, 2, 1, 0]), "v2").codes.tolist() == [1, 1, -1, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label\nc,lung\n", "matches none of the 4 images by its column path"),
        ("key,label\n7,lung\n", "radload label"),
        ("study,label\n1.2,lung\n", "column study"),
        ("path,label\na,\n", "empty label"),
        ("path,mass,comment\na,1,seen twice\n", "column comment, line 2"),
    ],
)
def test_tables_that_label_nothing_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        from_csv(csv(tmp_path, text), FILES, "ignore")


def test_folder_and_modality() -> None:
    assert from_folder(1, ["a/x.png", "b/c/x.png", "x.png"]).codes.tolist() == [0, 1, -1]
    assert from_folder(2, ["a/x.png", "b/c/x.png"]).classes == ("c",)
    with pytest.raises(UsageError, match="folder:3"):
        from_folder(3, ["a/x.png"])
    assert from_modality(["CT", "", "MR"]).codes.tolist() == [0, -1, 1]
    with pytest.raises(UsageError, match="--labels-from modality"):
        from_modality(["", ""])


def test_the_majority_counts_slices_and_breaks_ties_by_name() -> None:
    labels = from_texts(["x", "y", "y", None, "z"], "csv")
    assert majority(labels, ["p", "p", "p", "q", "r"], [5, 2, 2, 9, 1]) == {"p": "x", "q": "", "r": "z"}
    assert majority(from_texts(["y", "x"], "csv"), ["p", "p"], [2, 2]) == {"p": "x"}
    assert majority(None, ["p", "q"], [1, 1]) == {"p": "", "q": ""}
