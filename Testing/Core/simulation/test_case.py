from __future__ import annotations

import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MISSUCore.contract.naming.rules import modality_of_file_name
from MISSUCore.core.errors import MISSUError
from MISSUCore.simulation.anatomy import bent_template, drawn_brain, from_nifti, smooth_noise
from MISSUCore.simulation.case import SimulatedCase, simulate_case
from MISSUCore.simulation.lesion import CORE_ML, ED, EDEMA_ML, ET, NCR

pytestmark = pytest.mark.slow

nilearn_datasets = pytest.importorskip("nilearn.datasets")
nibabel = pytest.importorskip("nibabel")

SPACING_MM = 2.0
VOXEL_ML = SPACING_MM**3 / 1000


@pytest.fixture(scope="module", params=["template", "drawn"])
def case(request) -> SimulatedCase:
    """A case on each anatomy; the drawn one is the Slicer module's sample."""
    seed, anatomy = {"template": (1, bent_template), "drawn": (0, drawn_brain)}[request.param]
    return simulate_case(seed, spacing_mm=SPACING_MM, anatomy=anatomy)


@pytest.fixture(scope="module")
def healthy() -> SimulatedCase:
    return simulate_case(seed=1, lesion=False, spacing_mm=SPACING_MM)


def labels_of(case: SimulatedCase) -> np.ndarray:
    return sitk.GetArrayFromImage(case.labels)


def z_scores(case: SimulatedCase, name: str) -> np.ndarray:
    image = sitk.GetArrayFromImage(case.images[name])
    brain = image[image != 0]
    return (image - brain.mean()) / brain.std()


def test_volumes_are_those_of_a_glioblastoma(case):
    ncr, ed, et = (np.sum(labels_of(case) == value) * VOXEL_ML for value in (NCR, ED, ET))
    # Only the largest part of the core is kept, and the edema's outline is smoothed.
    assert 0.9 * CORE_ML[0] < ncr + et <= CORE_ML[1] + VOXEL_ML
    assert 0.8 * EDEMA_ML[0] < ed < 1.1 * EDEMA_ML[1]
    assert ncr > 2
    assert et > 2


def test_necrosis_lies_in_a_rim_and_the_core_in_edema(case):
    labels = labels_of(case)
    core = np.isin(labels, (NCR, ET))
    _, parts = ndimage.label(core)
    assert parts == 1
    around_necrosis = ndimage.binary_dilation(labels == NCR) & (labels != NCR)
    assert np.mean(labels[around_necrosis] == ET) > 0.8
    around_core = ndimage.binary_dilation(core, iterations=2) & ~core
    assert np.mean(labels[around_core] == ED) > 0.5


def test_lesion_lies_in_one_hemisphere_of_the_brain(case):
    labels = labels_of(case)
    core = np.argwhere(np.isin(labels, (NCR, ET)))
    x_mm = case.labels.GetOrigin()[0] + SPACING_MM * core[:, 2]
    assert abs(np.mean(np.sign(x_mm))) > 0.95
    assert np.all(sitk.GetArrayFromImage(case.images["t1"])[labels != 0] > 0)


def test_contrasts(case):
    labels = labels_of(case)
    z = {name: z_scores(case, name) for name in case.images}
    far = ~ndimage.binary_dilation(labels != 0, iterations=3)
    in_brain = far & (sitk.GetArrayFromImage(case.images["t1"]) > 0)
    t1_low, t1_high = np.percentile(z["t1"][in_brain], (5, 70))
    white = in_brain & (z["t1"] > t1_high)
    fluid = in_brain & (z["t1"] < t1_low)

    def median(name: str, where: np.ndarray) -> float:
        return float(np.median(z[name][where]))

    edema, rim, necrosis = (labels == value for value in (ED, ET, NCR))
    assert median("flair", edema) > median("flair", white) + 1
    assert median("t2", edema) > median("t2", white) + 0.5
    assert median("t1", edema) < median("t1", white)
    assert median("t1ce", rim) > median("t1ce", white) + 0.5
    assert median("t1ce", rim) > median("t1", rim) + 1
    assert median("t1ce", necrosis) < median("t1ce", rim) - 1
    assert median("t2", necrosis) > median("t2", edema)
    assert median("t2", fluid) > median("t2", white) + 2
    assert median("flair", fluid) < median("flair", white) - 1


def test_images_share_a_grid_and_a_background_of_zero(case):
    for image in case.images.values():
        assert image.GetPixelID() == sitk.sitkFloat32
        assert image.GetSpacing() == case.labels.GetSpacing() == (SPACING_MM,) * 3
        assert image.GetDirection() == case.labels.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        assert image.GetOrigin() == case.labels.GetOrigin()
        array = sitk.GetArrayFromImage(image)
        assert array.min() == 0
        assert np.all(array[[0, -1]] == 0)
        assert 1.5e6 < np.count_nonzero(array) * SPACING_MM**3 < 2.2e6  # Cubic mm of a brain.


def test_landmarks_lie_where_mni_has_them(healthy):
    t1 = healthy.images["t1"]

    def at(right: float, anterior: float, superior: float) -> float:
        return t1.GetPixel(*t1.TransformPhysicalPointToIndex((-right, -anterior, superior)))

    # The cerebellum lies behind and below, the face before it is not part of the brain.
    assert at(20, -65, -38) > 0
    assert at(20, 45, -38) == 0
    # The corpus callosum's genu is white, the bodies of the ventricles are dark.
    assert at(0, 29, 8) > at(8, 12, 14)


def test_the_drawn_brain_is_made_of_its_tissues():
    brain = drawn_brain(np.random.default_rng(0), SPACING_MM)
    total = brain.white + brain.gray + brain.fluid
    np.testing.assert_allclose(total[brain.brain], 1, atol=1e-5)
    assert not total[~brain.brain].any()

    def at(*point_lps_mm: float) -> tuple[float, float, float]:
        x, y, z = brain.grid.TransformPhysicalPointToIndex(point_lps_mm)
        return brain.white[z, y, x], brain.gray[z, y, x], brain.fluid[z, y, x]

    assert at(9, 0, 4) == pytest.approx((0, 0, 1), abs=0.01)  # the left ventricle
    assert at(-35, 0, 4) == pytest.approx((1, 0, 0), abs=0.01)
    x, y, z = brain.grid.TransformPhysicalPointToIndex((0, 79, 0))
    cortex = brain.gray[z - 3 : z + 4, y, x - 3 : x + 4]  # occipital, with its sulci
    assert cortex.max() > 0.9 and cortex.mean() > 0.5
    # An ellipsoid, its radii a few percent off.
    assert brain.brain.sum() * VOXEL_ML == pytest.approx(4 / 3 * np.pi * 6.4 * 8.4 * 6.8, rel=0.15)


def test_nifti_reads_as_simpleitk_reads_it(tmp_path):
    # A left-handed, anisotropic grid tells every axis and sign from every other.
    affine = np.array([[-1.0, 0, 0, 9], [0, 0, 2, -7], [0, 3, 0, 5], [0, 0, 0, 1]])
    data = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    nifti = nibabel.Nifti1Image(data, affine)
    nibabel.save(nifti, tmp_path / "image.nii")
    expected = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "image.nii")), "LPS")
    image = from_nifti(nifti)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(expected))
    assert image.GetOrigin() == pytest.approx(expected.GetOrigin())
    assert image.GetSpacing() == pytest.approx(expected.GetSpacing())
    assert image.GetDirection() == pytest.approx(expected.GetDirection())


@pytest.mark.parametrize("anatomy", [bent_template, drawn_brain])
def test_same_seed_same_case_other_seed_other_case(anatomy):
    first, again, other = (
        simulate_case(seed, spacing_mm=4.0, anatomy=anatomy) for seed in (2, 2, 3)
    )
    for name in first.images:
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(first.images[name]), sitk.GetArrayFromImage(again.images[name])
        )
    np.testing.assert_array_equal(labels_of(first), labels_of(again))
    assert not np.array_equal(labels_of(first), labels_of(other))


def test_without_lesion(healthy):
    assert not labels_of(healthy).any()
    assert healthy.labels.GetPixelID() == sitk.sitkUInt8
    # Nothing in a healthy brain is as bright in T1ce as an enhancing rim.
    assert z_scores(healthy, "t1ce").max() < 3


def test_write(case, tmp_path):
    case.write(tmp_path / "new")
    files = sorted(file.name for file in (tmp_path / "new").iterdir())
    assert [modality_of_file_name(name) for name in files] == [
        "flair",
        "segmentation",
        "t1",
        "t1ce",
        "t2",
    ]
    again = sitk.ReadImage(str(tmp_path / "new" / f"{case.name}_seg.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), labels_of(case))
    assert again.GetOrigin() == pytest.approx(case.labels.GetOrigin())


def test_smooth_noise_has_the_scale_it_says():
    field = smooth_noise((40, 40, 40), 6.0, 2.0, np.random.default_rng(0))
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    # Smoothing by a Gaussian of s leaves a correlation of exp(-d^2 / 4 s^2) at the distance d.
    correlation = np.mean(field[:-3] * field[3:])
    assert correlation == pytest.approx(np.exp(-0.25), abs=0.1)


def test_without_nilearn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(MISSUError, match=r"MISSUCore\[demo\]"):
        simulate_case()
