"""Writing results: paths are checked in advance, and files appear only when complete."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import SimpleITK as sitk

from ..core.errors import InputError, ResourceError
from ..core.files import atomic_write, check_output, itk_name
from ..core.messages import a_file
from .reading import check_complete

OUTPUT_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def check_outputs(files: list[Path], inputs: list[Path], overwrite: bool) -> None:
    """Check that files can be written without overwriting an input.

    Raises:
        InputError: naming the file.
    """
    for number, path in enumerate(files):
        if path.resolve() in [other.resolve() for other in files[:number]]:
            raise InputError(a_file(path), ": is to be written twice; give two different names")
        if any(path.exists() and path.samefile(given) for given in inputs if given.exists()):
            raise InputError(a_file(path), ": is an input too, and would be lost")
        check_output(path, overwrite)
        itk_name(path)


def write_image(stack: ExitStack, image: sitk.Image, path: Path) -> Path:
    """Write an image to a temporary path; it is renamed once the whole stack has succeeded.

    Returns:
        The temporary path.

    Raises:
        ResourceError: if it cannot be written completely.
    """
    temporary = stack.enter_context(atomic_write(path))
    name = itk_name(temporary)
    try:
        sitk.WriteImage(image, name, useCompression=True)
        check_complete(temporary)
    except (RuntimeError, InputError) as error:
        raise ResourceError(a_file(path), ": cannot be written; is the disk full?") from error
    return temporary


def write_transform(stack: ExitStack, transform: sitk.Transform, path: Path) -> Path:
    """Write a transform to a temporary path; it is renamed once the whole stack has succeeded.

    Returns:
        The temporary path.

    Raises:
        ResourceError: if it cannot be written.
    """
    temporary = stack.enter_context(atomic_write(path))
    name = itk_name(temporary)
    try:
        sitk.WriteTransform(transform, name)
    except RuntimeError as error:
        raise ResourceError(a_file(path), ": cannot be written; is the disk full?") from error
    return temporary


def sibling_path(path: Path, what: str, ending: str | None = None) -> Path:
    """The path of a file beside another: ``seg_probability_WT.nii.gz`` beside ``seg.nii.gz``.

    Only the ending is cut, so that ``1.2.840.7.nii.gz`` and ``1.2.840.8.nii.gz`` share no files.

    Args:
        path: of the other file, with one of :data:`OUTPUT_ENDINGS`.
        what: to add to its name, as ``probability_WT``.
        ending: of the new file; by default that of the other.
    """
    own = next(known for known in OUTPUT_ENDINGS if path.name.endswith(known))
    return path.with_name(f"{path.name.removesuffix(own)}_{what}{ending or own}")
