"""Text headers of NRRD and MetaImage files, and checks for what ITK would misread.

In both formats the voxel size and the side of the patient's left are optional. Without them, ITK
silently takes 1 mm, and the order in which the voxels are stored.

Sources: https://teem.sourceforge.net/nrrd/format.html, and "MetaIO/Documentation" in ITK's wiki.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from ..core.messages import Text, a_file

_MAGIC = b"NRRD"
_META_IMAGE = (".mha", ".mhd")
# Limit for a line that is neither a comment nor a key with its value: ITK (5.4) reports lines that
# it does not understand in a buffer of fixed size. The format's fields are far shorter.
LONGEST_FIELD = 1000
LONGEST_HEADER = 1 << 24
# NRRD spaces that tell left from right; others are those of a scanner, or undefined.
_ANATOMICAL = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|[LR][AP]ST?", re.I)
_END_OF_NRRD = re.compile(rb"\n\r?\n|\r\r")
_END_OF_META_IMAGE = re.compile(rb"(?<=LOCAL)\s*[\r\n]")
_VECTOR = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class TextHeader:
    """The parsed header of a NRRD or MetaImage file.

    Attributes:
        is_nrrd: whether the file is NRRD.
        fields: by name, which is lowercase in NRRD.
        rest: the lines after the last field, which may name files.
    """

    is_nrrd: bool
    fields: dict[str, str]
    rest: list[str]

    @property
    def tells_left(self) -> bool:
        """Whether the header gives the side of the patient's left."""
        if self.is_nrrd:
            return bool(_ANATOMICAL.fullmatch(self.fields.get("space", "")))
        turned = {"TransformMatrix", "Rotation", "Orientation"} & self.fields.keys()
        return bool(turned) or "?" not in self.fields.get("AnatomicalOrientation", "?")

    @property
    def spacing_mm(self) -> list[float]:
        """Voxel spacing along each axis for which the header gives it."""
        if not self.is_nrrd:
            return _numbers(self.fields.get("ElementSpacing") or self.fields.get("ElementSize", ""))
        vectors = _VECTOR.findall(self.fields.get("space directions", ""))
        if vectors:
            squares = ([n * n for n in _numbers(vector[1:-1])] for vector in vectors)
            return [sum(parts) ** 0.5 for parts in squares]
        # NaN marks an axis that is not spatial, such as color.
        return [step for step in _numbers(self.fields.get("spacings", "")) if step == step]

    @property
    def data_files(self) -> list[str]:
        """Names of the other files that hold the voxels."""
        name = self.fields.get("data file") or self.fields.get("ElementDataFile", "LOCAL")
        if name.upper().startswith("LIST"):
            return [line.strip() for line in self.rest if line.strip()]
        return [] if name.upper() == "LOCAL" else [name]


def read_text_header(path: Path) -> TextHeader | None:
    """The header of a NRRD or MetaImage file; None of any other.

    Raises:
        InputError: if ITK's reader would crash on it, and the whole process with it.
    """
    is_meta_image = path.suffix.lower() in _META_IMAGE
    try:
        with path.open("rb") as stream:
            is_nrrd = stream.read(len(_MAGIC)) == _MAGIC
            if not (is_nrrd or is_meta_image):
                return None
            stream.seek(0)
            content = stream.read(LONGEST_HEADER)
    except OSError:
        return None  # the reader reports it
    # Voxels in the same file follow an empty line, or the line with the word LOCAL.
    end = _END_OF_NRRD if is_nrrd else _END_OF_META_IMAGE
    lines = re.split(rb"\r\n|\n|\r", end.split(content, maxsplit=1)[0])
    return _nrrd(path, lines) if is_nrrd else _meta_image(lines)


def check_text_header(path: Path) -> TextHeader | None:
    """Check that ITK reads a NRRD or MetaImage file correctly; other files are skipped.

    Returns:
        The header; None for another file.

    Raises:
        InputError: if ITK would misread it.
    """
    header = read_text_header(path)
    if header is None:
        return None
    told = header.spacing_mm
    axes = header.fields.get("dimension" if header.is_nrrd else "NDims", "none")
    if len(told) < 3 and axes not in ("none", "1", "2"):  # not scans, as ITK reports
        raise InputError(
            a_file(path),
            ": its header does not say how large the voxels are; write it again with their spacing",
        )
    if not all(step > 0 for step in told):
        raise InputError(
            a_file(path),
            f": its header says a voxel spacing of {' x '.join(f'{n:g}' for n in told)} mm, which "
            "cannot be; correct the header",
        )
    for name, neutral in (("Slope", 1.0), ("Offset", 0.0)):
        scaling = header.fields.get(f"ElementToIntensityFunction{name}")
        if scaling is not None and _numbers(scaling) != [neutral]:
            raise InputError(
                a_file(path),
                f": its header wants the voxels to be scaled (ElementToIntensityFunction{name} is "
                f"{scaling}), which is not done; write the scaled values",
            )
    if not header.is_nrrd:
        _check_slices(path, header)
    return header


def _check_slices(path: Path, header: TextHeader) -> None:
    """Check that a MetaImage in many files has one for each slice: ITK invents missing ones."""
    name = header.fields.get("ElementDataFile", "")
    slices = _numbers(header.fields.get("DimSize", ""))[-1:]
    is_sure = name in ("LIST", "LIST 2") and slices == [len(header.data_files)]
    if not is_sure and ("%" in name or name.startswith("LIST")):
        raise InputError(
            a_file(path),
            f": keeps its voxels in many files (ElementDataFile = {name}), not surely one for each "
            "slice; write it into one file",
        )


def data_files(path: Path) -> list[Path]:
    """The other files that hold the voxels or the header of an image file; mostly none.

    Raises:
        InputError: if its header is damaged.
    """
    pair = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix.lower())
    if pair:
        return [other for other in (path.with_suffix(pair),) if other.is_file()]
    header = read_text_header(path)
    files = [path.parent / name for name in header.data_files] if header else []
    return [file for file in files if file.is_file()]


def side_warnings(path: Path) -> list[str]:
    """A warning if the header of a scan other than NIfTI does not tell the patient's left."""
    header = read_text_header(path)
    if header and header.tells_left:
        return []
    return [
        Text(
            a_file(path),
            ": its header does not say where the patient's left is; check the side of the result",
        )
    ]


def _nrrd(path: Path, lines: list[bytes]) -> TextHeader:
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if b":=" in line or line.startswith(b"#"):
            continue
        if len(line) > LONGEST_FIELD:
            raise InputError(
                a_file(path), f": its header is damaged, a line of it has {len(line)} characters"
            )
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        name = {"datafile": "data file"}.get(name.lower(), name.lower())
        fields[name] = value.strip()
        if name == "data file":  # the last field
            return TextHeader(True, fields, _texts(lines[number:]))
    return TextHeader(True, fields, [])


def _meta_image(lines: list[bytes]) -> TextHeader:
    fields: dict[str, str] = {}
    for number, line in enumerate(_texts(lines), start=1):
        name, equals, value = line.partition("=")
        if equals:
            fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":  # the last field
            return TextHeader(False, fields, _texts(lines[number:]))
    return TextHeader(False, {}, [])  # cut off, as ITK reports


def _texts(lines: list[bytes]) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in lines]


def _numbers(text: str) -> list[float]:
    """The numbers of a field; none if it holds anything else."""
    try:
        return [float(part) for part in re.split(r"[ ,\t]+", text.strip()) if part]
    except ValueError:
        return []
