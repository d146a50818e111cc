"""The part of the fake MISSUCore that stands for library, finetune and models.

It keeps the formats of the files, and computes nothing.
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

from MISSUCore.contract.case_record import CaseRecord, read_record, write_record
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, ResultEvent
from MISSUCore.core.messages import Text, a_file

REGIONS = ("WT", "TC", "ET")


def main(arguments: list[str], behavior: dict[str, Any]) -> int:
    """As MISSUCore.cli.main.main."""
    command = {"library": library, "finetune": finetune, "models": models}[arguments[0]]
    error = command(arguments, behavior)
    if error:
        print(error.to_line(), flush=True)
        return 2
    return 0


def value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def library(arguments: list[str], behavior: dict[str, Any]) -> ErrorEvent | None:
    cases = Path(arguments[1]) / "cases"
    verb = arguments[2]
    if verb == "add":
        return add(cases, arguments)
    for case in arguments[3:]:
        if case.startswith("--"):
            continue
        if verb == "remove":
            shutil.rmtree(cases / case)
            continue
        path = cases / case / "record.json"
        write_record(path, replace(read_record(path), excluded=verb == "exclude"))
    return None


def add(cases: Path, arguments: list[str]) -> ErrorEvent | None:
    import SimpleITK as sitk

    scans = {name: arguments.index(f"--{name}") + 1 for name in ("t1", "t1ce", "t2", "flair")}
    images = {name: sitk.ReadImage(arguments[index]) for name, index in scans.items()}
    labels = sitk.ReadImage(value(arguments, "--labels"))
    content = b"".join(sitk.GetArrayViewFromImage(image).tobytes() for image in images.values())
    case = f"case-{hashlib.sha256(content).hexdigest()[:10]}"
    if not sitk.GetArrayViewFromImage(labels).any() and "--no-tumor" not in arguments:
        return ErrorEvent(Text("the labels are empty"), ErrorCode.LABELS_EMPTY)
    if (cases / case).exists() and "--replace" not in arguments:
        return ErrorEvent(Text("these scans are there already"), ErrorCode.SCANS_KNOWN)
    (cases / case).mkdir(parents=True, exist_ok=True)
    for name, image in {**images, "labels": labels}.items():
        sitk.WriteImage(image, str(cases / case / f"{name}.nii.gz"))
    voxels = sitk.GetArrayViewFromImage(labels)
    record = CaseRecord(
        id=case,
        added=f"2026-11-23T08:00:{len(list(cases.iterdir())):02d}+00:00",
        note="".join(one[7:] for one in arguments if one.startswith("--note=")),
        modalities=tuple(images),
        scheme=json.loads(Path(value(arguments, "--scheme")).read_text()),
        model={"name": value(arguments, "--model")} if "--model" in arguments else {},
        changes=changes(arguments, voxels),
        volumes_ml={"WT": float((voxels > 0).sum() * 0.008), "TC": 0.0, "ET": 0.0},
    )
    write_record(cases / case / "record.json", record)
    print(ResultEvent({"case": case}).to_line(), flush=True)
    return None


def changes(arguments: list[str], labels: Any) -> dict[str, dict[str, float]]:
    import SimpleITK as sitk

    if "--result" not in arguments:
        return {}
    before = sitk.GetArrayFromImage(sitk.ReadImage(value(arguments, "--result"))) > 0
    added, removed = ((labels > 0) & ~before).sum(), (before & ~(labels > 0)).sum()
    change = {"added_ml": added * 0.008, "removed_ml": removed * 0.008, "dice": 0.9}
    none = {**change, "added_ml": 0, "removed_ml": 0}
    return {"WT": change, "TC": none, "ET": none}


def finetune(arguments: list[str], behavior: dict[str, Any]) -> ErrorEvent | None:
    run, base = Path(value(arguments, "--output")), value(arguments, "--base")
    records = sorted((Path(value(arguments, "--library")) / "cases").glob("*/record.json"))
    ids = [path.parent.name for path in records if not json.loads(path.read_text())["excluded"]]
    write(run / "run.json", {"given": {"cases": {case: [] for case in ids}}})
    rows = ["fold,step,mix,WT,TC,ET"]
    rows += [f"{fold},{step},1,0.{step + 60},0.5,0.4" for fold in (1, 2) for step in (0, 10, 20)]
    (run / "validation.csv").write_text("\n".join([*rows, "2,20,0.5,0,0,0", "3,0,1,0.6,0.", ""]))
    (run / "part-1").mkdir(exist_ok=True)
    (run / "part-1" / "training.csv").write_text("step,loss\n1,0.9\n2,0.8\n")
    if behavior.get("stop"):
        os.abort()
    name, verdict = value(arguments, "--name"), behavior.get("verdict", "better")
    scores = {"base": dict.fromkeys(REGIONS, 0.8), "tuned": dict.fromkeys(REGIONS, 0.84)}
    gate = {
        "name": name,
        "date": "2026-11-23",
        "base": {"name": base, "sha256": ""},
        "verdict": verdict,
        "recommended": verdict == "better",
        "reason": "it gains 0.040 of mean Dice on cases it was not tuned on",
        "regions": list(REGIONS),
        "cases": [{"case": case, "fold": 1, **scores} for case in ids],
        "mean": {**scores, "gain": 0.04},
        "forgetting": {"cases": [], "mean": {**scores, "tuned": scores["base"], "loss": 0.0}},
    }
    write(run / "gate.json", gate)
    kept = {key: gate[key] for key in ("date", "base", "verdict")}
    entry = {**kept, "cases": ids, "gate": gate}
    # StandBy.py has put the folder of MISSUCore there.
    weights = Path(sys.path[0]) / "MISSUCore" / "weights"
    bundled = json.loads((weights / "missu-brats-fast.json").read_text())
    card = {**bundled, "name": name, "sha256": run.name, "history": [entry]}
    write(run / "model" / f"{name}.json", card)
    (run / "model" / f"{name}.pt").write_bytes(b"weights")
    return None


def models(arguments: list[str], behavior: dict[str, Any]) -> ErrorEvent | None:
    folder = Path(os.environ["MISSU_MODELS"])
    folder.mkdir(exist_ok=True)
    if "--use" in arguments:
        (folder / "default.txt").write_text(value(arguments, "--use"))
        return None
    if "--discard" in arguments:
        shutil.rmtree(Path(value(arguments, "--discard")) / "model")
        return None
    run = Path(value(arguments, "--accept"))
    gate = json.loads((run / "gate.json").read_text())
    if not gate["recommended"] and "--force" not in arguments:
        return ErrorEvent(Text(a_file(run), f": {gate['reason']}"), ErrorCode.INPUT)
    card = json.loads((run / "model" / f"{gate['name']}.json").read_text())
    number = 1
    while (folder / f"{gate['name']}-{number}.json").exists():
        number += 1
    card["name"] = f"{gate['name']}-{number}"
    write(folder / f"{card['name']}.json", card)
    (folder / f"{card['name']}.pt").write_bytes(b"weights")
    return None


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
