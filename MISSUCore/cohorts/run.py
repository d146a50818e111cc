"""Running a cohort: what is done stays done, and one bad case stops none.

Each case has a folder of its own, where ``cohort.json`` says what became of it. Several processes
started by torchrun share the cases, and need nothing but the folder in common.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from ..contract.segmentation_report import SegmentationReport
from ..core.errors import InputError, MISSUError
from ..core.events import Progress, Stage, silent
from ..core.files import kept_by, read_json, translate_os_errors, write_json
from ..core.serialization import settings_from_dict, settings_to_dict
from ..core.torchrun import torchrun_process
from ..core.written import Written
from ..io.case_lists import CasePaths
from .summary import DONE, FAILED, CohortRecord, CohortSummary, is_summary

RECORD_NAME = "cohort.json"
SUMMARY_NAME = "summary.csv"
WRITTEN_NAME = "written.sha256"

RESULT_NAMES = ("segmentation", "report.json", "quality.html")  # that a case's files begin with
_RESULT = re.compile(
    r"segmentation(_probability_\w+|_transform_\w+)?(\.\w+)+|report\.json|quality\.html"
)
# Segments a case into a folder that exists, replacing no file there; returns the case's report.
SegmentOne = Callable[[CasePaths, Path, Progress], SegmentationReport]


def run_cohort(
    cases: Sequence[CasePaths],
    folder: Path,
    segment_one: SegmentOne,
    settings: Mapping[str, Any],
    progress: Progress | None = None,
    overwrite: bool = False,
) -> CohortSummary:
    """Segment cases, each into the folder of its name, and write ``summary.csv`` after each.

    A finished case is passed over if its scans (paths, sizes, times of change), settings and its
    files are unchanged. A failed case is recorded with the reason, and tried again the next time.

    Only what was written here is ever replaced or deleted, as ``written.sha256`` tells; a result
    that somebody has corrected since is kept, and its case fails if it has to be done anew.

    Args:
        cases: from :func:`.read_cases`; under torchrun, each process takes its part of them.
        folder: for the cases' folders.
        segment_one: segments one case; what it raises makes the case failed, but for Ctrl-C.
        settings: what decides the result beside the scans, in JSON types: options, the model's
            checksum, the version of this library; not the device.
        progress: reports every case; under torchrun only in the first process.
        overwrite: replace also results and a summary that were changed since.

    Returns:
        All cases, those of the other processes as far as they are.

    Raises:
        InputError: if the folder cannot be written, or the folder of a case holds something else
            than an earlier result of a cohort; nothing is done then.
        ResourceError: if the disk is full.
    """
    process, processes, _ = torchrun_process()
    progress = progress if progress and process == 0 else Progress(silent)
    own = cases[process::processes]
    written = Written(folder, WRITTEN_NAME, process, checksums=True)
    _check_names(cases, written)
    _check_summary(folder / SUMMARY_NAME, written, overwrite)
    for case in own:
        _check_folder(folder / case.name)
    records = {case.name: _read_record(folder / case.name) for case in own}
    written.delete_temporary()
    for case in own:
        _adopt_older(folder / case.name, records[case.name], written)
    waiting = _waiting(own, folder, records, json.loads(json.dumps(settings)))
    progress(Stage.COHORT, 0.0, f"{len(waiting)} of {len(own)} cases to segment")
    for number, (case, begun) in enumerate(waiting):
        place = folder / case.name
        part = progress.part(number / len(waiting), (number + 1) / len(waiting))
        part(Stage.COHORT, 0.0, f"{case.name}: case {number + 1} of {len(waiting)}")
        _write_record(place, begun)
        records[case.name] = _segment(case, place, begun, segment_one, part, written, overwrite)
        _write_record(place, records[case.name])
        # On Windows, while a spreadsheet has it open; or after that has saved it.
        with suppress(InputError):
            _write_summary(cases, folder, records, written)
    summary = _write_summary(cases, folder, records, written)
    progress(Stage.DONE, 1.0, f"wrote {folder / SUMMARY_NAME}")
    return summary


def _waiting(
    cases: Sequence[CasePaths],
    folder: Path,
    records: dict[str, CohortRecord],
    settings: dict[str, Any],
) -> list[tuple[CasePaths, CohortRecord]]:
    """The cases to segment, in this order, with the records of their beginning.

    A case with a file that cannot be found is not among them: its record, here and in its folder,
    says that it has failed.
    """
    waiting = []
    for case in cases:
        place, earlier = folder / case.name, records[case.name]
        try:
            begun = CohortRecord(inputs=_inputs(case), settings=settings, files=earlier.files)
        except InputError as error:
            records[case.name] = CohortRecord(FAILED, files=earlier.files, error=str(error))
            _write_record(place, records[case.name])
            continue
        if not _is_done(place, earlier, begun):
            waiting.append((case, begun))
    # Cases during which a process crashed are retried last.
    return sorted(waiting, key=lambda pair: records[pair[0].name].was_interrupted)


def _segment(
    case: CasePaths,
    place: Path,
    begun: CohortRecord,
    segment_one: SegmentOne,
    progress: Progress,
    written: Written,
    overwrite: bool,
) -> CohortRecord:
    start = monotonic()
    try:
        _remove_results(place, begun.files, written, overwrite)
        with kept_by(written):
            report = segment_one(case, place, progress)
    except Exception as error:
        foreseen = isinstance(error, MISSUError)
        message = str(error) if foreseen else f"{type(error).__name__}: {error}"
        progress(Stage.COHORT, 1.0, f"{case.name} failed: {message}")
        return replace(
            begun,
            state=FAILED,
            seconds=round(monotonic() - start, 2),
            error=message,
            traceback="" if foreseen else traceback.format_exc(),
        )
    return replace(
        begun,
        state=DONE,
        files=_results(place, written),
        volumes_ml=dict(report.volumes_ml),
        confidence=dict(report.confidence),
        warnings=tuple(map(str, report.warnings)),
        seconds=round(monotonic() - start, 2),
    )


def _results(place: Path, written: Written) -> tuple[str, ...]:
    """Names of the files in the folder of a case that are as they were written there."""
    files = (path for path in place.iterdir() if path.is_file() and path.name != RECORD_NAME)
    return tuple(sorted(path.name for path in files if written.owns(path)))


def _adopt_older(place: Path, record: CohortRecord, written: Written) -> None:
    """Record the results of an older version, which kept no checksums, as written here.

    Not those that were changed after the case was done, as far as their times tell; and later, when
    the case's record was written anew, nothing can be told any more.
    """
    if record.state != DONE:
        return
    results = [place / name for name in record.files if _RESULT.fullmatch(name)]
    with translate_os_errors(place):
        done = (place / RECORD_NAME).stat().st_mtime_ns
        for path in results:
            known = written.knows(path) or path.is_symlink() or not path.is_file()
            if not known and path.stat().st_mtime_ns <= done:
                written.add(path, path)


def _remove_results(place: Path, earlier: Sequence[str], written: Written, overwrite: bool) -> None:
    """Delete the results of an earlier time, or they would pass for results of now.

    Raises:
        InputError: naming one that was changed since; none is deleted then.
    """
    # Cohorts of an older version took all that lay in the folder for theirs.
    of_a_result = {name for name in earlier if name.startswith(RESULT_NAMES)}
    results = [place / name for name in {*of_a_result, *written.names_in(place)} - {RECORD_NAME}]
    there = [path for path in sorted(results) if path.is_file() and path.parent == place]
    changed = [path for path in there if not written.owns(path)]
    if changed and not overwrite:
        why = "was changed since it was written"
        if not written.knows(changed[0]):
            why = "may be somebody's own (cohorts of an older version kept no checksums)"
        raise InputError(
            f"{changed[0]}: {why}, and is kept; move it away to have the case segmented anew, or "
            "add --overwrite"
        )
    for path in there:
        with translate_os_errors(path):
            path.unlink()


def _inputs(case: CasePaths) -> dict[str, Any]:
    """All files of a case in JSON types, with what shows that one was changed.

    Raises:
        InputError: if one cannot be found.
    """
    places: dict[str, Any] = {**case.images, "folder": case.folder, "reference": case.reference}
    return {
        what: _fingerprint(what, place) if isinstance(place, Path) else place
        for what, place in places.items()
        if place
    }


def _fingerprint(what: str, path: Path) -> dict[str, str]:
    try:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
        stats = [(str(file), file.stat()) for file in files]
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read: {error.strerror or error}") from error
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    return {"path": str(path.resolve()), "sizes_and_times_sha256": digest}


def _is_done(place: Path, earlier: CohortRecord, begun: CohortRecord) -> bool:
    return (
        earlier.state == DONE
        and (earlier.inputs, earlier.settings) == (begun.inputs, begun.settings)
        and all((place / name).exists() for name in earlier.files)
    )


def _check_folder(place: Path) -> None:
    """Refuse a folder that holds something else than an earlier result of a cohort.

    Raises:
        InputError: naming it.
    """
    try:
        strange = place.exists() and not (place / RECORD_NAME).exists() and any(place.glob("[!.]*"))
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror or error}") from error
    if strange or place.is_file():
        raise InputError(
            f"{place}: is there, and not from segmenting a cohort; give another output folder"
        )


def _check_names(cases: Sequence[CasePaths], written: Written) -> None:
    for case in cases:
        if case.name.casefold() == SUMMARY_NAME:
            raise InputError(f"a case cannot have the name of the summary, {case.name}")
        if written.is_record(case.name):
            raise InputError(f"a case cannot have the name of the record, {case.name}")


def _check_summary(path: Path, written: Written, overwrite: bool) -> None:
    """Make sure that the summary to be replaced is one.

    Raises:
        InputError: if it is somebody else's, or was changed since.
    """
    if not os.path.lexists(path):
        return
    if overwrite or (not written.knows(path) and is_summary(path)):  # of an older version
        written.add(path, path)
    if not written.owns(path):
        raise InputError(
            f"{path}: is there, and not as a cohort has written it; move it away, give another "
            "output folder, or add --overwrite"
        )


def _read_record(place: Path) -> CohortRecord:
    path = place / RECORD_NAME
    try:
        facts = read_json(path)
        if not isinstance(facts, dict) or not {"state", "inputs"} <= facts.keys():
            raise ValueError("it has no state and inputs")  # a file of the user's, perhaps
        record = settings_from_dict(CohortRecord, facts)
        record.check()
        return record
    except FileNotFoundError:
        return CohortRecord()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is damaged, or not the record of a case: {error}; give another output "
            "folder, or remove it to begin anew"
        ) from error


def _write_record(place: Path, record: CohortRecord) -> None:
    write_json(place / RECORD_NAME, settings_to_dict(record))


def _write_summary(
    cases: Sequence[CasePaths],
    folder: Path,
    own: Mapping[str, CohortRecord],
    writing: Written,
) -> CohortSummary:
    """Write the summary of all cases, those of other processes as their records say.

    Two processes may write at once, and the last one need not know what the other has just done.
    Whoever has written looks again, and writes again if there is news: so the last to write has
    seen every record.
    """
    written = None
    while True:
        summary = CohortSummary(
            {case.name: own.get(case.name) or _read_record(folder / case.name) for case in cases}
        )
        if summary == written:
            return summary
        with kept_by(writing):
            summary.write_csv(folder / SUMMARY_NAME)
        written = summary
