"""The page that a case is judged by: what it shows, where, and that nothing can be smuggled in."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import InputError
from MISSUCore.reporting import pictures as quality_pictures
from MISSUCore.reporting.pictures import FIELD_PIXELS
from MISSUCore.reporting.quality_page import write_quality_page

SPACING_MM = (1.6, 2.0, 5.0)
SIZE = (62, 50, 20)
PIXELS = 96
MODALITIES = ("t1", "t1ce", "t2", "flair")
REPORT = {
    "created": "2026-01-31T12:00:00+00:00",
    "missu_version": "1.2",
    "output": "results/p1/segmentation.nii.gz",
    "model": {"name": "tiny", "sha256": "ab" * 32},
    "inputs": {name: {"path": f"/scans/{name}.nii", "sha256": name * 4} for name in MODALITIES},
    "volumes_ml": {"WT": 12.34, "TC": 5.0, "ET": 0.0},
    "confidence": {"WT": 0.912, "TC": 0.85},
    "seconds": {"read": 0.51, "total": 12.0},
    "device": "cpu",
    "warnings": [],
    "sequences": {"t2": {"confidence": 0.9, "reason": "echo time 100 ms"}},
    "registration": {
        "fixed": "t1",
        "scans": {
            "t1ce": {"quality": 0.61, "moved_mm": 0.0, "skipped": True},
            "t2": {"quality": 0.3, "moved_mm": 2.14, "skipped": False, "transform": "t2.tfm"},
        },
    },
    "brain": {"method": "deepbet", "volume_ml": 1399.6},
}


def ball(make_image, direction, place_lps_mm=(0.0, 0.0, 0.0), radius_mm=40.0) -> sitk.Image:
    """A ball on an anisotropic grid around the origin, 1 inside."""
    spacing = np.array(SPACING_MM)
    corner = -np.array(direction) @ (spacing * (np.array(SIZE) - 1) / 2)
    index = np.indices(SIZE[::-1])[::-1].reshape(3, -1)
    points = corner[:, None] + np.array(direction) @ (spacing[:, None] * index)
    inside = np.linalg.norm(points - np.array(place_lps_mm)[:, None], axis=0) <= radius_mm
    voxels = inside.reshape(SIZE[::-1]).astype(np.float32)
    return make_image(voxels, SPACING_MM, corner.tolist(), direction)


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [
            found
            for name, found in self.tags
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def outline(self, number: int, color: str, kind: str = "region") -> np.ndarray:
        """Box (left, top, right, bottom) in pixels of an outline of this color."""
        path = self.attributes("path", stroke=color, **{"class": kind})[number]["d"]
        x, y = ([int(end) for end in re.findall(rf"{axis}(\d+)", path)] for axis in "HV")
        return np.array([min(x), min(y), max(x), max(y)])


COLORS = WHOLE_TUMOR, _, ENHANCING = tuple(
    "#{:02x}{:02x}{:02x}".format(*r.color) for r in BRATS.regions
)


def textured(head: sitk.Image) -> sitk.Image:
    """A scan of a head that gets brighter from right to left and towards the top."""
    where = sitk.PhysicalPointSource(
        sitk.sitkVectorFloat32,
        head.GetSize(),
        head.GetOrigin(),
        head.GetSpacing(),
        head.GetDirection(),
    )
    slopes = (sitk.VectorIndexSelectionCast(where, axis) * 2 for axis in (0, 2))
    return head * (sum(slopes) + 300)


@pytest.fixture
def write_page(tmp_path, make_image, monkeypatch):
    """Function that writes a page of a head with a ball in it as edema, its pictures small."""
    monkeypatch.setattr(quality_pictures, "PICTURE_PIXELS", PIXELS)

    def write(report=REPORT, place=(12.0, 5.0, 10.0), direction=None, **options) -> Page:
        direction = np.eye(3) if direction is None else direction
        head = ball(make_image, direction)
        lesion = sitk.Cast(ball(make_image, np.eye(3), place, 10.0), sitk.sitkUInt8) * 2
        images = options.pop("images", dict.fromkeys(MODALITIES, textured(head)))
        labels = options.pop("labels", lesion)
        path = tmp_path / "page.html"
        facts = SegmentationReport.from_dict(report)
        write_quality_page(path, images, labels, BRATS, facts, **options)
        return Page(path)

    return write


def picture(page: Page, number: int, tmp_path: Path) -> np.ndarray:
    """The pixels of a picture of a page."""
    _, data = page.attributes("img")[number]["src"].split("base64,")
    (tmp_path / "picture.png").write_bytes(base64.b64decode(data))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "picture.png")))


def test_every_finding_is_told(write_page):
    page = write_page()
    for text in (
        "Research software, not a medical device",
        "p1/segmentation.nii.gz",
        "tiny",
        "2026-01-31 12:00:00+00:00",
        "No warnings",
        "Whole tumor (WT)",
        "12.3",
        "0.91",
        "Enhancing tumor (ET)",
        "not known",
        "stays; the others are moved to it",
        "below 1.03 is poor",
        "lies right as it is; fit 0.610",
        "moved by 2.1 mm; fit 0.300; t2.tfm",
        "RegionsWTTCET",  # beside the pictures, in their colors
        "as its header says",
        "echo time 100 ms (confidence 90%)",
        "given by the user",
        "deepbet, 1400 ml",
        "/scans/flair.nii",
        "flairflair",
        "read 0.5 s, total 12.0 s",
    ):
        assert text in page.text, text


def test_warnings_come_before_everything_else(write_page):
    page = write_page({**REPORT, "warnings": ["t2 lies apart", "nothing was found"]})
    assert "2 warnings" in page.text
    assert page.text.index("t2 lies apart") < page.text.index("Whole tumor (WT)")
    assert "No warnings" not in page.text


def test_a_bare_report_will_do(write_page):
    page = write_page({})
    assert page.text.count("not known") == 2 * len(BRATS.regions) + 1
    assert "Brain" not in page.text.split("Processing")[1]


def test_what_has_no_volume_says_none(write_page):
    brain = {"method": "the scans came without skull", "volume_ml": None}
    page = write_page({**REPORT, "brain": brain})
    assert brain["method"] in page.text
    assert f"{brain['method']}, " not in page.text


def test_five_slices_of_every_scan_and_checkerboards(write_page):
    page = write_page()
    texts = [image["alt"] for image in page.attributes("img")]
    assert len(texts) == 5 * 4 + 2 * 3
    for name in MODALITIES:
        assert texts.count(f"{name}, axial slice with outlines") == 3
        assert texts.count(f"{name}, coronal slice with outlines") == 1
        assert texts.count(f"{name}, sagittal slice with outlines") == 1
    assert texts.count("checkerboard of t1 and flair, sagittal slice") == 1


def test_the_outline_lies_where_the_lesion_is(write_page):
    """Left on the right, posterior below or on the right, superior above; in every plane."""
    middles = {}
    for place in ((0, 0, 0), (14, 0, 0), (0, 14, 0), (0, 0, 14)):
        page = write_page(place=place)
        boxes = [page.outline(number, WHOLE_TUMOR) for number in range(3)]
        middles[place] = [(box[:2] + box[2:]) / 2 for box in boxes]
        sizes = [box[2:] - box[:2] for box in boxes]
        for width, height in sizes[:1]:
            assert width == pytest.approx(height, abs=3)
    center = middles.pop((0, 0, 0))
    pixels_per_mm = PIXELS / (82 + 2 * 8)
    moved = {place: np.array(found) - np.array(center) for place, found in middles.items()}
    shift = 14 * pixels_per_mm
    near = 3 * pixels_per_mm  # half a slice
    np.testing.assert_allclose(moved[14, 0, 0], [[shift, 0], [shift, 0], [0, 0]], atol=near)
    np.testing.assert_allclose(moved[0, 14, 0], [[0, shift], [0, 0], [shift, 0]], atol=near)
    np.testing.assert_allclose(moved[0, 0, 14], [[0, 0], [0, -shift], [0, -shift]], atol=near)


def test_the_grid_of_the_scans_does_not_matter(write_page, direction, tmp_path):
    """The outline is that of the lesion, and the ramp of brightness in the head is upright."""
    page = write_page(direction=direction)
    left, top, right, bottom = page.outline(0, WHOLE_TUMOR)
    pixel_mm = (82 + 2 * 8) / PIXELS
    assert (right - left) * pixel_mm == pytest.approx(20, abs=3)
    assert (bottom - top) * pixel_mm == pytest.approx(20, abs=3)
    axial, coronal = (picture(page, number, tmp_path).astype(int) for number in (0, 4))
    middle = np.array(coronal.shape) // 2
    assert axial[middle[1], middle[1] + 15] > axial[middle[1], middle[1] - 15] + 30
    assert coronal[middle[0] - 15, middle[1]] > coronal[middle[0] + 15, middle[1]] + 30
    assert coronal[middle[0], middle[1] + 15] > coronal[middle[0], middle[1] - 15] + 30


def test_the_largest_slice_is_shown(write_page, make_image):
    small = ball(make_image, np.eye(3), (0, 0, -25.0), 6.0)
    large = ball(make_image, np.eye(3), (0, 0, 20.0), 12.0)
    labels = sitk.Cast((small + large) * 2, sitk.sitkUInt8)
    page = write_page(labels=labels)
    first = re.search(r"Axial, S (\d+) mm", page.text)
    assert int(first[1]) == pytest.approx(20, abs=5)


def test_nothing_found_shows_the_middle_of_the_brain(write_page, make_image):
    labels = sitk.Cast(ball(make_image, np.eye(3)) * 0, sitk.sitkUInt8)
    page = write_page(labels=labels)
    assert all(path["d"] == "" for path in page.attributes("path", **{"class": "region"}))
    assert int(re.search(r"Axial, [SI] (\d+) mm", page.text)[1]) <= 5


def test_the_reference_is_drawn_dashed_where_it_lies(write_page, make_image):
    """On a grid and in a place of its own, apart from the segmentation and named in the legend."""
    left = ball(make_image, np.diag([-1.0, -1.0, 1.0]), (26.0, 5.0, 10.0), 10.0)
    page = write_page(place=(12.0, 5.0, 10.0), reference=sitk.Cast(left, sitk.sitkUInt8) * 2)
    found, true = (page.outline(0, WHOLE_TUMOR, kind) for kind in ("region", "reference"))
    pixels_per_mm = PIXELS / (82 + 2 * 8)
    np.testing.assert_allclose(
        true - found, np.array([1, 0, 1, 0]) * 14 * pixels_per_mm, atol=2 * pixels_per_mm
    )
    (style,) = re.findall(r"\.reference \{(.*?)\}", page.text)
    assert "stroke-dasharray" in style
    assert "Reference (dashed" in page.text
    assert page.attributes("input", id="reference")


def test_without_reference_the_legend_names_none(write_page):
    page = write_page()
    assert not page.attributes("input", id="reference")
    assert not page.attributes("path", **{"class": "reference"})
    assert len(page.attributes("path", **{"class": "region"})) == 5 * len(BRATS.regions)


def test_where_nothing_was_found_the_reference_says_what_to_show(write_page, make_image):
    missed = sitk.Cast(ball(make_image, np.eye(3), (0, 0, 20.0), 12.0), sitk.sitkUInt8) * 2
    page = write_page(labels=missed * 0, reference=missed)
    assert int(re.search(r"Axial, S (\d+) mm", page.text)[1]) == pytest.approx(20, abs=5)


def test_an_inner_outline_leaves_the_outer_one_visible(write_page, make_image):
    """A rim around necrosis: the core's outline and that of the enhancing tumor are the same."""
    balls = (ball(make_image, np.eye(3), radius_mm=radius) for radius in (28.0, 20.0, 12.0))
    whole, core, necrosis = (sitk.Cast(mask, sitk.sitkUInt8) for mask in balls)
    page = write_page(labels=2 * whole + 2 * core - 3 * necrosis)
    paths = page.attributes("path", **{"class": "region"})[:3]
    assert [path["stroke"] for path in paths] == list(COLORS)
    assert paths[2]["d"].startswith(paths[1]["d"].split("Z")[0])
    widths = [float(path["stroke-width"]) for path in paths]
    assert widths[0] > widths[1] > widths[2] > 0


def test_an_empty_scan_is_drawn_black(write_page, make_image, tmp_path):
    head = textured(ball(make_image, np.eye(3)))
    page = write_page(images={"t1": head, "empty": head * 0})
    assert picture(page, 0, tmp_path).max() > 200
    assert picture(page, 1, tmp_path).max() == 0
    page = write_page(images={"empty": head * 0})
    assert page.outline(0, WHOLE_TUMOR)[0] > 0


def test_a_map_is_shown_under_the_outlines_and_decides_nothing(write_page, make_image, tmp_path):
    """A map half as wide as the head, on a grid of its own, with a value and NaN in its halves."""
    head = textured(ball(make_image, np.eye(3)))
    voxels = np.full((20, 20, 20), 7, np.float32)
    voxels[:, :, 10:] = np.nan
    voxels[:, :, :5] = 3
    adc = make_image(voxels, (4.0, 8.0, 5.0), (-38.0, -76.0, -47.5))
    plain, page = write_page(images={"t1": head}), write_page(images={"t1": head}, maps={"t1": adc})
    captions = [tag["alt"] for tag in page.attributes("img")]
    assert captions.count("t1, axial slice with outlines") == 3
    assert captions.count("t1 (map), axial slice with outlines") == 3
    assert captions.count("checkerboard of t1 and t1 (map), axial slice") == 1
    np.testing.assert_array_equal(page.outline(0, WHOLE_TUMOR), plain.outline(0, WHOLE_TUMOR))
    pixels = picture(page, 1, tmp_path)
    row = pixels[pixels.shape[0] // 2]
    middle = len(row) // 2
    # Of the ball, 40 mm in radius, the left half of the picture shows 3 and then 7.
    assert row[middle - 8] == 255 and row[middle - 24] == 0 and row[middle + 8] == 0


def test_the_brain_mask_frames_the_pictures_and_the_brightness(write_page, make_image, tmp_path):
    head = ball(make_image, np.eye(3), radius_mm=48.0)
    brain = sitk.Cast(ball(make_image, np.eye(3), radius_mm=35.0), sitk.sitkUInt8)
    scan = head * 900 - sitk.Cast(brain, sitk.sitkFloat32) * 850  # A bright skull, a dim brain.
    bright = ball(make_image, np.eye(3), (0, 0, 10.0), 12.0) * 40
    page = write_page(images={"t1": scan + bright}, brain=brain, place=(0, 0, 10.0))
    assert "Brain mask" in page.text
    pixels = picture(page, 0, tmp_path)
    row = pixels[pixels.shape[0] // 2]
    assert row[len(row) // 2] == 255  # Though the skull is ten times as bright.
    assert row[len(row) // 4] < 20
    assert not page.attributes("img", alt="checkerboard of t1 and t1, axial slice")


def test_a_scan_that_was_not_moved_right_breaks_the_checkerboard(write_page, make_image, tmp_path):
    head = textured(ball(make_image, np.eye(3)))
    aside = sitk.Image(head)
    aside.SetOrigin(np.add(head.GetOrigin(), (0, 15.0, 0)).tolist())
    right = write_page(images={"t1": head, "t2": head})
    wrong = write_page(images={"t1": head, "t2": aside})
    jumps = []
    for page in (right, wrong):
        pixels = picture(page, 5 * 2, tmp_path).astype(int)
        borders = np.arange(FIELD_PIXELS, pixels.shape[1], FIELD_PIXELS)
        jumps.append(np.abs(pixels[:, borders] - pixels[:, borders - 1]).mean())
    assert jumps[1] > 3 * jumps[0]


def test_hostile_names_stay_text(write_page):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'
    report = {
        **REPORT,
        "output": f"out/{evil}",
        "model": {"name": evil, "sha256": evil},
        "inputs": {evil: {"path": evil, "sha256": evil}},
        "sequences": {evil: {"reason": evil, "confidence": 0.5}},
        "registration": {"fixed": evil, "scans": {}},
        "brain": {"method": evil, "volume_ml": 1.0},
        "seconds": {evil: 1.0},
        "warnings": [evil],
        "device": evil,
        "created": evil,
        "missu_version": evil,
    }
    page = write_page(report)
    assert not page.attributes("script")
    assert all(set(image) == {"src", "width", "height", "alt"} for image in page.attributes("img"))
    assert page.text.count(evil) >= 10


def test_a_hostile_modality_stays_text(write_page, make_image):
    evil = "\"><script>alert('t1')</script>"
    head = ball(make_image, np.eye(3))
    page = write_page({"registration": {"fixed": evil}}, images={evil: head, "t2": head})
    assert not page.attributes("script")
    assert page.attributes("img")[0]["alt"] == f"{evil}, axial slice with outlines"


def test_a_hostile_region_stays_text(tmp_path, make_image, monkeypatch):
    """Titles come from a file, too: a label scheme of the user's, or a model's card."""
    evil = "</label><script>alert('region')</script>"
    monkeypatch.setattr(quality_pictures, "PICTURE_PIXELS", PIXELS)
    regions = tuple(replace(region, title=evil) for region in CHAOS_LIVER.regions)
    scheme = replace(CHAOS_LIVER, regions=regions)
    body = ball(make_image, np.eye(3))
    liver = sitk.Cast(body, sitk.sitkUInt8)
    write_quality_page(tmp_path / "a.html", {"t1": body}, liver, scheme, SegmentationReport())
    page = Page(tmp_path / "a.html")
    assert not page.attributes("script")
    assert evil in page.text


def test_nothing_is_loaded_from_elsewhere(write_page):
    page = write_page()
    (policy,) = page.attributes("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    assert not page.attributes("script") and not page.attributes("link")
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))


def test_identifiers_are_those_of_one_thing_each(write_page):
    page = write_page()
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(names)) == len(names)
    used = {use["href"] for use in page.attributes("use")}
    assert used == {f"#outlines{number}" for number in range(5)}
    assert used <= {f"#{name}" for name in names}


def test_another_task_has_its_own_regions(tmp_path, make_image):
    body = ball(make_image, np.eye(3)) * 50
    liver = sitk.Cast(ball(make_image, np.eye(3), (10, 0, 0), 15.0), sitk.sitkUInt8)
    write_quality_page(tmp_path / "a.html", {"t1": body}, liver, CHAOS_LIVER, SegmentationReport())
    page = Page(tmp_path / "a.html")
    assert "Liver (liver)" in page.text
    assert page.outline(0, "#dd8265")[0] > 0


def test_a_page_of_noise_stays_below_two_megabytes(tmp_path, make_image):
    noise = np.random.default_rng(0).random((150, 180, 160)).astype(np.float32)
    labels = make_image(np.zeros((150, 180, 160), np.uint8))
    images = {name: make_image(noise) for name in MODALITIES}
    write_quality_page(
        tmp_path / "a.html", images, labels, BRATS, SegmentationReport.from_dict(REPORT)
    )
    assert (tmp_path / "a.html").stat().st_size < 2_000_000


def test_only_the_page_is_left_and_an_unwritable_place_is_named(tmp_path, make_image, monkeypatch):
    images = {"t1": ball(make_image, np.eye(3))}
    labels = sitk.Cast(images["t1"] * 0, sitk.sitkUInt8)
    monkeypatch.setattr(quality_pictures, "PICTURE_PIXELS", PIXELS)
    write_quality_page(tmp_path / "new" / "a.html", images, labels, BRATS, SegmentationReport())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.html"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_quality_page(
            tmp_path / "file" / "a.html", images, labels, BRATS, SegmentationReport()
        )
    with pytest.raises(InputError, match="the scans are empty"):
        write_quality_page(
            tmp_path / "b.html", {"t1": images["t1"] * 0}, labels, BRATS, SegmentationReport()
        )
