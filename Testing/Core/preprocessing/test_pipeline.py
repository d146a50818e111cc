"""Scans into one space and out of the skull: what is asked of the parts, and done with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.contract.naming.rules import Guess
from MISSUCore.contract.segmentation_report import ScanRegistration
from MISSUCore.core.errors import InputError
from MISSUCore.preprocessing import checks as scan_checks
from MISSUCore.preprocessing import pipeline as preprocessing
from MISSUCore.preprocessing.brain_extraction import AgreedBrain, Brain
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE, PreprocessingOptions, preprocess
from MISSUCore.preprocessing.registration.rigid import Registration, Target

MakeImage = Callable[..., sitk.Image]
OBLIQUE = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def images(make_image: MakeImage) -> dict[str, sitk.Image]:
    """Four scans, each on a grid of its own."""
    rng = np.random.default_rng(0)
    return {
        name: make_image(
            rng.uniform(1, 9, shape).astype(np.float32), spacing=spacing, origin=origin, direction=d
        )
        for name, shape, spacing, origin, d in (
            ("flair", (6, 7, 8), (1.0, 1.5, 4.0), (3.0, -2.0, 5.0), OBLIQUE),
            ("t2", (9, 6, 7), (2.0, 1.0, 1.0), (1.0, 0.0, 0.0), np.eye(3)),
            ("t1ce", (5, 8, 6), (1.2, 1.1, 3.0), (0.0, 4.0, 1.0), OBLIQUE.T),
            ("t1", (7, 7, 9), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)),
        )
    }


def turned(degrees: float, shift_mm: tuple[float, float, float]) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(0.0, np.radians(degrees), np.radians(-degrees / 2))
    transform.SetCenter((4.0, 3.0, 2.0))
    transform.SetTranslation(shift_mm)
    return transform


KNOWN = {
    "t1ce": turned(10, (2.0, -1.0, 3.0)),
    "t2": turned(-7, (0.0, 5.0, 0.5)),
    "flair": turned(0, (0.0, 0.0, 0.0)),
}


@pytest.fixture
def known_registration(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Registration that finds the known transforms; returns what it was asked."""
    asked: list[dict[str, object]] = []

    def register_on(
        target: Target, moving: sitk.Image, mask: sitk.Image | None, name: str, **given: object
    ) -> Registration:
        asked.append(
            {
                "moving": moving,
                "moving_mask": mask,
                "moving_name": name,
                "fixed": target.image,
                "fixed_mask": target.mask,
                "fixed_name": target.name,
                **given,
            }
        )
        return Registration(KNOWN[name], 1.1, 4.0, name == "flair", [f"{name}: look at it"])

    monkeypatch.setattr(preprocessing, "register_on", register_on)
    return asked


def brains(monkeypatch: pytest.MonkeyPatch, found: dict[str, Brain]) -> None:
    monkeypatch.setattr(preprocessing, "find_brains", lambda images, fixed, progress: dict(found))


def same(found: sitk.Image, expected: sitk.Image) -> None:
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected)
    )
    for part in ("Spacing", "Origin", "Direction"):
        np.testing.assert_allclose(
            getattr(found, f"Get{part}")(), getattr(expected, f"Get{part}")(), atol=1e-9
        )


@pytest.mark.parametrize(
    ("options", "is_head"), [(AS_THEY_ARE, True), (PreprocessingOptions(), False)]
)
def test_scans_are_left_alone(
    images: dict[str, sitk.Image], options: PreprocessingOptions, is_head: bool
) -> None:
    case = preprocess(images, options, is_head=is_head)
    for name, image in images.items():
        same(case.images[name], image)
        same(case.whole[name], image)
    assert not case.was_moved and case.brain is None and case.registrations == {}
    assert case.warnings == []


def test_each_scan_is_moved_to_t1_without_interpolation(
    images: dict[str, sitk.Image], known_registration: list[dict[str, object]]
) -> None:
    """Every voxel of a moved scan is at the place that the transform leads to its old place."""
    case = preprocess(images, PreprocessingOptions(brain_extraction=False))
    assert case.fixed == "t1" and case.was_moved
    assert {asked["moving_name"] for asked in known_registration} == {"flair", "t2", "t1ce"}
    assert all(asked["fixed"] is images["t1"] for asked in known_registration)
    same(case.images["t1"], images["t1"])
    same(case.images["flair"], images["flair"])  # it lay well
    for name in ("t1ce", "t2"):
        np.testing.assert_array_equal(
            sitk.GetArrayViewFromImage(case.images[name]), sitk.GetArrayViewFromImage(images[name])
        )
        for index in ((0, 0, 0), (4, 1, 3), (2, 5, 4)):
            now = case.images[name].TransformIndexToPhysicalPoint(index)
            before = images[name].TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(KNOWN[name].TransformPoint(now), before, atol=1e-9)
    assert case.warnings == [f"{name}: look at it" for name in ("flair", "t2", "t1ce")]
    facts = case.registration_facts()
    assert case.fixed == "t1"
    assert facts["t2"] == ScanRegistration(quality=1.1, moved_mm=4.0, skipped=False)
    assert facts["flair"].skipped is True


@pytest.mark.parametrize(
    ("given", "fixed"),
    [(("t2", "flair", "t1ce"), "t1ce"), (("t2", "flair"), "flair"), (("t2",), "t2")],
)
def test_without_t1_another_scan_stays(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    given: tuple[str, ...],
    fixed: str,
) -> None:
    images = {name: images[name] for name in given}
    case = preprocess(images, PreprocessingOptions(brain_extraction=False))
    assert case.fixed == fixed
    assert len(known_registration) == len(given) - 1


def test_masks_help_registration_and_move_with_their_scans(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {name: Brain(image > 5, stripped=False) for name, image in images.items()}
    brains(monkeypatch, found)
    agreed: list[dict[str, Brain]] = []

    def agree(moved: dict[str, Brain]) -> AgreedBrain:
        agreed.append(moved)
        return AgreedBrain(images["t1"] > 3, {"t1": 0.97, "flair": 0.7}, {"t2": "it has 3 ml"})

    monkeypatch.setattr(preprocessing, "agreed_brain", agree)
    case = preprocess(images, PreprocessingOptions())
    for asked in known_registration:
        assert asked["moving_mask"] is found[str(asked["moving_name"])].mask
        assert asked["fixed_mask"] is found["t1"].mask
    for name, brain in agreed[0].items():
        grid = case.whole[name]
        np.testing.assert_allclose(brain.mask.GetOrigin(), grid.GetOrigin(), atol=1e-9)
        np.testing.assert_allclose(brain.mask.GetDirection(), grid.GetDirection(), atol=1e-9)
    t1 = sitk.GetArrayViewFromImage(images["t1"])
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(case.images["t1"]), np.where(t1 > 3, t1, 0)
    )
    same(case.whole["t1"], images["t1"])
    brain_ml = round(float((t1 > 3).sum()) / 1000, 1)  # voxels of 1 mm
    assert (case.brain_method, case.brain_ml) == ("deepbet", brain_ml)
    assert "t2: it has 3 ml" in case.warnings
    assert [text for text in case.warnings if "its own brain mask" in text] == [
        "flair: its own brain mask and the one of all scans differ (Dice 0.70); look whether it "
        "lies on the others"
    ]


def test_a_head_that_does_not_fit_the_brain_is_asked_for_its_own(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T1's brain serves T2 and T1ce; FLAIR is laid on it anew, and has a say in the brain."""
    brain = Brain(images["t1"] > 5, stripped=False)
    own = Brain(images["flair"] > 5, stripped=False)
    brains(monkeypatch, {"t1": brain})
    monkeypatch.setattr(preprocessing, "is_enough", lambda name, found: found is brain)
    looked: list[sitk.Image] = []

    def fits_inside(head: sitk.Image, fixed: sitk.Image, mask: sitk.Image) -> bool:
        assert fixed is images["t1"] and mask is brain.mask
        looked.append(head)
        return head.GetSize() != images["flair"].GetSize()

    monkeypatch.setattr(preprocessing, "fits_inside", fits_inside)
    monkeypatch.setattr(preprocessing, "brain_in_head", lambda name, image: own)
    agreed: list[dict[str, Brain]] = []

    def agree(moved: dict[str, Brain]) -> AgreedBrain:
        agreed.append(moved)
        return AgreedBrain(images["t1"] > 3, {}, {})

    monkeypatch.setattr(preprocessing, "agreed_brain", agree)
    case = preprocess(images, PreprocessingOptions())
    assert list(agreed[0]) == ["t1", "flair"]
    assert case.brain_method == "deepbet in t1, flair"
    masks = [asked["moving_mask"] for asked in known_registration]
    assert [mask for mask in masks if mask is not None] == [own.mask] and len(masks) == 4
    assert [text for text in case.warnings if "flair: look" in text] == ["flair: look at it"]
    assert {head.GetSize() for head in looked} == {
        images[name].GetSize() for name in ("flair", "t2", "t1ce")
    }
    for name in ("t2", "t1ce"):  # judged where they were laid
        assert case.whole[name].GetOrigin() in [head.GetOrigin() for head in looked]


def test_headers_that_are_trusted_carry_no_brain(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        preprocessing,
        "find_brains",
        lambda scans, fixed, progress: asked.append(fixed) or {},
    )
    preprocess(images, PreprocessingOptions(registration=False))
    assert asked == [None]


def test_the_stripped_scans_are_the_brain_of_the_others(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stripped scan's background is not 0, and becomes 0; it is not cut to the agreed brain."""
    voxels = sitk.GetArrayFromImage(images["t2"])
    inside = np.zeros(voxels.shape, dtype=np.uint8)
    inside[2:6, 1:5, 1:6] = 1
    voxels[inside == 0] = -50
    t2 = sitk.GetImageFromArray(voxels)
    t2.CopyInformation(images["t2"])
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(t2)
    brains(monkeypatch, {"t2": Brain(mask, stripped=True)})
    monkeypatch.setattr(
        preprocessing, "agreed_brain", lambda found: AgreedBrain(images["t1"] > 8, {}, {})
    )
    case = preprocess({**images, "t2": t2}, PreprocessingOptions(registration=False))
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(case.images["t2"]), np.where(inside, voxels, 0)
    )
    t1: NDArray[np.float32] = sitk.GetArrayViewFromImage(images["t1"])
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(case.images["t1"]), np.where(t1 > 8, t1, 0)
    )
    assert case.brain_method == "as in t2"


def test_nothing_lies_below_the_background(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Air of -1024 in a head, and a z-scored brain on 0: what is registered has the lowest at 0."""
    brain = sitk.Cast(images["t2"] > 3, sitk.sitkUInt8)
    mask = sitk.Cast(brain, sitk.sitkFloat32)
    given = {"t1": images["t1"] - 1024, "t2": (images["t2"] - 6) * mask}
    found = {
        "t1": Brain(sitk.Cast(images["t1"] > 5, sitk.sitkUInt8), stripped=False),
        "t2": Brain(brain, stripped=True),
    }
    brains(monkeypatch, found)
    monkeypatch.setattr(
        preprocessing, "agreed_brain", lambda moved: AgreedBrain(found["t1"].mask, {}, {})
    )
    preprocess(given, PreprocessingOptions())
    (asked,) = known_registration
    for part, name in (("fixed", "t1"), ("moving", "t2")):
        seen = sitk.GetArrayFromImage(asked[part])
        before = sitk.GetArrayFromImage(given[name])
        inside = sitk.GetArrayFromImage(brain) > 0 if name == "t2" else np.ones(before.shape, bool)
        assert not seen[~inside].any()
        np.testing.assert_allclose(seen[inside], before[inside] - before[inside].min(), atol=0.05)


def test_stripped_scans_stay_whole(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: Brain(image > 0, stripped=True) for name, image in images.items()}
    brains(monkeypatch, whole)
    case = preprocess(images, PreprocessingOptions(registration=False))
    for name, image in images.items():
        same(case.images[name], image)
    assert case.brain is None and "without skull" in case.brain_method


def test_a_given_mask_moves_with_the_scan_it_was_drawn_on(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        preprocessing, "find_brains", lambda *given: pytest.fail("a brain was looked for")
    )
    del images["t2"]  # which does not reach the others
    inside = images["t1ce"] > 5
    mask = sitk.Cast(inside, sitk.sitkFloat32) * 255
    case = preprocess(images, PreprocessingOptions(), brain_mask=mask)
    t1ce = sitk.GetArrayViewFromImage(images["t1ce"])
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(case.images["t1ce"]), np.where(t1ce > 5, t1ce, 0)
    )
    asked = {str(one["moving_name"]): one for one in known_registration}
    same(asked["t1ce"]["moving_mask"], inside)
    assert asked["flair"]["moving_mask"] is None and asked["t1ce"]["fixed_mask"] is None
    # On another grid, the larger part of a voxel decides, whatever number stands for the brain.
    there = sitk.Resample(
        sitk.Cast(inside, sitk.sitkFloat32), images["t1"], KNOWN["t1ce"], sitk.sitkLinear
    )
    t1 = sitk.GetArrayViewFromImage(images["t1"])
    kept = sitk.GetArrayViewFromImage(case.images["t1"]) != 0
    np.testing.assert_array_equal(kept, sitk.GetArrayViewFromImage(there) >= 0.5)
    assert 0 < kept.sum() < t1.size
    assert case.brain_method == "given mask"


def test_a_given_mask_is_believed_of_all_heads(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preprocessing, "is_enough", lambda name, brain: True)
    monkeypatch.setattr(preprocessing, "fits_inside", lambda *given: False)
    case = preprocess(images, PreprocessingOptions(), brain_mask=images["t1"] > 3)
    assert case.brain_method == "given mask" and len(known_registration) == 3


@pytest.mark.parametrize("extraction", ["given", "found"])
def test_a_scan_beside_the_brain_is_refused(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch, extraction: str
) -> None:
    elsewhere = sitk.Cast(images["t1"] > 3, sitk.sitkUInt8)
    elsewhere.SetOrigin((300.0, 0.0, 0.0))
    options = PreprocessingOptions(registration=False)
    if extraction == "given":
        with pytest.raises(InputError, match="flair: shows no part of the brain that is given"):
            preprocess(images, options, brain_mask=elsewhere)
        return
    brains(monkeypatch, {"t1": Brain(elsewhere, stripped=False)})
    monkeypatch.setattr(preprocessing, "agreed_brain", lambda found: AgreedBrain(elsewhere, {}, {}))
    with pytest.raises(InputError, match="flair: shows no part of the brain in the other scans"):
        preprocess(images, options)


def test_brains_of_two_patients_are_noticed(
    make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two balls of the same volume but for a layer, and a longer one."""
    axes = np.meshgrid(*[np.arange(-24, 25) * 2.0] * 3, indexing="ij")
    voxels = np.random.default_rng(0).uniform(1, 9, axes[0].shape).astype(np.float32)

    def ball(*radii_mm: float) -> sitk.Image:
        inside = sum((axis / radius) ** 2 for axis, radius in zip(axes, radii_mm)) < 1
        return make_image(np.where(inside, voxels, 0).astype(np.float32), spacing=(2.0, 2.0, 2.0))

    images = {"t1": ball(40, 40, 40), "t2": ball(39.5, 40, 40), "flair": ball(46, 38, 38)}
    found = {name: Brain(image != 0, stripped=True) for name, image in images.items()}
    brains(monkeypatch, found)
    case = preprocess(images, PreprocessingOptions(registration=False))
    (warning,) = case.warnings
    assert warning.startswith("flair: its brain and that of t1 differ in shape")


@pytest.mark.parametrize(
    ("options", "is_error"),
    [
        (PreprocessingOptions(), True),
        (PreprocessingOptions(brain_extraction=False), True),
        (PreprocessingOptions(different_anatomy=True), False),
        # They may lie beside each other as yet.
        (PreprocessingOptions(registration=False), False),
        (AS_THEY_ARE, False),
    ],
)
def test_another_brain_is_an_error_where_scans_were_laid_on_each_other(
    images: dict[str, sitk.Image],
    known_registration: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    options: PreprocessingOptions,
    is_error: bool,
) -> None:
    found = {name: Brain(image != 0, stripped=True) for name, image in images.items()}
    brains(monkeypatch, found)
    monkeypatch.setattr(scan_checks, "mask_dice", lambda one, other: 0.9)
    monkeypatch.setattr(scan_checks, "edge_agreement", lambda *scans_and_brains: 0.0)
    if is_error:
        with pytest.raises(InputError, match="flair: shows another brain than t1"):
            preprocess(images, options)
    else:
        told = [text for text in preprocess(images, options).warnings if "another brain" in text]
        assert [text.split(":")[0] for text in told] == ["flair", "t2", "t1ce"]


def test_exchanged_scans_are_noticed(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def guess(given: dict[str, sitk.Image], among: dict[str, sitk.Image]) -> dict[str, Guess]:
        asked.append(sorted(among))
        looks = {"t2": ("flair", 0.84), "flair": ("t2", 0.6), "t1": ("t1", 0.8)}
        return {name: Guess(*looks.get(name, (None, 0.0)), "looks so") for name in given}

    monkeypatch.setattr(scan_checks, "guess_from_images", guess)
    case = preprocess({**images, "pet": images["t1"]}, AS_THEY_ARE)
    assert asked == [["flair", "t1", "t1ce", "t2"]]
    assert case.warnings == ["t2: looks like flair; check that each scan is given as what it is"]


@pytest.mark.parametrize("what", ["mask", "bias"])
def test_what_is_for_heads_is_refused_elsewhere(images: dict[str, sitk.Image], what: str) -> None:
    options = PreprocessingOptions(bias_field="always" if what == "bias" else "never")
    mask = images["t1"] > 5 if what == "mask" else None
    with pytest.raises(InputError, match="is for scans of the head"):
        preprocess(images, options, is_head=False, brain_mask=mask)


def test_bias_fields_are_evened_out_inside_the_brain(
    images: dict[str, sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        preprocessing, "correct_bias_field", lambda image, mask, **_: sitk.Mask(image * 2, mask)
    )
    options = PreprocessingOptions(registration=False, brain_extraction=False, bias_field="always")
    case = preprocess(images, options)
    for name, image in images.items():
        same(case.images[name], image * 2)
        same(case.whole[name], image)
    assert "bias" in case.seconds


@pytest.mark.parametrize(
    ("bias_field", "told", "changed"),
    [
        ("never", ["t2: is much brighter in one part"], []),
        ("auto", ["t2: had a strong bias field (about 60%)"], ["t2"]),
        ("always", [], ["flair", "t2", "t1ce", "t1"]),
    ],
)
def test_a_strong_bias_field_is_corrected_or_warned_of(
    images: dict[str, sitk.Image],
    monkeypatch: pytest.MonkeyPatch,
    bias_field: str,
    told: list[str],
    changed: list[str],
) -> None:
    monkeypatch.setattr(preprocessing, "correct_bias_field", lambda image, mask, **_: image * 2)
    spacing = images["t2"].GetSpacing()
    monkeypatch.setattr(
        scan_checks, "strong_field", lambda image: 0.6 if image.GetSpacing() == spacing else None
    )
    case = preprocess(images, PreprocessingOptions(False, False, bias_field=bias_field))
    warnings = [text for text in case.warnings if "bias field" in text]
    assert [text[: len(start)] for text, start in zip(warnings, told, strict=True)] == told
    for name, image in images.items():
        same(case.images[name], image * 2 if name in changed else image)


def test_scans_that_lie_apart_are_refused_unless_they_may_be_moved(
    images: dict[str, sitk.Image], known_registration: list[dict[str, object]]
) -> None:
    images["t2"].SetOrigin((500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="t2 lies apart in space from"):
        preprocess(images, AS_THEY_ARE)
    preprocess(images, PreprocessingOptions(brain_extraction=False))
