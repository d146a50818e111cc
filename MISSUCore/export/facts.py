"""The pre- and postprocessing that an exported network needs, as JSON.

Every number is taken from the code in MISSUCore that uses it.
"""

from __future__ import annotations

from .. import __version__
from ..contract.model_card import RESEARCH_ONLY, ModelCard
from ..contract.options import SegmentationOptions
from ..core.serialization import JsonObject, settings_to_dict
from ..inference.second_look import CERTAIN, SMALLEST_BOX
from ..io.resampling import THICK
from ..models.store import Model
from ..preprocessing.scan_estimate import AROUND_MM, LARGEST_SCORE, TRUNCATE
from ..preprocessing.working_grid import CLIPPED_PERCENTILES
from .network import INPUT, OPSET, OUTPUT, least_side

SCHEMA_VERSION = 1


def facts(model: Model, kind: str, files: list[JsonObject]) -> JsonObject:
    """The JSON beside exported networks.

    Args:
        model: that was exported.
        kind: "torchscript" or "onnx".
        files: name and checksum of each network: the model's, and its finder's if it has one.
    """
    card = model.card
    models = [model, model.finder] if model.finder else [model]
    names = ("close", "finder") if model.finder else ("whole",)
    return {
        "schema_version": SCHEMA_VERSION,
        "made_by": f"MISSU {__version__}",
        "format": kind,
        **({"opset": OPSET} if kind == "onnx" else {}),
        "model": card.name,
        "task": card.task,
        "limits": card.limits,
        "use": RESEARCH_ONLY,
        "training_data": card.training_data,
        "networks": {
            name: {**file, **_network(one.card)} for name, file, one in zip(names, files, models)
        },
        "scans": {
            "modalities": list(card.modalities),
            "may_miss": card.may_miss,
            "few_scans": [settings_to_dict(few) for few in card.few_scans],
            "estimates": [settings_to_dict(estimate) for estimate in card.estimates],
            "state": "skull-stripped, 0 outside the brain; co-registered",
        },
        "preprocessing": _preprocessing(),
        **({"two_looks": _two_looks(card)} if model.finder else {}),
        "postprocessing": _postprocessing(card),
    }


def _network(card: ModelCard) -> JsonObject:
    stride = card.network.stride
    return {
        "model": card.name,
        "weights_sha256": card.sha256,
        "spacing_mm": list(card.spacing_mm),
        "input": {
            "name": INPUT,
            "type": "float32",
            "shape": [1, len(card.modalities), "depth", "height", "width"],
            "channels": list(card.modalities),
            "side_multiple_of": stride,
            "least_side": least_side(stride),
            "padding": "zeros at the end of each axis; cut the output to the size before",
        },
        "output": {
            "name": OUTPUT,
            "type": "float32",
            "shape": [1, len(card.label_scheme().regions), "depth", "height", "width"],
            "channels": list(card.label_scheme().region_names),
            "meaning": "natural log-odds of each region, not divided by temperatures",
        },
    }


def _preprocessing() -> JsonObject:
    return {
        "axes": "arrays are (depth, height, width) = (z, y, x) along the patient's axes LPS: x to "
        "the left, y to the back, z to the head; spacing_mm is (depth, height, width)",
        "brain": "voxels of a scan that are not 0",
        "grid": "the box around the brain of all scans, its first voxel at the box's corner, "
        "at the network's spacing",
        "steps": [
            {"clip_percentiles_of_brain": list(CLIPPED_PERCENTILES)},
            {
                "resample": "in physical space, linearly; by cubic B-spline if a slice is thicker "
                "than thick times the grid's spacing; if the grid is coarser, after a Gaussian of "
                "variance (grid^2 - scan^2) / (8 ln 2) mm^2 along each axis. Intensity and brain "
                "mask alike: brain is where the mask is at least brain_from, and its intensity is "
                "divided by the mask",
                "thick": THICK,
                "brain_from": 0.5,
            },
            {"normalize": "z-score over the brain, each scan by itself"},
            {"outside_brain": 0.0},
            {
                "missing_scan": "its channel is 0; or, where scans.estimates has one from the "
                "scans that are there, in the brain a polynomial with its coefficients, of the "
                "scans' z-scores and their means around the voxel (Gaussian, over the brain "
                "alone), all clipped: of 1, each of them, and the products of any two (for a and "
                "b: aa, ab, bb)",
                "largest_score": LARGEST_SCORE,
                "gaussian_sigma_mm": AROUND_MM,
                "gaussian_cut_at_sigmas": TRUNCATE,
            },
        ],
    }


def _two_looks(card: ModelCard) -> JsonObject:
    look = card.first_look
    return {
        "finder_sees": "the whole case, on its own grid",
        "found": "any outermost region's log-odds above threshold",
        "threshold": look.threshold,
        "parts": "connected by faces, edges or corners, each its box",
        "margin_voxels": look.margin,
        "margin_on": "the close network's grid",
        "smallest_side_voxels": SMALLEST_BOX,
        "joined": "two boxes that overlap, or whose common box has no more voxels than both",
        "averaged_regions": list(look.averaged),
        "averaged": "mean of both networks' log-odds, the finder's interpolated linearly; of other "
        "regions the close network's alone",
        "clip_log_odds": CERTAIN,
        "outside_boxes_log_odds": -CERTAIN,
        "support": look.support,
        "ruled_out": "in the block around all boxes: parts (connected by faces, edges or corners) "
        "with any region's log-odds above 0, in which the finder's outermost region, interpolated "
        "linearly, nowhere reaches support; their log-odds become those of outside. Not where a "
        "scan is missing without which the finder's outermost region is unreliable",
        "nothing_found": "the finder's answer stands",
    }


def _postprocessing(card: ModelCard) -> JsonObject:
    scheme = card.label_scheme()
    temperatures = card.temperatures or (1.0,) * len(scheme.regions)
    return {
        "temperatures": list(temperatures),
        "probability": "sigmoid(log_odds / temperature), by region",
        "nested": "no inner region is likelier than the regions it lies in: the minimum of them",
        "resample": "probabilities linearly to the grid of the scan that the result lies on",
        "threshold": 0.5,
        "cleanup": settings_to_dict(SegmentationOptions().cleanup),
        "cleanup_order": "small islands (26 neighbors) of outermost regions go, with all in them; "
        "holes of regions with inner regions are filled",
        "regions": [
            {"name": region.name, "title": region.title, "labels": list(region.labels)}
            for region in scheme.regions
        ],
        "labels": [
            {"value": label.value, "name": label.name, "title": label.title}
            for label in scheme.labels
        ],
        "label_map": "of a voxel's innermost region, the label that no region inside it has",
    }
