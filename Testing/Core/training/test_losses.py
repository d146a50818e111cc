"""Segmentation loss, self-distillation (eqs. 4-6), and which weights each of them reaches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network.transunet import SelfDistillingTransUNet, TrainingOutput
from MISSUCore.training.losses import (
    MISSULoss,
    SegmentationLoss,
    at_stage,
    attention_map,
    distillation_loss,
    soft_dice_loss,
)

MEMBERSHIP = torch.from_numpy(BRATS.membership)
CLASSES = torch.randint(4, (2, 5, 4, 3), generator=torch.Generator().manual_seed(1))


def random_logits(targets: str) -> torch.Tensor:
    outputs = {"labels": 4, "regions": 3}[targets]
    return torch.randn((2, outputs, 5, 4, 3), generator=torch.Generator().manual_seed(2))


def region_truth(classes: torch.Tensor) -> torch.Tensor:
    """WT, TC and ET of classes 1 (NCR), 2 (ED) and 3 (ET), said without the membership."""
    return torch.stack([classes > 0, (classes == 1) | (classes == 3), classes == 3], 1).float()


def test_cross_entropy_of_labels_is_that_of_torch():
    logits = random_logits("labels")
    loss = SegmentationLoss(MEMBERSHIP, "labels", "cross_entropy")(logits, CLASSES.to(torch.uint8))
    torch.testing.assert_close(loss, torch.nn.CrossEntropyLoss()(logits, CLASSES))


def test_cross_entropy_of_regions_is_that_of_every_region():
    logits = random_logits("regions")
    loss = SegmentationLoss(MEMBERSHIP, "regions", "cross_entropy")(logits, CLASSES)
    torch.testing.assert_close(loss, torch.nn.BCEWithLogitsLoss()(logits, region_truth(CLASSES)))


@pytest.mark.parametrize("targets", ["labels", "regions"])
def test_dice_is_that_of_monai(targets):
    losses = pytest.importorskip("monai.losses")
    logits = random_logits(targets)
    if targets == "labels":
        options = {"include_background": False, "softmax": True, "to_onehot_y": True}
        truth = CLASSES[:, None]
    else:
        options, truth = {"sigmoid": True}, region_truth(CLASSES)
    expected = losses.DiceLoss(**options, batch=True, smooth_nr=1, smooth_dr=1)(logits, truth)
    torch.testing.assert_close(
        SegmentationLoss(MEMBERSHIP, targets, "dice")(logits, CLASSES), expected
    )


def test_dice_by_hand():
    # Channel 1: overlap 0.5 + 1, total 2.5 + 3; channel 2: nothing there, 0.5 found.
    probabilities = torch.tensor([[[0.5, 1.0, 1.0, 0.0], [0.5, 0.0, 0.0, 0.0]]])[..., None, None]
    truth = torch.tensor([[[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])[..., None, None]
    expected = 1 - ((2 * 1.5 + 1) / (5.5 + 1) + 1 / 1.5) / 2
    assert soft_dice_loss(probabilities, truth).item() == pytest.approx(expected)


@pytest.mark.parametrize("targets", ["labels", "regions"])
def test_the_sum_is_the_sum_of_both(targets):
    logits = random_logits(targets)
    both, dice, cross_entropy = (
        SegmentationLoss(MEMBERSHIP, targets, kind)(logits, CLASSES)
        for kind in ("dice_cross_entropy", "dice", "cross_entropy")
    )
    torch.testing.assert_close(both, dice + cross_entropy)
    assert dice > 0.1 < cross_entropy


def test_the_cross_entropy_of_the_sum_has_the_weight_asked_for():
    logits = random_logits("regions")
    entropy, dice, weighted = (
        SegmentationLoss(MEMBERSHIP, "regions", kind, 2.0)(logits, CLASSES)
        for kind in ("cross_entropy", "dice", "dice_cross_entropy")
    )
    torch.testing.assert_close(weighted, 2 * entropy + dice)
    # Alone it is what it is.
    plain = SegmentationLoss(MEMBERSHIP, "regions", "cross_entropy")(logits, CLASSES)
    assert torch.equal(entropy, plain)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "dice_cross_entropy"])
@pytest.mark.parametrize("targets", ["labels", "regions"])
def test_the_truth_costs_nothing_and_its_opposite_stays_finite(targets, kind):
    one_hot = F.one_hot(CLASSES, 4).movedim(-1, 1).float()
    truth = one_hot if targets == "labels" else region_truth(CLASSES)
    loss = SegmentationLoss(MEMBERSHIP, targets, kind)
    logits = (2 * truth - 1) * 1e4
    assert loss(logits, CLASSES).item() == pytest.approx(0, abs=1e-6)
    assert 0.5 < loss(-logits, CLASSES).item() < math.inf


def test_the_loss_of_half_precision_is_computed_in_single():
    logits = random_logits("labels").bfloat16()
    loss = SegmentationLoss(MEMBERSHIP, "labels", "dice_cross_entropy")
    assert loss(logits, CLASSES).dtype == torch.float32
    torch.testing.assert_close(loss(logits, CLASSES), loss(logits.float(), CLASSES))
    features = torch.full((1, 300, 2, 2, 2), 1.01, dtype=torch.bfloat16)
    assert attention_map(features).dtype == torch.float32


def test_dice_does_not_jump_where_a_case_has_no_tumor():
    logits = torch.full((2, 3, 4, 4, 4), -20.0)
    empty = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    loss = SegmentationLoss(MEMBERSHIP, "regions", "dice")
    logits.requires_grad_()
    value = loss(logits, empty)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()
    # A case without tumor beside one with changes next to nothing.
    tumor = empty.clone()
    tumor[0, :, :, :2] = 3
    found = torch.where(region_truth(tumor) > 0, 1.0, -20.0)
    alone, both = loss(found[:1], tumor[:1]), loss(found, tumor)
    assert both.item() == pytest.approx(alone.item(), abs=1e-5)
    assert alone > 0.1


@pytest.mark.parametrize(
    ("targets", "kind", "named"),
    [("voxels", "dice", "'voxels'"), ("labels", "focal", "'focal'")],
)
def test_unknown_targets_and_losses_are_refused(targets, kind, named):
    with pytest.raises(ValueError, match=named):
        SegmentationLoss(MEMBERSHIP, targets, kind)


def volume(*channels: tuple[float, ...]) -> torch.Tensor:
    """Features (1, C, 1, 1, voxels)."""
    return torch.tensor(channels)[None, :, None, None, :]


def test_attention_sums_absolute_features_by_hand():
    features = volume((1.0, -4.0), (-2.0, 0.0))  # Q = (3, 4), of length 5
    torch.testing.assert_close(attention_map(features), torch.tensor([[0.6, 0.8]]))
    two = torch.cat([features, 7 * features])
    torch.testing.assert_close(attention_map(two), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))


def test_distillation_by_hand():
    student, teacher = volume((3.0, -4.0)), volume((2.0, 0.0))
    distance = math.hypot(0.6 - 1, 0.8)
    assert distillation_loss([student], [teacher]).item() == pytest.approx(distance)
    # Sum over stages, mean over the batch, of which half is taught already.
    stages = distillation_loss([student, teacher], [teacher, volume((0.0, 5.0))])
    assert stages.item() == pytest.approx(distance + math.sqrt(2))
    batch = distillation_loss([torch.cat([student, teacher])], [torch.cat([teacher, teacher])])
    assert batch.item() == pytest.approx(distance / 2)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["equal", "all zero"])
def test_equal_attention_costs_nothing_and_has_a_finite_gradient(scale):
    features = (scale * torch.randn(2, 3, 4, 4, 4)).requires_grad_()
    loss = distillation_loss([features], [features.detach().clone()])
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(features.grad).all()


@pytest.fixture
def network() -> SelfDistillingTransUNet:
    torch.manual_seed(0)
    return SelfDistillingTransUNet(
        NetworkConfig(
            modalities=2,
            channels=(4, 4, 8, 8),
            convolutions=(1, 1, 1, 1),
            layers=1,
            embedding=16,
            heads=2,
            feed_forward=16,
            position_grid=2,
            normalization="instance",
        )
    )


def reached(module: torch.nn.Module) -> bool:
    """Whether every weight of a module has a gradient other than 0."""
    return all(p.grad is not None and p.grad.any() for p in module.parameters())


def untouched(module: torch.nn.Module) -> bool:
    return not any(p.grad is not None and p.grad.any() for p in module.parameters())


def output_and_classes(network) -> tuple[TrainingOutput, torch.Tensor]:
    return network(torch.randn(2, 2, 16, 16, 16)), torch.randint(4, (2, 16, 16, 16))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_distillation_teaches_each_stage_and_not_the_teacher(network, stage):
    output, _ = output_and_classes(network)
    distillation_loss(output.local[stage : stage + 1], output.fused[stage : stage + 1]).backward()
    for shallower in network.network.encoder[: stage + 1]:
        assert reached(shallower)
    for rest in (*network.network.encoder[stage + 1 :], network.teacher, network.teacher_heads):
        assert untouched(rest)


def test_the_whole_distillation_term_reaches_the_encoder_alone(network):
    output, classes = output_and_classes(network)
    loss = MISSULoss(SegmentationLoss(MEMBERSHIP, "labels", "dice"), 1.0, 1.0)
    loss(output, classes).distillation.backward()
    assert all(map(reached, network.network.encoder[:3]))
    for rest in (network.teacher, network.teacher_heads, network.network.decoder):
        assert untouched(rest)


def test_supervision_of_the_teacher_reaches_teacher_and_encoder(network):
    output, classes = output_and_classes(network)
    loss = MISSULoss(SegmentationLoss(MEMBERSHIP, "labels", "cross_entropy"), 1.0, 1.0)
    loss(output, classes).teacher.backward()
    assert reached(network.teacher)
    assert reached(network.teacher_heads)
    assert all(map(reached, network.network.encoder[:3]))
    assert untouched(network.network.decoder)


def test_the_total_is_that_of_equation_6(network):
    output, classes = output_and_classes(network)
    segmentation = SegmentationLoss(MEMBERSHIP, "labels", "dice_cross_entropy")
    total, own, teacher, distillation = MISSULoss(segmentation, 2.0, 3.0)(output, classes)
    torch.testing.assert_close(own, segmentation(output.logits, classes))
    heads = [
        segmentation(logits, classes[:, ::step, ::step, ::step])
        for step, logits in zip((1, 2, 4), output.fused_logits)
    ]
    torch.testing.assert_close(teacher, sum(heads) / 3)
    torch.testing.assert_close(distillation, distillation_loss(output.local, output.fused))
    torch.testing.assert_close(total, own + 2 * teacher + 3 * distillation)
    assert min(own, teacher, distillation) > 0.01


def test_without_a_teacher_only_the_segmentation_counts():
    logits = random_logits("labels")
    segmentation = SegmentationLoss(MEMBERSHIP, "labels", "dice")
    terms = MISSULoss(segmentation, 2.0, 3.0)(TrainingOutput(logits, [], [], []), CLASSES)
    assert terms.total == terms.segmentation == segmentation(logits, CLASSES)
    assert terms.teacher == terms.distillation == 0


@pytest.mark.parametrize("size", [(16, 8, 8), (11, 9, 6)], ids=["halving evenly", "padded"])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_classes_lie_where_the_strided_convolutions_look(network, size, stage):
    classes = torch.randint(1, 4, (2, *size))
    looked_at = network.network.pad(torch.stack([classes, classes], 1).float())[:, :1]
    center = torch.zeros(1, 1, 3, 3, 3)
    center[0, 0, 1, 1, 1] = 1
    for _ in range(stage):
        looked_at = F.conv3d(looked_at, center, stride=2, padding=1)
    found = at_stage(classes, stage, looked_at.shape[2:])
    torch.testing.assert_close(found.float(), looked_at[:, 0])


def test_the_loss_takes_patches_that_do_not_halve_evenly(network):
    classes = torch.randint(4, (1, 11, 9, 13))
    loss = MISSULoss(SegmentationLoss(MEMBERSHIP, "labels", "dice_cross_entropy"), 1.0, 1.0)
    assert torch.isfinite(loss(network(torch.randn(1, 2, 11, 9, 13)), classes).total)
