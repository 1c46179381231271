"""A million samples: seconds and hundreds of megabytes, not minutes and gigabytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("audit_scale.py")
SAMPLES = 1_000_000


@pytest.mark.soak
def test_a_million_samples(tmp_path: Path) -> None:
    root = tmp_path / "shards"
    subprocess.run([sys.executable, SCRIPT, "make", root, str(SAMPLES)], check=True)
    done = subprocess.run([sys.executable, SCRIPT, "audit", root], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["counts"]["patient-splits"] == 0
    assert 990 <= found["counts"]["pixels-patients"] <= 1000
    assert 300 <= found["counts"]["pixels-splits"] <= 500  # 1 - (0.75² + 0.1² + 0.15²) = 0.405 of them
    assert found["mebibytes"] < 600, found
    assert found["seconds"] < 60, found
