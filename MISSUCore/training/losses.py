"""Training losses: segmentation loss and self-distillation (paper eqs. 4-6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract.labels import TARGETS
from ..network.transunet import TrainingOutput

LOSSES = ("cross_entropy", "dice", "dice_cross_entropy")


class SegmentationLoss(nn.Module):
    """Cross-entropy (as in the paper), soft Dice (as in the authors' code), or their sum.

    Args:
        membership: (regions, classes) boolean; class 0 is background.
        targets: ``"labels"``: the network predicts exclusive classes (softmax); ``"regions"``: it
            predicts each region independently (sigmoid), which suits nested regions.
        kind: one of ``LOSSES``.
        cross_entropy_weight: used only in the sum of both losses.

    Raises:
        ValueError: if ``targets`` or ``kind`` is unknown.
    """

    membership: Tensor

    def __init__(
        self, membership: Tensor, targets: str, kind: str, cross_entropy_weight: float = 1.0
    ) -> None:
        super().__init__()
        if targets not in TARGETS:
            raise ValueError(f"targets must be one of {', '.join(TARGETS)}, not {targets!r}")
        if kind not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {kind!r}")
        self.register_buffer("membership", membership, persistent=False)
        self.targets = targets
        self.kind = kind
        self.cross_entropy_weight = cross_entropy_weight if kind == "dice_cross_entropy" else 1.0

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Loss of logits (B, outputs, D, H, W) against class numbers (B, D, H, W)."""
        logits = logits.float()
        classes = classes.long()
        loss = logits.new_zeros(())
        if self.kind != "dice":
            loss = loss + self.cross_entropy_weight * self._cross_entropy(logits, classes)
        if self.kind != "cross_entropy":
            loss = loss + self._dice(logits, classes)
        return loss

    def _cross_entropy(self, logits: Tensor, classes: Tensor) -> Tensor:
        if self.targets == "labels":
            return F.cross_entropy(logits, classes)
        return F.binary_cross_entropy_with_logits(logits, self._regions(classes))

    def _dice(self, logits: Tensor, classes: Tensor) -> Tensor:
        if self.targets == "regions":
            return soft_dice_loss(logits.sigmoid(), self._regions(classes))
        truth = F.one_hot(classes, self.membership.shape[1]).movedim(-1, 1).float()
        # Without background, which would dominate the Dice.
        return soft_dice_loss(logits.softmax(dim=1)[:, 1:], truth[:, 1:])

    def _regions(self, classes: Tensor) -> Tensor:
        return self.membership[:, classes].movedim(0, 1).float()


def soft_dice_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice, computed per channel over the whole batch and averaged over the channels.

    The batch counts as one volume, so that a case without enhancing tumor does not make the loss
    jump. One is added to numerator and denominator, in case the whole batch has none.

    Args:
        probabilities: (B, channels, D, H, W).
        truth: the same shape, 0 or 1.
    """
    axes = (0, 2, 3, 4)
    overlap = (probabilities * truth).sum(axes)
    total = probabilities.sum(axes) + truth.sum(axes)
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()


def attention_map(features: Tensor) -> Tensor:
    """Normalized Q(A) of eqs. 4 and 5: (B, D*H*W), of Euclidean length 1, from (B, C, D, H, W)."""
    return F.normalize(features.float().abs().sum(dim=1).flatten(1), dim=1)


def distillation_loss(local: Sequence[Tensor], fused: Sequence[Tensor]) -> Tensor:
    """Distance between the attention maps of the local features F_i and the fused M_i (eq. 5).

    Knowledge flows from M_i to F_i only: the teacher's side is detached, since otherwise the
    teacher could lower this loss by getting worse. Mean over the batch, sum over the stages.
    """
    distances = [
        torch.linalg.vector_norm(attention_map(student) - attention_map(teacher.detach()), dim=1)
        for student, teacher in zip(local, fused)
    ]
    return torch.stack(distances).sum(dim=0).mean()


class LossTerms(NamedTuple):
    """The loss and its parts; all scalar tensors."""

    total: Tensor
    segmentation: Tensor
    teacher: Tensor
    distillation: Tensor


class MISSULoss(nn.Module):
    """Eq. 6 plus supervision of the teacher: L_seg + w * mean_i L_seg(M_i) + lambda * L_SD.

    The paper's L_seg depends on the parameters of the multi-scale fusion, though 'MSF (local)'
    keeps it out of the decoder; here a light head on each M_i reads a segmentation from it.

    Args:
        segmentation: L_seg.
        teacher_weight: w; ignored where the network has no teacher.
        distillation_weight: lambda, 0.3 in the paper; 0 turns self-distillation off.
    """

    def __init__(
        self, segmentation: SegmentationLoss, teacher_weight: float, distillation_weight: float
    ) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.teacher_weight = teacher_weight
        self.distillation_weight = distillation_weight

    def forward(self, output: TrainingOutput, classes: Tensor) -> LossTerms:
        """Loss of the training network's output against class numbers (B, D, H, W)."""
        segmentation = self.segmentation(output.logits, classes)
        teacher = distillation = torch.zeros_like(segmentation)
        if output.fused:
            teacher = torch.stack(
                [
                    self.segmentation(logits, at_stage(classes, stage, logits.shape[2:]))
                    for stage, logits in enumerate(output.fused_logits)
                ]
            ).mean()
            distillation = distillation_loss(output.local, output.fused)
        total = (
            segmentation + self.teacher_weight * teacher + self.distillation_weight * distillation
        )
        return LossTerms(total, segmentation, teacher, distillation)


def at_stage(classes: Tensor, stage: int, size: Sequence[int]) -> Tensor:
    """Classes (B, D, H, W) subsampled to an encoder stage, and padded like its input.

    Every ``2**stage``-th voxel is taken, since the strided 3x3x3 convolutions are centered there.
    """
    step = 2**stage
    classes = classes[:, ::step, ::step, ::step]
    padding = [
        end for want, have in zip(size[::-1], classes.shape[:0:-1]) for end in (0, want - have)
    ]
    return F.pad(classes, padding)
