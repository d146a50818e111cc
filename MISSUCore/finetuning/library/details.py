"""What is known of a corrected case beside its scans and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...contract.model_identity import ModelIdentity
from ...contract.provenance.record import Provenance


@dataclass(frozen=True)
class CaseDetails:
    """What the user says of a case when it is added to a library.

    Attributes:
        result: label map that the model gave, to say how much was changed; None if unknown.
        model: that model; empty if unknown.
        scene: where the case comes from; nothing that names the patient.
        note: any text.
        tumor: whether there is one; a label map without any must be meant.
        replacing: take the new labels if the scans are in the library already.
        provenance: who changed what in the labels; None if unknown.
    """

    result: Path | None = None
    model: ModelIdentity = field(default_factory=ModelIdentity)
    scene: str = ""
    note: str = ""
    tumor: bool = True
    replacing: bool = False
    provenance: Provenance | None = None
