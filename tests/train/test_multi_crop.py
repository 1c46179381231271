"""The multi-crop trainer of docs/training.md runs as it stands there, on small images."""

from __future__ import annotations

from pathlib import Path

import torch

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
SETTINGS = 'shards, arch, size, local_size, batch_size, prototypes = "shards", "resnet50", 224, 96, 64, 16384'


def test_the_documented_trainer_runs(unlabelled: Path) -> None:
    text = DOCS.read_text().partition("<!-- tested: multi-crop -->")[2].partition("```python\n")[2].partition("```")[0]
    assert SETTINGS in text
    values: dict[str, object] = {}
    torch.manual_seed(0)
    exec(
        text.replace(SETTINGS, f'{SETTINGS.partition("=")[0]}= {str(unlabelled)!r}, "test_resnet", 32, 16, 8, 64'),
        values,
    )
    views, loss, teacher, student = (values[name] for name in ("views", "loss", "teacher", "student"))
    assert [tuple(part.shape) for part in views] == [(2, 8, 64), (6, 8, 64)]  # type: ignore[attr-defined]
    assert 0 < float(loss.detach()) < 10  # type: ignore[attr-defined]
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)  # type: ignore[attr-defined]
    assert any(not torch.equal(old, new) for old, new in pairs)
    values["loader"].close()  # type: ignore[attr-defined]
