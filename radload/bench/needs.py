"""How many images per second a network takes in training: published figures, each with its source, and nothing else.

No figure here is an estimate, and none is carried over from one card or network to another: for what is not in the table there
is `--measure-arch`, which measures the network on the machine at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from radload.errors import UsageError


@dataclass(frozen=True, slots=True)
class Published:
    """One published figure: images per second and GPU in training, at `size` pixels, how it was set up, and where it stands."""

    arch: str
    gpu: str
    rate: float
    size: int
    setup: str
    source: str


_MLPERF = "MLPerf Training"
_LAMBDA = "lambdal/deeplearning-benchmark, pytorch-train-throughput"
_EXAMPLES = "NVIDIA/DeepLearningExamples, RN50v1.5 README"
_TIMM = "huggingface/pytorch-image-models, results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
_AMP = "PyTorch 1.12, AMP, channels_last, synthetic data"

PUBLISHED = (
    Published("resnet50", "h200", 7869, 224, "MXNet, DALI, 8 GPUs, real data", f"{_MLPERF} v4.0, NVIDIA h200_ngc24.04_mxnet"),
    Published("resnet50", "h200", 3079, 224, "PyTorch, AMP, NCHW, 1 GPU, synthetic data", _LAMBDA),
    Published("resnet50", "b200", 3077, 224, "PyTorch, AMP, NCHW, 1 GPU, synthetic data", _LAMBDA),
    Published("resnet50", "h100", 7137, 224, "MXNet, DALI, 8 GPUs, real data", f"{_MLPERF} v4.0, Dell"),
    Published("resnet50", "h100", 2790, 224, "PyTorch, AMP, NCHW, synthetic data", _LAMBDA),
    Published("vit_small_patch16_224", "h100", 7716, 224, "PyTorch, bfloat16, torch.compile, synthetic data", "nvSubquadratic benchmarks"),
    Published("resnet50", "a100", 3411, 224, "MXNet, fp16, 1 GPU", f"{_EXAMPLES} (MXNet)"),
    Published("resnet50", "a100", 2470, 224, "PyTorch, AMP, channels_last, 1 GPU, DALI", f"{_EXAMPLES} (PyTorch)"),
    Published("resnet18", "rtx3090", 3481.78, 224, _AMP, _TIMM),
    Published("resnet50", "rtx3090", 1218.01, 224, _AMP, _TIMM),
    Published("densenet121", "rtx3090", 913.65, 224, _AMP, _TIMM),
    Published("inception_v3", "rtx3090", 782.35, 299, _AMP, _TIMM),
    Published("inception_resnet_v2", "rtx3090", 358.54, 299, _AMP, _TIMM),
    Published("vit_small_patch16_224", "rtx3090", 1057.92, 224, _AMP, _TIMM),
    Published("convnext_tiny", "rtx3090", 819.24, 224, _AMP, _TIMM),
    Published("vit_base_patch16_224", "rtx3090", 392.99, 224, _AMP, _TIMM),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """What a network takes: images per second at `size` pixels on `where`; `origin` is "published" or "measured"; and how."""

    arch: str
    where: str
    rate: float
    size: int
    origin: str
    how: str


def find_published(arch: str, gpu: str) -> tuple[Published, ...]:
    """All figures of a network on a card, highest first.

    Raises:
        UsageError: none is known; it says which are, and what to do.
    """
    arch, gpu = arch.lower(), gpu.lower()
    found = [one for one in PUBLISHED if (one.arch, one.gpu) == (arch, gpu)]
    if not found:
        cards = sorted({one.gpu for one in PUBLISHED if one.arch == arch})
        known = f"{arch} is known on {', '.join(cards)}" if cards else f"known are {', '.join(_archs())}"
        raise UsageError(
            f"no training speed of {arch} on {gpu} is known to be published ({known}): measure it where you train, with --measure-arch"
        )
    return tuple(sorted(found, key=lambda one: -one.rate))


def published_need(arch: str, gpu: str) -> Need:
    """The highest published figure of a network on a card: what a loader must deliver to be never the limit. Raises UsageError."""
    best = find_published(arch, gpu)[0]
    return Need(best.arch, best.gpu, best.rate, best.size, "published", f"{best.source}: {best.setup}")


def _archs() -> list[str]:
    return sorted({one.arch for one in PUBLISHED})
