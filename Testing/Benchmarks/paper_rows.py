"""The rows of the paper's tables, the paper's figures beside them, and what is trained for each.

A row of one table is often that of another: 'Transformer alone' of Table IV is all that TransBTS
is, and MISSU stands in four. So rows name a run, and a run is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BRATS, CHAOS = "brats", "chaos"


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        key: name of its folder.
        changes: settings that differ from those of MISSU, as ``missu train --set`` takes them.
        peer: another network, of ``networks.BUILDERS``.
        teacher: the run whose network teaches this one, which sees T1ce alone.
    """

    key: str
    changes: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    teacher: Run | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Changes of the settings of MISSU; another network has no fusion."""
        return {"network.fusion": "none"} if self.peer else dict(self.changes)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: title in the paper.
        run: the run that is trained for it; None if it cannot be trained.
        brats_dice: the paper's Dice of WT, TC and ET in percent; empty if it gives none.
        brats_distance: the paper's 'HD' of these regions in mm, which is an average.
        chaos: the paper's accuracy and Dice, in percent.
        cost: the paper's parameters and multiply-adds, in millions and billions.
        note: how it differs from the paper's row, or why it is not trained.
    """

    title: str
    run: Run | None
    brats_dice: tuple[float, ...] = ()
    brats_distance: tuple[float, ...] = ()
    chaos: tuple[float, ...] = ()
    cost: tuple[float, ...] = ()
    note: str = ""


MISSU = Run("missu")
BASE = Run("base", {"network.transformer": "false", "network.fusion": "none"})
TRANSFORMER = Run("transformer", {"network.fusion": "none"})
MSF = Run("msf", {"network.transformer": "false", "distillation_weight": "0"})
MSF_DISTILLED = Run("msf-distilled", {"network.transformer": "false"})
TRANSFORMER_MSF = Run("transformer-msf", {"distillation_weight": "0"})
EXPLICIT = Run("transformer-explicit-msf", {"network.fusion": "output"})


def _peer(name: str) -> Run:
    return Run(name.lower().replace(" ", "-"), peer=name)


UNET3D = _peer("3D U-Net")
KD_NET = Run("kd-net", peer="3D U-Net", teacher=UNET3D)

NO_LIBRARY = "not trained: no kept library has it, and the paper does not describe it"
ALSO = "not in the paper"
ALIKE_TRANSBTS = "ours without fusion and distillation: TransBTS is a CNN, a Transformer, a decoder"

MISSU_FIGURES = {
    "brats_dice": (89.98, 85.77, 80.14),
    "brats_distance": (0.5008, 0.9423, 1.8562),
    "chaos": (96.78, 95.55),
}
EXTRA = tuple(Row(name, _peer(name), note=ALSO) for name in ("SegResNet", "SwinUNETR"))
ATTENTION = Row("attention U-Net", _peer("attention U-Net"), note=ALSO)

TABLE_1 = (
    Row("3D U-Net", UNET3D, (87.38, 72.48, 70.86)),
    Row("nnU-Net", _peer("DynUNet"), (89.67, 84.01, 78.55), note="its network, MONAI's DynUNet"),
    Row(
        "KD-Net",
        KD_NET,
        (78.52, 82.70, 72.89),
        note="a 3D U-Net that sees T1ce alone, taught by the 3D U-Net; soft labels only",
    ),
    Row("Supervoxel", None, (85.11, 79.34, 72.15), note=NO_LIBRARY),
    Row("UNETR", _peer("UNETR"), (79.00, 75.82, 60.62)),
    Row("MeTrans", None, (87.33, 74.39, 63.19), note=NO_LIBRARY),
    Row("TransUNet", None, (89.48, 78.91, 78.17), note=NO_LIBRARY),
    Row("TransBTS", TRANSFORMER, (88.89, 81.41, 78.36), note=ALIKE_TRANSBTS),
    *EXTRA,
    ATTENTION,
    Row("V-Net", _peer("V-Net"), note="in the paper for CHAOS only"),
    Row("MISSU", MISSU, MISSU_FIGURES["brats_dice"]),
)
# The figures of Table II are lost from the text at hand, but for MISSU's, which Table IV repeats.
TABLE_2 = (
    Row("V-Net", _peer("V-Net")),
    Row("DAF", None, note=NO_LIBRARY),
    Row("MSSA", None, note=NO_LIBRARY),
    Row("TransClaw", None, note=NO_LIBRARY),
    Row("3D U-Net", UNET3D, note=ALSO),
    Row("nnU-Net", _peer("DynUNet"), note=f"{ALSO}; MONAI's DynUNet"),
    Row("UNETR", _peer("UNETR"), note=ALSO),
    *EXTRA,
    ATTENTION,
    Row("MISSU", MISSU, chaos=MISSU_FIGURES["chaos"]),
)
TABLE_3 = (
    Row("3D U-Net", UNET3D, cost=(16.32, 1670.0)),
    Row("nnU-Net", _peer("DynUNet"), cost=(19.07, 412.65)),
    Row("TransUNet", None, cost=(96.07, 48.34), note=NO_LIBRARY),
    Row("TransBTS", TRANSFORMER, cost=(15.14, 208.0), note=ALIKE_TRANSBTS),
    Row("UNETR", _peer("UNETR"), cost=(102.5, 193.5)),
    Row("Transformer + MSF (MS-output)", EXPLICIT, cost=(17.38, 196.61)),
    Row("MISSU", MISSU, cost=(10.50, 132.11)),
    *EXTRA,
    ATTENTION,
    Row("V-Net", _peer("V-Net"), note=ALSO),
)
TABLE_4 = (
    Row("base", BASE, (84.00, 74.00, 71.00), (2.4624, 2.0845, 3.2057), (81.14, 81.45)),
    Row(
        "Transformer", TRANSFORMER, (86.97, 82.16, 77.45), (1.6653, 1.8413, 2.9979), (92.13, 93.10)
    ),
    Row("MSF (local)", MSF, (86.54, 82.21, 77.56), (1.5583, 1.7869, 2.9587), (93.00, 93.86)),
    Row(
        "MSF (local) + distillation",
        MSF_DISTILLED,
        (87.71, 83.35, 78.82),
        (1.3870, 1.6984, 2.7892),
        (94.54, 94.88),
    ),
    Row(
        "Transformer + MSF (local)",
        TRANSFORMER_MSF,
        (88.63, 84.01, 79.24),
        (1.0901, 1.3400, 2.5900),
        (95.28, 95.32),
    ),
    Row(
        "Transformer + MSF (MS-output)",
        EXPLICIT,
        (90.69, 86.20, 80.73),
        (0.4612, 0.8099, 1.9554),
        (97.09, 96.12),
    ),
    Row("MISSU", MISSU, **MISSU_FIGURES),
)


def _scale(layers: int, embedding: int) -> Run:
    return Run(
        f"layers-{layers}-embedding-{embedding}",
        {"network.layers": str(layers), "network.embedding": str(embedding)},
    )


TABLE_5 = (
    Row(
        "L = 1, d = 512",
        _scale(1, 512),
        (79.02, 75.34, 71.50),
        (1.8427, 2.2478, 2.9133),
        (78.99, 79.11),
    ),
    Row(
        "L = 8, d = 512",
        _scale(8, 512),
        (80.55, 76.89, 73.58),
        (1.7207, 2.0986, 2.3585),
        (82.33, 82.96),
    ),
    Row(
        "L = 4, d = 384",
        _scale(4, 384),
        (83.74, 79.89, 75.01),
        (1.4501, 1.6233, 2.1783),
        (90.06, 89.66),
    ),
    Row("L = 4, d = 512", MISSU, **MISSU_FIGURES),
    Row(
        "L = 4, d = 768",
        _scale(4, 768),
        (85.15, 80.27, 75.83),
        (1.1555, 1.4993, 2.0966),
        (92.18, 93.19),
    ),
)
# Figure 5, which has no numbers in the text.
SKIPS = (
    *(
        Row(f"{skips} skip connections", Run(f"skips-{skips}", {"network.skips": str(skips)}))
        for skips in range(3)
    ),
    Row("3 skip connections", MISSU, MISSU_FIGURES["brats_dice"]),
)

TABLES: dict[str, tuple[Row, ...]] = {
    "1": TABLE_1,
    "2": TABLE_2,
    "3": TABLE_3,
    "4": TABLE_4,
    "5": TABLE_5,
    "skips": SKIPS,
}
# What the tables without a data set of their own are trained on.
TASK_OF_TABLE = {table: CHAOS if table == "2" else BRATS for table in TABLES}
