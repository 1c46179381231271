"""A first layer for another number of channels gives the same outputs on grey images that are repeated over the channels."""

from __future__ import annotations

import pytest
import timm
import torch

from radload.errors import FormatError
from radload.train.models import PAPER, arguments
from radload.train.stem import convert_stem


@pytest.mark.parametrize("arch", [*PAPER, "test_vit", "test_convnext"])
@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (3, 9)])
def test_grey_images_give_the_same(arch: str, before: int, after: int) -> None:
    torch.manual_seed(0)
    size = 32 if arch.startswith("test") else 75
    first = timm.create_model(**arguments(arch, before, size), num_classes=0).double().eval()
    second = timm.create_model(**arguments(arch, after, size), num_classes=0).double().eval()
    converted = convert_stem(first.state_dict(), arch, size, after)
    second.load_state_dict(converted, strict=True)
    grey = torch.randn(2, 1, size, size, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(
            second(grey.expand(-1, after, -1, -1)), first(grey.expand(-1, before, -1, -1)), rtol=1e-9, atol=1e-9
        )


def test_the_same_number_of_channels_changes_nothing() -> None:
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    same = convert_stem(state, "test_resnet", 32, 3)
    assert state.keys() == same.keys() and all(torch.equal(state[key], same[key]) for key in state)


def test_what_is_no_convolution_of_channels_is_refused() -> None:
    state = timm.create_model("test_vit", num_classes=0, img_size=64).state_dict()
    with pytest.raises(FormatError, match=r"pos_embed .* cannot be converted"):
        convert_stem(state, "test_vit", 32, 1)
