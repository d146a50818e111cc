"""Text headers of NRRD and MetaImage files, and checks for what ITK would misread.

Neither format has to say how large the voxels are, or where the patient's left is. ITK then takes
1 mm, and the order in which they are stored, without a word.

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
# Of a line that is neither a comment nor a key with its value: ITK (5.4) tells of one that it does
# not understand in a buffer of fixed size. Fields of the format are shorter by far.
LONGEST_FIELD = 1000
LONGEST_HEADER = 1 << 24
# Spaces of NRRD that tell left from right; others are those of a scanner, or nobody's.
_ANATOMICAL = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|[LR][AP]ST?", re.I)
_END_OF_NRRD = re.compile(rb"\n\r?\n|\r\r")
_END_OF_META_IMAGE = re.compile(rb"(?<=LOCAL)\s*[\r\n]")
_VECTOR = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class TextHeader:
    """What the header of a NRRD or MetaImage file says.

    Attributes:
        is_nrrd: whether it is one of NRRD.
        fields: by name, which is in lowercase in NRRD.
        rest: the lines after the last field; some name files.
    """

    is_nrrd: bool
    fields: dict[str, str]
    rest: list[str]

    @property
    def tells_left(self) -> bool:
        """Whether it says where the patient's left is."""
        if self.is_nrrd:
            return bool(_ANATOMICAL.fullmatch(self.fields.get("space", "")))
        turned = {"TransformMatrix", "Rotation", "Orientation"} & self.fields.keys()
        return bool(turned) or "?" not in self.fields.get("AnatomicalOrientation", "?")

    @property
    def spacing_mm(self) -> list[float]:
        """How large the voxels are along the axes of which that is told."""
        if not self.is_nrrd:
            return _numbers(self.fields.get("ElementSpacing") or self.fields.get("ElementSize", ""))
        vectors = _VECTOR.findall(self.fields.get("space directions", ""))
        if vectors:
            squares = ([n * n for n in _numbers(vector[1:-1])] for vector in vectors)
            return [sum(parts) ** 0.5 for parts in squares]
        # NaN stands for an axis that is none of space, as that of colors.
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
        return None  # the reader tells of it
    # In the same file, voxels follow an empty line, or that with the word LOCAL.
    end = _END_OF_NRRD if is_nrrd else _END_OF_META_IMAGE
    lines = re.split(rb"\r\n|\n|\r", end.split(content, maxsplit=1)[0])
    return _nrrd(path, lines) if is_nrrd else _meta_image(lines)


def check_text_header(path: Path) -> TextHeader | None:
    """Make sure that ITK reads a NRRD or MetaImage file rightly; other files are passed over.

    Returns:
        The header; None of another file.

    Raises:
        InputError: if it does not.
    """
    header = read_text_header(path)
    if header is None:
        return None
    told = header.spacing_mm
    axes = header.fields.get("dimension" if header.is_nrrd else "NDims", "none")
    if len(told) < 3 and axes not in ("none", "1", "2"):  # these are not scans, as ITK tells
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
    """Make sure that a MetaImage in many files has one for each slice: ITK makes up the others."""
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
    """The other files in which an image file keeps its voxels or its header; mostly none.

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
    """What is doubtful about the place of a scan that is not NIfTI: its side, if not told."""
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
    return TextHeader(False, {}, [])  # cut off, as ITK tells


def _texts(lines: list[bytes]) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in lines]


def _numbers(text: str) -> list[float]:
    """The numbers of a field; none if something else stands there."""
    try:
        return [float(part) for part in re.split(r"[ ,\t]+", text.strip()) if part]
    except ValueError:
        return []
