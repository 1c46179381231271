"""The demo's network knows patients that it never saw, and not by their modality alone."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from radload.demo.run import Options, run


@pytest.mark.soak
def test_the_demo_reaches_95_percent_balanced_accuracy_on_patients_never_seen(tmp_path: Path) -> None:
    text = io.StringIO()
    run(Options(tmp_path / "demo"), Console(file=text, width=200))
    verdict = json.loads((tmp_path / "demo/run/val.json").read_text())
    assert verdict["patients"] >= 50, "nobody is known by luck"
    assert verdict["slice"]["balanced_accuracy"]["value"] >= 0.95, verdict["confusion"]["slice"]
    alone = re.search(r"the modality alone gives ([0-9.]+)%", text.getvalue())
    assert alone is not None and float(alone[1]) < 65
