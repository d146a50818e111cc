"""Preprocessing of raw scans for a model: one space, no skull, even brightness.

Scans are moved by changing their origin and direction only, so no voxel is interpolated here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import SimpleITK as sitk

from ..contract.modalities import FIXED_FIRST
from ..contract.options import PreprocessingOptions
from ..contract.segmentation_report import ScanRegistration
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.messages import Text, a_modality, an_option
from ..io.geometry import same_grid
from .background import shift_to_nonnegative
from .bias_field import correct_bias_field
from .brain_extraction import (
    Brain,
    agreed_brain,
    brain_in_head,
    content_ml,
    find_brains,
    is_enough,
    strip,
)
from .checks import (
    bias_field_warnings,
    check_anatomy,
    check_overlap,
    fits_inside,
    sequence_warnings,
    strong_fields,
)
from .registration.rigid import Registration, Target, moved, register_on

# Dice of the brain in one scan with the agreed brain; usually 0.95 or more.
DOUBTFUL_AGREEMENT = 0.9


AS_THEY_ARE = PreprocessingOptions(registration=False, brain_extraction=False, bias_field="never")


@dataclass(frozen=True)
class AlignedCase:
    """Scans in the space of one of them.

    Attributes:
        fixed: modality of the fixed scan, which is not moved.
        whole: the scans in its space, by modality, with the skull if they show it.
        images: the same scans, 0 outside the brain.
        registrations: by modality, of the scans that were registered to the fixed one.
        brain: mask of the brain (8-bit), on a grid of its own in the same space; None if the scans
            came without skull.
        brain_method: how the brain was found; empty if it was not looked for.
        warnings: what the user should know.
        seconds: computing time by step.
    """

    fixed: str
    whole: dict[str, sitk.Image]
    images: dict[str, sitk.Image]
    registrations: dict[str, Registration] = field(default_factory=dict)
    brain: sitk.Image | None = None
    brain_method: str = ""
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def was_moved(self) -> bool:
        """Whether any scan was moved from where its header says it is."""
        return any(not registration.skipped for registration in self.registrations.values())

    @property
    def brain_ml(self) -> float | None:
        """Volume of the brain; None if the scans came without skull."""
        return None if self.brain is None else round(content_ml(self.brain), 1)

    def moved_along(self, image: sitk.Image, name: str) -> sitk.Image:
        """An image in the original space of a scan, moved along with that scan."""
        registration = self.registrations.get(name)
        if registration is None or registration.skipped:
            return image
        return moved(image, registration.transform)

    def registration_facts(
        self, transforms: Mapping[str, str] | None = None
    ) -> dict[str, ScanRegistration]:
        """The registrations for a report; ``transforms`` are file names by modality."""
        return {
            name: ScanRegistration(
                round(registration.quality, 3),
                round(registration.moved_mm, 2),
                registration.skipped,
                (transforms or {}).get(name, ""),
            )
            for name, registration in self.registrations.items()
        }


def preprocess(
    images: Mapping[str, sitk.Image],
    options: PreprocessingOptions,
    *,
    is_head: bool = True,
    brain_mask: sitk.Image | None = None,
    progress: Progress | None = None,
) -> AlignedCase:
    """Bring the scans of a patient into one space and remove the skull, as far as they need it.

    Args:
        images: 3-D float images by modality, as read.
        options: which steps are applied.
        is_head: whether they show a head; scans of other organs are left as they are.
        brain_mask: nonzero in the brain; replaces brain extraction. If it has the grid of a
            scan, it is moved with that scan; otherwise it is in the space of the fixed one.
        progress: reports the steps.

    Raises:
        BrainExtractionMissing: if all scans show the skull, and deepbet is not installed.
        InputError: if scans cannot be registered, no brain is found, or the brain mask does not
            overlap them.
    """
    progress = progress or Progress()
    if not is_head and (brain_mask is not None or options.bias_field == "always"):
        raise InputError(
            "a brain mask or the correction of the bias field is for scans of the head, and the "
            "model segments something else; leave it out"
        )
    fixed = next((name for name in FIXED_FIRST if name in images), next(iter(images)))
    case = AlignedCase(fixed, dict(images), dict(images))
    if not (is_head and options.registration):
        check_overlap(images)
    if not is_head:
        return case
    brains: dict[str, Brain] = {}
    if brain_mask is not None:
        brains[scan_under(brain_mask, images, fixed)] = Brain(brain_mask != 0, stripped=False)
    elif options.brain_extraction:
        with _timed(case, "brain"):
            # Without registration each scan needs a brain of its own.
            target = fixed if options.registration else None
            brains = find_brains(images, target, progress.part(0, 0.3))
    if brains:
        _set_background_to_zero(case, brains)
    if options.registration:
        with _timed(case, "register"):
            carried = brain_mask is None and fixed in brains and is_enough(fixed, brains[fixed])
            brains.update(_register(case, brains, carried, progress.part(0.3, 0.8)))
    case.images.update(case.whole)
    brains = _moved_brains(case, brains)
    _check_anatomy(case, brains, options)
    if brains:
        with _timed(case, "brain"):
            case = _strip_heads(case, brains, given=brain_mask is not None)
    case.warnings.extend(sequence_warnings(case.images))
    _even_out(case, options.bias_field, progress.part(0.8, 1.0))
    return case


def scan_under(image: sitk.Image, images: Mapping[str, sitk.Image], fixed: str) -> str:
    """Modality of the scan that an image lies on: one with the same grid, or else the fixed one.

    Args:
        image: for example a mask drawn on one of the scans, with which it is to be moved.
        images: the scans by modality, as read.
        fixed: modality of the fixed scan.
    """
    return next((name for name in (fixed, *images) if same_grid(image, images[name])), fixed)


def _set_background_to_zero(case: AlignedCase, brains: Mapping[str, Brain]) -> None:
    """Set the background to 0 and remove values below, as registration expects.

    Some scans have -1024 there, or 0 within the brain's range, as after a z-score.
    """
    for name, image in case.whole.items():
        brain = brains.get(name)
        if brain and brain.stripped:
            case.whole[name] = strip(shift_to_nonnegative(image, brain.mask), brain.mask)
        else:
            case.whole[name] = shift_to_nonnegative(image)


def _moved_brains(case: AlignedCase, brains: Mapping[str, Brain]) -> dict[str, Brain]:
    """The brains moved along with their scans."""
    return {
        name: replace(brain, mask=case.moved_along(brain.mask, name))
        for name, brain in brains.items()
    }


def _register(
    case: AlignedCase, brains: Mapping[str, Brain], carried: bool, progress: Progress
) -> dict[str, Brain]:
    """Register all scans to the fixed one, in parallel on the available cores.

    Args:
        case: the case; its scans are moved.
        brains: brains in the original scans.
        carried: whether heads without a brain take over the fixed scan's brain, if it fits them.
        progress: reports the scans.

    Returns:
        Newly extracted brains of the heads that it did not fit; these were registered with them.
    """
    others = [name for name in case.whole if name != case.fixed]
    masks = {name: brain.mask for name, brain in brains.items()}
    target = Target(case.whole[case.fixed], masks.get(case.fixed), case.fixed)

    def laid(name: str, mask: sitk.Image | None) -> Registration:
        return register_on(target, case.whole[name], mask, name)

    found: dict[str, Brain] = {}
    cores = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    with ThreadPoolExecutor(max_workers=min(cores, len(others)) or 1) as pool:
        waiting = {name: pool.submit(laid, name, masks.get(name)) for name in others}
        for number, (name, future) in enumerate(waiting.items()):
            message = f"laying {name} on {case.fixed}"
            progress(Stage.REGISTER, number / len(others), message)
            registration = future.result()
            if carried and name not in brains:
                image = moved(case.whole[name], registration.transform)
                if not fits_inside(image, case.whole[case.fixed], masks[case.fixed]):
                    found[name] = brain_in_head(name, case.whole[name])
                    registration = laid(name, found[name].mask)
            case.registrations[name] = registration
            case.warnings.extend(registration.warnings)
            case.whole[name] = case.moved_along(case.whole[name], name)
    return found


def _check_anatomy(
    case: AlignedCase, brains: Mapping[str, Brain], options: PreprocessingOptions
) -> None:
    """Check that the scans show one brain; only warn if asked to, or without registration."""
    if not (brains or options.brain_extraction):
        brains = {name: Brain(image != 0, stripped=True) for name, image in case.whole.items()}
    only_warn = options.different_anatomy or not options.registration
    case.warnings.extend(check_anatomy(case.fixed, case.whole, brains, only_warn=only_warn))


def _strip_heads(case: AlignedCase, brains: Mapping[str, Brain], given: bool) -> AlignedCase:
    """The case with a brain mask, and with the skull removed from the scans that have one.

    Args:
        case: its scans are in one space.
        brains: brains in the same space.
        given: whether the only brain is the user's mask, which is used as it is.

    Raises:
        InputError: if a scan shows no part of the brain.
    """
    stripped = [name for name, brain in brains.items() if brain.stripped]
    if len(stripped) == len(case.whole):
        return replace(case, brain_method="the scans came without skull")
    if given:
        ((_, brain),) = brains.items()
        mask, method = brain.mask, "given mask"
    else:
        agreed = agreed_brain(brains)
        mask = agreed.mask
        carried = "" if len(brains) == len(case.whole) else f" in {', '.join(brains)}"
        method = f"as in {', '.join(stripped)}" if stripped else f"deepbet{carried}"
        case.warnings.extend(
            Text(a_modality(name), f": {reason}") for name, reason in agreed.left_out.items()
        )
        case.warnings.extend(
            Text(
                a_modality(name),
                f": its own brain mask and the one of all scans differ (Dice {dice:.2f}); "
                "look whether it lies on the others",
            )
            for name, dice in agreed.dice.items()
            if dice < DOUBTFUL_AGREEMENT and name not in agreed.left_out
        )
    for name in case.whole:
        if name not in stripped:
            case.images[name] = strip(case.whole[name], mask)
            if not sitk.GetArrayViewFromImage(case.images[name]).any():
                whose = "that is given" if given else "in the other scans"
                raise InputError(
                    a_modality(name),
                    f": shows no part of the brain {whose}; check that all are of one "
                    "patient and lie on each other",
                )
    return replace(case, brain=mask, brain_method=method)


def _even_out(case: AlignedCase, bias_field: str, progress: Progress) -> None:
    """Correct bias fields, or warn about strong ones that are left."""
    strong = {} if bias_field == "always" else strong_fields(case.images)
    if bias_field == "never":
        case.warnings.extend(bias_field_warnings(strong))
        return
    names = strong if bias_field == "auto" else list(case.images)
    for number, name in enumerate(names):
        image = case.images[name]
        progress(Stage.BIAS, number / len(names), f"evening out the brightness of {name}")
        try:
            with _timed(case, "bias"):
                case.images[name] = correct_bias_field(image, image != 0)
        except InputError as error:
            raise InputError(a_modality(name), ": ", error.text) from error
    case.warnings.extend(
        Text(
            a_modality(name),
            f": had a strong bias field (about {strength:.0%}), which was evened out; look whether "
            "the result is right, and compare with ",
            an_option("--bias-field never"),
        )
        for name, strength in strong.items()
    )


@contextmanager
def _timed(case: AlignedCase, step: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    case.seconds[step] = case.seconds.get(step, 0.0) + time.monotonic() - began
