"""Reading the scans of a case from files and bringing them into one space for a model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..contract.labels import LabelScheme
from ..core.errors import InputError, ResourceError
from ..core.events import Progress, Stage
from ..core.memory import limited_bytes
from ..core.messages import a_file
from ..io.dicom import DicomSeries, ScanSource, source_files
from ..io.geometry import image_like
from ..io.reading import Case, read_case, read_image, read_information
from ..preprocessing.pipeline import AlignedCase, PreprocessingOptions, preprocess, scan_under
from ..preprocessing.registration.rigid import moved
from ..preprocessing.registration.search import rigid_inverse
from ..sequences.one_patient import check_one_patient

# Peak memory as a multiple of the scans' size as floats, measured on two BraTS cases: 4.4 and 4.7
# with registration, 1.9 and 2.1 without.
_COPIES, _COPIES_AS_THEY_ARE = 4.5, 2.0


@dataclass(frozen=True)
class ScansInOneSpace:
    """The scans of a case, ready for a model, and the grid of the result.

    Attributes:
        case: the scans as read.
        prepared: the scans in one space.
        reference: image whose grid the result has, moved into that space.
        own_reference: the same image where its header says it is.
        reference_name: modality or path of the reference.
        reference_scan: modality of the scan on which the reference lies.
        seconds: computing time by step.
    """

    case: Case
    prepared: AlignedCase
    reference: sitk.Image
    own_reference: sitk.Image
    reference_name: str
    reference_scan: str
    seconds: dict[str, float]

    def where_it_was(self, result: sitk.Image) -> sitk.Image:
        """A result on the reference grid, moved from the common space to the reference's own."""
        return image_like(sitk.GetArrayViewFromImage(result), self.own_reference)

    def on_reference(self) -> dict[str, sitk.Image]:
        """The scans without skull, moved together to where the reference's header says it is."""
        registration = self.prepared.registrations.get(self.reference_scan)
        if registration is None or registration.skipped:
            return self.prepared.images
        back = rigid_inverse(registration.transform)
        return {name: moved(image, back) for name, image in self.prepared.images.items()}


def read_scans(
    paths: Mapping[str, ScanSource],
    scheme: LabelScheme,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    preprocessing: PreprocessingOptions | None = None,
    progress: Progress | None = None,
) -> ScansInOneSpace:
    """Read the scans of a case and bring them into one space, without skull.

    Args:
        paths: by modality: image files or DICOM series.
        scheme: of the model; only if it segments the brain, skulls are removed.
        reference: image whose grid the result has: one of the modalities, or a file; by default
            T1ce, or the first scan if there is none. A file that is not one of the scans is
            taken to lie on the scan with the same grid, or else on the fixed scan.
        brain_mask: replaces brain extraction, see :func:`.preprocess`.
        preprocessing: steps to apply; by default those that the scans need.
        progress: reports the stages.

    Raises:
        InputError: if anything given cannot be used.
        ResourceError: if there is too little memory.
    """
    progress = progress or Progress()
    preprocessing = preprocessing or PreprocessingOptions()
    began = time.monotonic()
    progress(Stage.READ, 0.0, "reading the scans")
    _check_limit(paths, preprocessing)
    case = read_case(paths)
    who = check_one_patient(
        paths,
        only_warn=preprocessing.different_anatomy,
        registered=preprocessing.registration and scheme.is_in_brain,
    )
    name = reference_name(paths, reference)
    other = None if name in paths else read_image(Path(name))
    mask = read_image(brain_mask) if brain_mask else None
    seconds = {"read": time.monotonic() - began}
    prepared = preprocess(
        case.images,
        preprocessing,
        is_head=scheme.is_in_brain,
        brain_mask=mask,
        progress=progress.part(0.1, 1.0),
    )
    prepared.warnings.extend([*who, *case.warnings])
    own_reference = case.images[name] if other is None else other
    scan = name if other is None else scan_under(other, case.images, prepared.fixed)
    return ScansInOneSpace(
        case,
        prepared,
        reference=prepared.moved_along(own_reference, scan),
        own_reference=own_reference,
        reference_name=name,
        reference_scan=scan,
        seconds={**seconds, **prepared.seconds},
    )


def _check_limit(paths: Mapping[str, ScanSource], preprocessing: PreprocessingOptions) -> None:
    """Refuse scans that exceed the memory limit of a container or job: it would kill the process.

    Raises:
        ResourceError: if they do; the message gives the memory that is left and needed.
    """
    left = limited_bytes()
    if left is None:
        return
    prepared = preprocessing.registration or preprocessing.brain_extraction
    needed = (_COPIES if prepared else _COPIES_AS_THEY_ARE) * sum(map(_float_bytes, paths.values()))
    if needed > left:
        raise ResourceError(
            f"too little memory: the limit of this container or job leaves {left / 2**30:.1f} GiB, "
            f"and reading and preparing the scans takes about {needed / 2**30:.1f} GiB; raise its "
            "limit"
        )


def _float_bytes(source: ScanSource) -> int:
    """Bytes of memory of a scan once read; 0 if it cannot be read, which is reported later."""
    try:
        if isinstance(source, Path) and source.is_file():
            return 4 * math.prod(read_information(source).GetSize())
        files = source.files() if isinstance(source, DicomSeries) else source.iterdir()
        return 2 * sum(file.stat().st_size for file in files)  # assuming 16-bit voxels
    except (InputError, OSError):
        return 0


def input_files(
    paths: Mapping[str, ScanSource], reference: str | Path | None, brain_mask: Path | None
) -> list[Path]:
    """All files that :func:`read_scans` reads, and those that identify the scans."""
    files = source_files(paths.values())
    if brain_mask:
        files.append(brain_mask)
    if reference is not None and str(reference) not in paths:
        files.append(Path(reference))
    return files


def reference_name(paths: Mapping[str, ScanSource], reference: str | Path | None) -> str:
    """The modality of a reference if it is one of the scans, otherwise its path.

    Args:
        paths: scans by modality.
        reference: as given to :func:`read_scans`.

    Raises:
        InputError: if there is no such file.
    """
    if reference is None:
        return "t1ce" if "t1ce" in paths else next(iter(paths))
    if str(reference) in paths:
        return str(reference)
    path = Path(reference)
    if not path.exists():
        raise InputError(a_file(reference), ": no such file, and no modality that is given")
    files = {name: scan for name, scan in paths.items() if isinstance(scan, Path)}
    same = (name for name, scan in files.items() if path.resolve() == scan.resolve())
    return next(same, str(reference))
