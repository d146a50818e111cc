"""The door for other programs: what a request of :mod:`MISSUCore.contract.requests` asks for."""

from __future__ import annotations

from ..contract.requests import (
    AddCaseRequest,
    ChangeCasesRequest,
    EvaluateRequest,
    FineTuneRequest,
    GuessAnswer,
    GuessRequest,
    ModelRequest,
    Request,
    SegmentRequest,
)
from ..core.events import Progress
from ..core.files import write_json
from ..core.serialization import settings_to_dict
from . import evaluate, finetune, library, models, segment


def perform(request: Request, progress: Progress) -> None:
    """Do what is asked for; results, warnings and progress are told as events."""
    if isinstance(request, SegmentRequest):
        segment.perform(request, True, progress)
    elif isinstance(request, EvaluateRequest):
        evaluate.perform(request, True, progress)
    elif isinstance(request, AddCaseRequest):
        library.tell_added(library.perform_add(request, True, progress))
    elif isinstance(request, ChangeCasesRequest):
        library.perform_change(request, True, progress)
    elif isinstance(request, FineTuneRequest):
        finetune.perform(request, True, progress)
    elif isinstance(request, ModelRequest):
        models.perform(request, True, progress)
    else:
        guess(request)


def guess(request: GuessRequest) -> None:
    """Tell what sequences scans look like."""
    from ..io.reading import read_image
    from ..sequences.appearance import guess_from_scans

    guesses = guess_from_scans(
        request.images, request.among, lambda name: read_image(request.images[name])
    )
    write_json(request.output, settings_to_dict(GuessAnswer(guesses)))
