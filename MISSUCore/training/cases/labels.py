"""Reading the reference segmentation of a case, in any supported numbering or format."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ...contract.labels import CHAOS_LIVER, LabelScheme, numbering_of
from ...core.errors import InputError
from ...core.messages import a_file
from ...io.geometry import image_like
from ...io.reading import read_label_map
from .chaos import read_chaos_masks
from .labeled import LabeledCase


def read_labels(case: LabeledCase, scheme: LabelScheme) -> sitk.Image:
    """The label map of a case as 3-D 8-bit image in the numbering of the scheme.

    BraTS label maps may be in either numbering (enhancing tumor 4, or 3 since 2023). A folder of
    PNG masks is read as one of CHAOS, drawn on the case's t1 series.

    Raises:
        InputError: if the labels cannot be read, or are not of the scheme.
    """
    if case.labels.is_dir():
        if "t1" not in case.images:
            raise InputError(f"case {case.name}: has PNG masks and no t1 series they belong to")
        label_map = read_chaos_masks(case.labels, case.images["t1"])
        source = CHAOS_LIVER
    else:
        label_map = read_label_map(case.labels)
        source = numbering_of(np.unique(sitk.GetArrayViewFromImage(label_map)).tolist(), scheme)
    voxels = sitk.GetArrayViewFromImage(label_map)
    values = np.unique(voxels).tolist()
    try:
        source.check(values)
    except InputError as error:
        raise InputError(a_file(case.labels), f": {error}") from error
    if source.region_names != scheme.region_names:
        raise InputError(
            a_file(case.labels),
            f": labels of {source.name} cannot be used as those of {scheme.name}",
        )
    return image_like(scheme.to_labels(source.to_regions(voxels)), label_map)
