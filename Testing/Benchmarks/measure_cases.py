"""Measure every segmentation of a folder, and say how long each took.

    python Testing/Benchmarks/measure_cases.py CASES [--csv FILE]

CASES holds a folder a case with one label map, CASE_seg.nii.gz or CASE-seg.nii.gz, as BraTS has
them. Seconds are those from the file to the report, once by the clock and once of the processor.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from MISSUCore import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = []
    for path in sorted(options.cases.glob("*/*[-_]seg.nii.gz")):
        clock, processor = time.perf_counter(), time.process_time()
        report = measure(path)
        first = report.lesions[0]
        rows.append(
            {
                "case": path.parent.name,
                "seconds": round(time.perf_counter() - clock, 2),
                "processor_seconds": round(time.process_time() - processor, 2),
                "lesions": len(report.lesions),
                "measurable": sum(lesion.measurable for lesion in report.lesions),
                "longest_mm": round(first.longest.length_mm, 1) if first.longest else "",
                "perpendicular_mm": (
                    round(first.perpendicular.length_mm, 1) if first.perpendicular else ""
                ),
                "angle_degrees": "" if first.angle_degrees is None else first.angle_degrees,
                "sum_of_products_mm2": round(report.sum_of_products_mm2),
                "warnings": len(report.warnings),
            }
        )
        print(*rows[-1].values(), sep="  ", flush=True)
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    for kind in ("seconds", "processor_seconds"):
        values = sorted(row[kind] for row in rows)
        median = values[len(values) // 2]
        print(f"{len(rows)} cases, {kind}: median {median:.2f}, longest {values[-1]:.2f}")


if __name__ == "__main__":
    main()
