"""How much memory is left to this process: the machine's, or what a container or job leaves it.

The limits are those of control groups (cgroup version 1 and 2), as Docker, Kubernetes and SLURM set
them. Beyond a limit the kernel kills the process without a word, so they are asked for beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc")
# Version 2 and 1: limit, use, and what of the use are files that the kernel gives up when needed.
_NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_NO_LIMIT = 2**60  # version 1 has a number near 2**63 for it


def free_main_memory_bytes() -> int | None:
    """Main memory that this process may still take; None where the system does not say."""
    known = [free for free in (_machine(), limited_bytes()) if free is not None]
    return min(known, default=None)


def peak_bytes() -> int | None:
    """The most main memory that this process has had; None where the system does not say."""
    try:
        status = _table(PROCESS / "self" / "status")
    except (OSError, ValueError):
        return None
    return status["VmHWM"] * 1024 if "VmHWM" in status else None


def limited_bytes() -> int | None:
    """What the tightest limit on this process leaves; None if there is none."""
    left = []
    for version, folder in _groups():
        limit_name, use_name, files_name = _NAMES[version]
        try:
            limit = int((folder / limit_name).read_text())  # "max" is no limit
            used = int((folder / use_name).read_text())
            files = _table(folder / "memory.stat").get(files_name, 0)
        except (OSError, ValueError):
            continue
        if limit < _NO_LIMIT:
            left.append(max(0, limit - used + files))
    return min(left, default=None)


def _machine() -> int | None:
    try:
        return _table(PROCESS / "meminfo")["MemAvailable"] * 1024
    except (OSError, KeyError, ValueError):
        return None


def _groups() -> Iterator[tuple[int, Path]]:
    """Version and folder of every group that the process is in; the outer ones limit it too."""
    try:
        lines = (PROCESS / "self" / "cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root, version = (CGROUPS / "memory", 1) if controllers else (CGROUPS, 2)
        # In a container the place may be that on its host, which is not seen from inside.
        inner = root / place.lstrip("/")
        while inner != root and root in inner.parents:
            yield version, inner
            inner = inner.parent
        yield version, root


def _table(path: Path) -> dict[str, int]:
    """The numbers in a file of lines such as ``MemAvailable:  123 kB``, by name."""
    rows = [line.replace(":", " ").split() for line in path.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
