"""Details of a corrected case besides its scans and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...contract.model_identity import ModelIdentity
from ...contract.provenance.record import Provenance


@dataclass(frozen=True)
class CaseDetails:
    """Details that the user gives when adding a case to a library.

    Attributes:
        result: the model's label map, to measure how much was corrected; None if unknown.
        model: that model; empty if unknown.
        scene: where the case comes from; nothing that names the patient.
        note: any text.
        tumor: whether there is one; False confirms that an empty label map is intended.
        replacing: replace the labels if the scans are already in the library.
        provenance: who changed what in the labels; None if unknown.
    """

    result: Path | None = None
    model: ModelIdentity = field(default_factory=ModelIdentity)
    scene: str = ""
    note: str = ""
    tumor: bool = True
    replacing: bool = False
    provenance: Provenance | None = None
