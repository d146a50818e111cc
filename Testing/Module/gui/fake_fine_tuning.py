"""The part of the fake MISSUCore that replaces the commands library, finetune and models.

It writes files in the real formats, but computes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from MISSUCore.contract.case_record import (
    RECORD_FILE,
    CaseRecord,
    Change,
    read_record,
    write_record,
)
from MISSUCore.contract.model_card import Tuning, TuningOutcome, read_card, write_card
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.requests.commands import (
    AddCaseRequest,
    ChangeCasesRequest,
    FineTuneRequest,
    ModelRequest,
    Request,
)
from MISSUCore.contract.tuning.finetuning_run import FineTuningRun, TuningFacts, TuningPlan
from MISSUCore.contract.tuning.tuning_curves import ValidationRow, write_validation
from MISSUCore.contract.tuning.verdict import (
    AcceptanceTest,
    CaseDice,
    Forgetting,
    MeanDice,
    RetainedDice,
    Verdict,
)
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, ResultEvent
from MISSUCore.core.messages import Text, a_file
from MISSUCore.core.run_state import RunState
from MISSUCore.core.serialization import settings_to_dict

REGIONS = ("WT", "TC", "ET")


def serve(request: Request, behavior: dict[str, Any]) -> int:
    """Carry out a request in place of MISSUCore.cli.main.serve; returns the exit code."""
    if isinstance(request, AddCaseRequest):
        error = add(request)
    elif isinstance(request, ChangeCasesRequest):
        error = change(request)
    elif isinstance(request, FineTuneRequest):
        error = finetune(request, behavior)
    else:
        error = models(request)
    if error:
        print(error.to_line(), flush=True)
        return 2
    return 0


def change(request: ChangeCasesRequest) -> None:
    for case in request.ids:
        folder = request.library / "cases" / case
        if request.action == "remove":
            shutil.rmtree(folder)
            continue
        excluded = request.action == "exclude"
        path = folder / RECORD_FILE
        write_record(path, replace(read_record(path), excluded=excluded))


def add(request: AddCaseRequest) -> ErrorEvent | None:
    import SimpleITK as sitk

    cases = request.library / "cases"
    images = {name: sitk.ReadImage(str(path)) for name, path in request.scans.images.items()}
    labels = sitk.ReadImage(str(request.labels))
    content = b"".join(sitk.GetArrayViewFromImage(image).tobytes() for image in images.values())
    case = f"case-{hashlib.sha256(content).hexdigest()[:10]}"
    if not sitk.GetArrayViewFromImage(labels).any() and not request.no_tumor:
        return ErrorEvent(Text("the labels are empty"), ErrorCode.LABELS_EMPTY)
    if (cases / case).exists() and not request.replace:
        return ErrorEvent(Text("these scans are there already"), ErrorCode.SCANS_KNOWN)
    (cases / case).mkdir(parents=True, exist_ok=True)
    for name, image in {**images, "labels": labels}.items():
        sitk.WriteImage(image, str(cases / case / f"{name}.nii.gz"))
    voxels = sitk.GetArrayViewFromImage(labels)
    record = CaseRecord(
        id=case,
        added=f"2026-11-23T08:00:{len(list(cases.iterdir())):02d}+00:00",
        note=request.note,
        modalities=tuple(images),
        scheme=json.loads(request.scheme),
        model=ModelIdentity(request.model),
        changes=changes(request, voxels),
        volumes_ml={"WT": float((voxels > 0).sum() * 0.008), "TC": 0.0, "ET": 0.0},
    )
    write_record(cases / case / RECORD_FILE, record)
    print(ResultEvent({"case": case}).to_line(), flush=True)
    return None


def changes(request: AddCaseRequest, labels: Any) -> dict[str, Change]:
    import SimpleITK as sitk

    if request.result is None:
        return {}
    before = sitk.GetArrayFromImage(sitk.ReadImage(str(request.result))) > 0
    added, removed = ((labels > 0) & ~before).sum(), (before & ~(labels > 0)).sum()
    change = Change(float(added * 0.008), float(removed * 0.008), 0.9)
    return {"WT": change, "TC": Change(), "ET": Change()}


def finetune(request: FineTuneRequest, behavior: dict[str, Any]) -> None:
    run = FineTuningRun(request.output)
    records = sorted((request.library / "cases").glob(f"*/{RECORD_FILE}"))
    ids = [path.parent.name for path in records if not read_record(path).excluded]
    facts = TuningFacts(cases={case: [] for case in ids})
    RunState(settings_to_dict(facts)).begin(run.folder, TuningPlan(20).to_dict())
    rows = [
        ValidationRow(fold, step, 1, {"WT": (step + 60) / 100, "TC": 0.5, "ET": 0.4})
        for fold in (1, 2)
        for step in (0, 10, 20)
    ]
    write_validation(run.folder, REGIONS, [*rows, ValidationRow(2, 20, 0.5, zeros())])
    with (run.folder / "validation.csv").open("a") as table:
        table.write("3,0,1,0.6,0.")  # a row that is being written
    (run.folder / "part-1").mkdir(exist_ok=True)
    (run.folder / "part-1" / "training.csv").write_text("step,loss\n1,0.9\n2,0.8\n")
    if behavior.get("stop"):
        os.abort()
    name, verdict = request.name, Verdict(behavior.get("verdict", "better"))
    before, after = dict.fromkeys(REGIONS, 0.8), dict.fromkeys(REGIONS, 0.84)
    test = AcceptanceTest(
        name=name,
        date="2026-11-23",
        base=ModelIdentity(request.base),
        verdict=verdict,
        reason="it gains 0.040 of mean Dice on cases it was not tuned on",
        regions=REGIONS,
        cases=tuple(CaseDice(case, 1, before, after) for case in ids),
        mean=MeanDice(before, after, 0.04),
        forgetting=Forgetting((), RetainedDice(before, before)),
    )
    run.end(test)
    outcome = TuningOutcome(mean=test.mean)
    tuning = Tuning(test.date, test.base, tuple(ids), gate=outcome, verdict=verdict.value)
    # StandBy.py has put the folder of MISSUCore into sys.path[0].
    weights = Path(sys.path[0]) / "MISSUCore" / "weights"
    bundled = read_card(weights / "missu-brats-fast.json")
    card = replace(bundled, name=name, sha256=run.folder.name, history=(tuning,))
    write_card(run.folder / "model" / f"{name}.json", card)
    (run.folder / "model" / f"{name}.pt").write_bytes(b"weights")


def zeros() -> dict[str, float]:
    return dict.fromkeys(REGIONS, 0.0)


def models(request: ModelRequest) -> ErrorEvent | None:
    folder = Path(os.environ["MISSU_MODELS"])
    folder.mkdir(exist_ok=True)
    if request.use:
        (folder / "default.txt").write_text(request.use)
        return None
    if request.discard:
        shutil.rmtree(request.discard / "model")
        return None
    run = FineTuningRun(request.accept)
    test, card = run.acceptance(), run.candidate()
    if not test.recommended and not request.force:
        return ErrorEvent(Text(a_file(run.folder), f": {test.reason}"), ErrorCode.INPUT)
    number = 1
    while (folder / f"{test.name}-{number}.json").exists():
        number += 1
    name = f"{test.name}-{number}"
    write_card(folder / f"{name}.json", replace(card, name=name))
    (folder / f"{name}.pt").write_bytes(b"weights")
    print(ResultEvent({"model": name}).to_line(), flush=True)
    return None
