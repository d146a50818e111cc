"""Summaries of a cohort: a table, a page to look at, and a paragraph for a methods section."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from .. import __version__
from ..contract.segmentation_report import SegmentationReport, read_report
from ..core.errors import InputError
from ..core.files import atomic_write, kept_by, translate_os_errors
from ..core.written import Written
from ..io.case_lists import CasePaths
from ..reporting.cohort_page import CohortPage, CohortRow, write_cohort_page
from .layout import Layout
from .radiomics_list import write_radiomics_list
from .records import RECORD_NAME, read_record
from .summary import DONE, CohortRecord, CohortSummary, is_summary

SUMMARY_NAME, PAGE_NAME, METHODS_NAME = "summary.csv", "cohort.html", "methods.txt"
RADIOMICS_LIST_NAME = "pyradiomics.csv"
_MOST_BYTES = 200_000  # of a thumbnail; those that are written here have some 15 000
# The methods of a finished case, and of how many.
Describe = Callable[[SegmentationReport, int], str]


class Overview:
    """The files of a cohort that tell of all its cases.

    Args:
        folder: of the cohort.
        cases: all, in the order of their list.
        layout: where the results of a case lie.
        written: record of what was written in the folder.
        describe: the methods paragraph; None for none.
    """

    def __init__(
        self,
        folder: Path,
        cases: Sequence[CasePaths],
        layout: Layout,
        written: Written,
        describe: Describe | None = None,
    ) -> None:
        self.folder, self.cases, self.layout = folder, cases, layout
        self.written, self.describe = written, describe
        self.summary, self.page = folder / SUMMARY_NAME, folder / PAGE_NAME
        self.methods, self.radiomics = folder / METHODS_NAME, folder / RADIOMICS_LIST_NAME

    def check(self, overwrite: bool) -> None:
        """Make sure that no file of somebody else is replaced, and none by a case.

        Raises:
            InputError: naming the file or the case.
        """
        names = {SUMMARY_NAME, PAGE_NAME, METHODS_NAME, RADIOMICS_LIST_NAME}
        for case in self.cases:
            if case.name.casefold() in names:
                raise InputError(f"a case cannot have the name {case.name}, which a file has here")
            if self.written.is_record(case.name):
                raise InputError(f"a case cannot have the name of the record, {case.name}")
        own = [self.summary, self.page, self.methods, *self._shared()]
        for path in [*own, self.radiomics] if self.layout.radiomics else own:
            self._check_own(path, overwrite)

    def _shared(self) -> dict[Path, str]:
        return {self.folder / name: text for name, text in self.layout.shared_files().items()}

    def write_shared(self) -> None:
        """Write the files that all cases share, but for those that somebody has changed since.

        Raises:
            InputError: if one cannot be written.
            ResourceError: if the disk is full.
        """
        for path, text in self._shared().items():
            if not self._was_edited(path):
                with kept_by(self.written), atomic_write(path) as temporary:
                    temporary.write_text(text, encoding="utf-8", newline="\n")

    def _was_edited(self, path: Path) -> bool:
        """Whether somebody has completed a file that was written here, as an author's name."""
        return path.is_file() and self.written.knows(path) and not self.written.owns(path)

    def _check_own(self, path: Path, overwrite: bool) -> None:
        if not os.path.lexists(path):
            return
        self.written.read()  # another process may have written it just now
        older = path == self.summary and not self.written.knows(path) and is_summary(path)
        if overwrite or older:
            self.written.add(path, path)
        if path.name in self.layout.shared_files() and self._was_edited(path):
            return
        if not self.written.owns(path):
            raise InputError(
                f"{path}: is there, and not as a cohort has written it; move it away, give another "
                "output folder, or add --overwrite"
            )

    def write_summary(self, own: Mapping[str, CohortRecord]) -> CohortSummary:
        """Write the table of all cases, see :meth:`_write`.

        Raises:
            InputError: if the file cannot be written.
            ResourceError: if the disk is full.
        """
        return self._write(own, lambda summary: summary.write_csv(self.summary))

    def write_page(self, own: Mapping[str, CohortRecord]) -> CohortSummary:
        """Write the table, the page and the paragraph, see :meth:`_write`.

        Raises:
            InputError: if a file cannot be written.
            ResourceError: if the disk is full.
        """
        return self._write(own, self._write_all)

    def _write(
        self, own: Mapping[str, CohortRecord], write: Callable[[CohortSummary], None]
    ) -> CohortSummary:
        """Write about all cases, those of other processes as their records say.

        Two processes may write at once, and the last one need not know what the other has just
        done. Whoever has written looks again, and writes again if there is news: so the last to
        write has seen every record.
        """
        written = None
        while True:
            records = {
                case.name: own.get(case.name) or read_record(self._place(case))
                for case in self.cases
            }
            summary = CohortSummary(records)
            if summary == written:
                return summary
            with kept_by(self.written):
                write(summary)
            written = summary

    def _place(self, case: CasePaths) -> Path:
        return self.folder / self.layout.place(case)

    def _write_all(self, summary: CohortSummary) -> None:
        summary.write_csv(self.summary)
        methods = self._methods(summary)
        page = CohortPage(
            title=self.folder.resolve().name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            missu_version=__version__,
            regions=summary.regions,
            rows=[self._row(case, summary.records[case.name]) for case in self.cases],
            methods=methods,
        )
        write_cohort_page(self.page, page)
        if methods:
            with atomic_write(self.methods) as temporary:
                temporary.write_text(methods + "\n", encoding="utf-8")
        else:
            self._delete_own(self.methods)
        self._write_radiomics(summary)

    def _write_radiomics(self, summary: CohortSummary) -> None:
        """Write the list of all images and masks, if the cases have such."""
        if not self.layout.radiomics:
            self._delete_own(self.radiomics)
            return
        done = [case for case in self.cases if summary.records[case.name].state == DONE]
        files = [self.layout.radiomics_files(case, self._place(case)) for case in done]
        write_radiomics_list(self.radiomics, [one.table for one in files if one])

    def _delete_own(self, path: Path) -> None:
        """Delete what tells of cases that are not done any more, unless somebody has changed it."""
        if self.written.owns(path):
            with translate_os_errors(path):
                path.unlink(missing_ok=True)

    def _methods(self, summary: CohortSummary) -> str:
        """The paragraph of the cases that are done, by the first report that is as it was written.

        One that somebody has changed tells no more what was done, and need not be a report at all.
        """
        if not self.describe:
            return ""
        self.written.read()  # what other processes have written, too
        for case in self.cases:
            path = self.layout.files(case, self._place(case)).report
            if summary.records[case.name].state != DONE or not path or not path.is_file():
                continue
            if self.written.owns(path):
                return self.describe(read_report(path), summary.count(DONE))
        return ""

    def _row(self, case: CasePaths, record: CohortRecord) -> CohortRow:
        place, done = self._place(case), record.state == DONE
        files = self.layout.files(case, place)
        links = {
            "quality page": files.quality_page,
            "label map": files.labels,
            "report": files.report,
            "record": place / RECORD_NAME,
        }
        shown = {
            name: f"./{quote(path.relative_to(self.folder).as_posix())}"
            for name, path in links.items()
            if path and path.is_file() and (done or name == "record")
        }
        return CohortRow(
            name=case.name,
            state=record.state,
            volumes_ml=record.volumes_ml if done else {},
            confidence=record.confidence if done else {},
            warnings=record.warnings if done else (),
            seconds=record.seconds,
            error=record.error,
            thumbnail=_text(files.thumbnail) if done and files.thumbnail else "",
            links=shown,
        )


def _text(path: Path) -> str:
    """A small text file; nothing if it is none."""
    try:
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass
    return ""
