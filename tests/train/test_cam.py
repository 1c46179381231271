"""Grad-CAM is what its paper says, on whatever layout a network has; Dice is Dice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from radload.errors import UsageError
from radload.loading.planning.recipe import default_recipe
from radload.train.backbones import Backbone, make_backbone
from radload.train.cam import THRESHOLDS, dice, grad_cam, mean_by_patient_draws
from radload.train.finetune import Probe


def probe_of(arch: str, size: int = 64) -> Probe:
    backbone = make_backbone("random", arch, 3, size, default_recipe(), 1)
    torch.manual_seed(0)
    return Probe(backbone, nn.Linear(backbone.width, 3)).eval()


@pytest.mark.parametrize("arch", ["test_resnet", "densenet121", "inception_v3"])
def test_under_average_pooling_and_a_linear_head_it_is_the_class_activation_map(arch: str) -> None:
    """Selvaraju et al. 2017, section 3.1: Grad-CAM generalises CAM (Zhou et al. 2016), whose weights are those of the head."""
    probe = probe_of(arch, 96)
    image, classes = torch.randn(4, 3, 96, 96), torch.tensor([0, 1, 2, 1])
    heat = grad_cam(probe, image, classes)
    with torch.no_grad():
        maps = probe.backbone.maps(image)
        want = torch.einsum("nchw,nc->nhw", maps, probe.head.weight[classes]).relu()[:, None]
        want = nn.functional.interpolate(want, (96, 96), mode="bilinear", align_corners=False)[:, 0]
        top = want.amax(dim=(1, 2), keepdim=True)
    shown = (top > 0).flatten()
    assert shown.any() and heat.shape == (4, 96, 96) and heat.min() >= 0
    torch.testing.assert_close(heat[shown], (want / top.clamp(min=1e-12))[shown], rtol=1e-3, atol=1e-4)
    assert all(parameter.grad is None for parameter in probe.parameters())


def test_feature_maps_with_channels_last() -> None:
    probe = probe_of("swin_tiny_patch4_window7_224", 224)
    heat = grad_cam(probe, torch.randn(2, 3, 224, 224), torch.tensor([0, 2]))
    assert heat.shape == (2, 224, 224) and heat.isfinite().all() and heat.amax() == pytest.approx(1)


def test_tokens_are_no_maps() -> None:
    with pytest.raises(UsageError, match="take a CNN"):
        grad_cam(probe_of("test_vit", 32), torch.randn(1, 3, 32, 32), torch.tensor([0]))


def test_it_finds_what_the_class_depends_on() -> None:
    """A network that answers with the brightness of its first map looks where it is bright."""

    class Net(nn.Module):
        num_features = 2

        def forward_features(self, image: torch.Tensor) -> torch.Tensor:
            return nn.functional.avg_pool2d(image[:, :2], 4)

        def forward_head(self, maps: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            return maps.mean(dim=(2, 3))

    head = nn.Linear(2, 2)
    head.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    image = torch.zeros(2, 3, 32, 32)
    image[:, 0, 8:16, 16:24] = 1
    mask = image[:, 0] > 0
    heat = grad_cam(Probe(Backbone(Net()), head).eval(), image, torch.tensor([0, 1]))
    overlap = dice(heat, mask)
    assert overlap[0].max() > 0.9 and (heat[1] == 0).all() and (overlap[1] == 0).all()


def test_dice_against_its_definition() -> None:
    random = np.random.default_rng(0)
    heat, mask = random.random((3, 9, 9)), random.random((3, 9, 9)) < 0.3
    found = dice(torch.from_numpy(heat), torch.from_numpy(mask))
    for place, threshold in enumerate(THRESHOLDS):
        for one in range(3):
            a = heat[one] >= threshold
            assert found[one, place] == pytest.approx(2 * (a & mask[one]).sum() / (a.sum() + mask[one].sum()))
    assert 0.5 in THRESHOLDS


def test_means_follow_the_weights_of_patients() -> None:
    values, patients = np.array([0.1, 0.3, 0.8]), np.array([0, 0, 2])
    weights = np.array([[1, 1, 1], [2, 5, 0], [0, 1, 0], [1, 0, 2]], np.uint16)
    found = mean_by_patient_draws(values, patients, weights)
    assert found[[0, 1, 3]] == pytest.approx([0.4, 0.2, (0.4 + 1.6) / 4]) and np.isnan(found[2])
