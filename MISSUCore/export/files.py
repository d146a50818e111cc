"""Exported models as files: one network or two, and the JSON that says how to use them."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import atomic_write
from ..core.messages import a_file
from ..io.writing import check_outputs
from ..models.store import find_model, load_model
from .facts import facts
from .network import RegionOdds, to_onnx, to_torchscript

ENDINGS = {"torchscript": (".ts", ".pt"), "onnx": (".onnx",)}
_WRITERS = {"torchscript": to_torchscript, "onnx": to_onnx}


def export_model(
    name_or_path: str,
    kind: str,
    output: Path,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a model for programs that have no MISSUCore; returns the files.

    Of ``brain.onnx`` these are itself, ``brain-finder.onnx`` if the model looks twice, and
    ``brain.onnx.json``, which tells what to do before and after.

    Args:
        name_or_path: of the model.
        kind: "torchscript" or "onnx".
        output: file to write.
        overwrite: replace files that exist.
        progress: reports which network is written.

    Raises:
        InputError: if there is no such model, a file cannot be written, or onnx is not installed.
        MISSUError: if an exported network's output differs from ours; then nothing is written.
        ResourceError: if the disk is full.
    """
    progress = progress or Progress()
    if output.suffix not in ENDINGS[kind]:
        raise InputError(a_file(output), f": a file of {kind} ends in {' or '.join(ENDINGS[kind])}")
    finder_output = output.with_name(f"{output.stem}-finder{output.suffix}")
    record = output.with_name(f"{output.name}.json")
    card = find_model(name_or_path)
    model = load_model(name_or_path)
    outputs = [output, finder_output] if model.finder else [output]
    # A finder lies beside its model if it is not installed.
    inputs = [card, *(card.with_name(f"{one.card.name}.json") for one in (model.finder,) if one)]
    inputs += [path.with_suffix(".pt") for path in inputs]
    check_outputs([*outputs, record], inputs, overwrite)
    models = [model, model.finder] if model.finder else [model]
    files, contents = [], []
    for number, (one, path) in enumerate(zip(models, outputs)):
        progress(Stage.WRITE, number / len(models), one.card.name)
        contents.append(_WRITERS[kind](RegionOdds(one)))
        files.append({"file": path.name, "sha256": hashlib.sha256(contents[-1]).hexdigest()})
    with ExitStack() as stack:
        # What is entered first appears last: without its JSON no network is whole.
        text = json.dumps(facts(model, kind, files), indent=2) + "\n"
        stack.enter_context(atomic_write(record)).write_text(text, encoding="utf-8")
        for path, content in zip(outputs, contents):
            stack.enter_context(atomic_write(path)).write_bytes(content)
    progress(Stage.WRITE, 1.0, "done")
    return [*outputs, record]
