"""Running a cohort: what is done stays done, and one bad case stops none.

Each case has a folder of its own, where ``cohort.json`` says what became of it. Several processes
started by torchrun share the cases, and need nothing but the folder in common.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from ..contract.segmentation_report import MapStatistics, SegmentationReport
from ..core.errors import InputError, MISSUError
from ..core.events import Progress, Stage, silent
from ..core.files import kept_by, translate_os_errors
from ..core.torchrun import torchrun_process
from ..core.written import Written
from ..io.case_lists import CasePaths
from .layout import Layout
from .overview import Describe, Overview
from .records import RECORD_NAME, inputs_of, is_done, read_record, write_record
from .summary import DONE, FAILED, CohortRecord, CohortSummary

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
    layout: Layout | None = None,
    describe: Describe | None = None,
) -> CohortSummary:
    """Segment cases, each into a folder of its own, and write ``summary.csv`` after each.

    When all are done, or the run is ended before, ``cohort.html`` shows them all. A finished case
    is passed over if its scans (paths, sizes, times of change), settings and files are unchanged. A
    failed case is recorded with the reason, and tried again the next time. Only what was written
    here is replaced or deleted, as ``written.sha256`` tells; a result that somebody has corrected
    since is kept, and its case fails if it has to be done anew.

    Args:
        cases: from :func:`.read_cases`; under torchrun, each process takes its part of them.
        folder: for the cases' folders.
        segment_one: segments one case; what it raises makes the case failed, but for Ctrl-C.
        settings: what decides the result beside the scans, in JSON types: options, the model's
            checksum, the version of this library; not the device.
        progress: reports every case; under torchrun only in the first process.
        overwrite: replace also results, a summary and a page that were changed since.
        layout: where the results of a case lie; by default in a folder of its name.
        describe: the methods paragraph for the page and ``methods.txt``; without it there is none.

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
    places = {case.name: folder / (layout or Layout()).place(case) for case in cases}
    overview = Overview(folder, cases, layout or Layout(), written, describe)
    overview.check(overwrite)
    records = {case.name: _checked_record(places[case.name]) for case in own}
    written.delete_temporary()
    for case in own:
        _adopt_older(places[case.name], records[case.name], written)
    waiting = _waiting(own, places, records, json.loads(json.dumps(settings)))
    progress(Stage.COHORT, 0.0, f"{len(waiting)} of {len(own)} cases to segment")
    runner = _CohortRunner(segment_one, written, overview, overwrite)
    try:
        runner.run_all(waiting, places, records, progress)
    except BaseException:
        with suppress(MISSUError):  # what is known of the cases, and then the error
            overview.write_page(records)
        raise
    summary = overview.write_page(records)
    progress(Stage.DONE, 1.0, f"wrote {overview.page}")
    return summary


def _waiting(
    cases: Sequence[CasePaths],
    places: Mapping[str, Path],
    records: dict[str, CohortRecord],
    settings: dict[str, Any],
) -> list[tuple[CasePaths, CohortRecord]]:
    """The cases to segment, in this order, with the records of their beginning.

    A case with a file that cannot be found is not among them: its record, here and in its folder,
    says that it has failed.
    """
    waiting = []
    for case in cases:
        place, earlier = places[case.name], records[case.name]
        try:
            begun = CohortRecord(inputs=inputs_of(case), settings=settings, files=earlier.files)
        except InputError as error:
            records[case.name] = CohortRecord(FAILED, files=earlier.files, error=str(error))
            write_record(place, records[case.name])
            continue
        if not is_done(place, earlier, begun):
            waiting.append((case, begun))
    # Cases during which a process crashed are retried last.
    return sorted(waiting, key=lambda pair: records[pair[0].name].was_interrupted)


@dataclass(frozen=True)
class _CohortRunner:
    """Segments the cases that wait, and records what became of each.

    Attributes:
        segment_one: segments a case.
        written: record of what was written.
        overview: of all cases.
        overwrite: whether results are replaced that were changed since.
    """

    segment_one: SegmentOne
    written: Written
    overview: Overview
    overwrite: bool

    def run_all(
        self,
        waiting: Sequence[tuple[CasePaths, CohortRecord]],
        places: Mapping[str, Path],
        records: dict[str, CohortRecord],
        progress: Progress,
    ) -> None:
        """Segment the cases that wait, and record each when it is done."""
        self.overview.write_shared()
        for number, (case, begun) in enumerate(waiting):
            place = places[case.name]
            part = progress.part(number / len(waiting), (number + 1) / len(waiting))
            part(Stage.COHORT, 0.0, f"{case.name}: case {number + 1} of {len(waiting)}")
            write_record(place, begun)
            records[case.name] = self._run(case, place, begun, part)
            write_record(place, records[case.name])
            # On Windows, while a spreadsheet has it open; or after that has saved it.
            with suppress(InputError):
                self.overview.write_summary(records)

    def _run(
        self, case: CasePaths, place: Path, begun: CohortRecord, progress: Progress
    ) -> CohortRecord:
        """Segment a case into its folder; what it raises becomes the record of a failure."""
        start = monotonic()
        try:
            _remove_results(place, begun.files, self.written, self.overwrite)
            with kept_by(self.written):
                report = self.segment_one(case, place, progress)
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
            files=_results(place, self.written),
            volumes_ml=dict(report.volumes_ml),
            confidence=dict(report.confidence),
            map_figures=_map_figures(report.maps),
            warnings=tuple(map(str, report.warnings)),
            seconds=round(monotonic() - start, 2),
        )


def _map_figures(maps: Mapping[str, MapStatistics]) -> dict[str, float]:
    """What maps show, by map, region and figure: ``ADC_WT_mean``."""
    return {
        f"{name}_{region}_{figure}": value
        for name, one in maps.items()
        for region, told in one.regions.items()
        for figure, value in asdict(told).items()
        if value is not None
    }


def _results(place: Path, written: Written) -> tuple[str, ...]:
    """Paths of the files in the folder of a case that are as they were written there."""
    names = written.names_in(place) - {RECORD_NAME}
    return tuple(sorted(n for n in names if (place / n).is_file() and written.owns(place / n)))


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
    of_a_result = {name for name in of_a_result if Path(name).name == name}
    results = [place / name for name in {*of_a_result, *written.names_in(place)} - {RECORD_NAME}]
    there = [path for path in sorted(results) if path.is_file()]
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
    for folder in {path.parent for path in there} - {place}:
        with suppress(OSError):  # somebody has put a file of his own there
            folder.rmdir()


def _checked_record(place: Path) -> CohortRecord:
    """The record of a folder that holds nothing else than an earlier result of a cohort.

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
    return read_record(place)
