"""Lines of a run for the console."""

from __future__ import annotations

from typing import Any


def training_line(
    step: int, total: int, lr: float, size: int | None, skipped: int, window: dict[str, Any], left: float
) -> str:
    """What `Meter.flush` found. size: of the images, where it changes in the run; left: seconds."""
    loss = "none" if window["loss"] is None else f"{window['loss']:.4f}"
    pixels = f"{size} pixels  " if size is not None else ""
    ceiling = f" ({window['ceiling']:.0%} of the network alone)" if "ceiling" in window else ""
    bad = f"  {skipped} steps skipped: no finite gradient" if skipped else ""
    return (
        f"step {step}/{total}  {pixels}loss {loss}  accuracy {window['accuracy']:.3f}  lr {lr:.2e}  "
        f"{window['images_per_s']:.0f} images/s{ceiling}  waiting for data {window['data_wait']:.1%}  {duration(left)} left{bad}"
    )


def validation_line(step: int, result: dict[str, Any]) -> str:
    """The metrics of a validation for the console."""
    names = [
        name for name in ("loss", "top1", "top5", "balanced_accuracy", "auroc", "found") if result.get(name) is not None
    ]
    short = f"  ({result['unreadable']} samples cannot be read and are left out)" if result["unreadable"] else ""
    return f"validation at step {step}: " + "  ".join(f"{name} {result[name]:.4f}" for name in names) + short


def duration(seconds: float) -> str:
    """ "3 h 20 min", "20 min" or "20 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
