"""The tables of the paper as runs: lists, trains, scores and tells every row, in one harness.

    python Testing/Benchmarks/paper.py --table 1 --data BRATS_FOLDER --output OUT
        [--budget small] [--steps 344 | --core-hours 2] [--seeds 1000 1001 1002] [--rows MISSU ...]
    python Testing/Benchmarks/paper.py --table 2 --data CHAOS_FOLDER --output OUT
    python Testing/Benchmarks/paper.py --table 1 2 3 4 5 skips --list

Tables 1 (BraTS), 2 (CHAOS), 3 (cost, nothing is trained), 4 (parts), 5 (scale of the Transformer),
and skips (Figure 5). Same cases, patches, augmentation, loss, rate, steps and seeds for all rows;
``--task chaos`` trains the rows of 4 and 5 on CHAOS. Budgets: ``small`` (BraTS at 2 mm, CHAOS at
5 mm, for a CPU), ``1mm`` (BraTS patches of 96 voxels, a third of them around tumors), ``paper``
(its recipe: 1000 epochs of batch 4). Every run is a folder of OUT with its result as JSON: what is
done is not done again, and what was stopped goes on. ``--core-hours`` gives each row the steps that
fit, by timing some. Figures are mean and standard deviation over the seeds of the mean over the
held-out cases, on their own grids; below the table, how far the last row is above the others. Needs
MONAI and einops: ``pip install -e ".[benchmarks]"``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from held_out import add_names, split
from networks import peer
from paper_results import differences, paper_cells, result_path, table
from paper_rows import BRATS, CHAOS, TABLES, TASK_OF_TABLE, Row, Run
from paper_training import BUDGETS, Task, chaos_task, steps_in, train_run
from torch import nn

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, TerminalBar
from MISSUCore.core.files import read_json, write_json
from MISSUCore.network.cost import network_cost
from MISSUCore.network.transunet import TransUNet
from MISSUCore.training.presets import training_config

COST_SIZE = (128, 128, 128)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--table", nargs="+", choices=TABLES, required=True)
    made.add_argument("--data", type=Path, help="folder of BraTS or CHAOS cases")
    made.add_argument("--output", type=Path, default=Path("paper-runs"))
    made.add_argument("--task", choices=(BRATS, CHAOS), help="by default that of the table")
    made.add_argument("--budget", choices=BUDGETS, default="small")
    length = made.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=0, help="by default the budget's epochs")
    length.add_argument("--core-hours", type=float, help="of every row and seed")
    made.add_argument("--seeds", type=int, nargs="+", default=[1000, 1001, 1002])
    made.add_argument("--rows", nargs="+", help="titles; by default all")
    add_names(made)
    made.add_argument("--device", default="cpu")
    made.add_argument("--list", action="store_true", help="train nothing")
    return made


def main() -> None:
    """List the rows, or train the unfinished ones and print the tables."""
    options = parser().parse_args()
    for name in options.table:
        rows = chosen(TABLES[name], options.rows)
        if name == "3":
            print(f"\nTable 3\n\n{cost_table(rows)}")
            continue
        task_name = options.task or TASK_OF_TABLE[name]
        folder = options.output / f"{task_name}-{options.budget}"
        if options.list:
            print(f"\nTable {name}, {task_name}\n")
            print("\n".join(listed(row, task_name, folder, options.seeds) for row in rows))
            continue
        if options.data is None:
            raise SystemExit("give --data, or --list")
        train_rows(rows, task(task_name, options), options)
        text = table(rows, task_name, folder)
        (folder / f"table-{name}.md").write_text(text + "\n", encoding="utf-8")
        print(f"\nTable {name}, {task_name}\n\n{text}\n\n{differences(rows, task_name, folder)}")


def chosen(rows: Sequence[Row], titles: Sequence[str] | None) -> list[Row]:
    """The rows with these titles, in the order of the table."""
    unknown = set(titles or ()) - {row.title for row in rows}
    if unknown:
        raise SystemExit(f"no row {', '.join(sorted(unknown))}; see --list")
    return [row for row in rows if not titles or row.title in titles]


def task(name: str, options: argparse.Namespace) -> Task:
    """The task that the rows are trained on."""
    if name not in BUDGETS[options.budget]:
        raise SystemExit(f"there is no budget {options.budget} for {name}")
    if name == CHAOS:
        return chaos_task(options.data, options.output, options.budget, options.device)
    folder = options.output / f"{BRATS}-{options.budget}"
    training, testing = split(options.data, options.names)
    return Task(BRATS, options.budget, BRATS_MODALITIES, training, testing, folder, options.device)


def train_rows(rows: Iterable[Row], what: Task, options: argparse.Namespace) -> None:
    """Train every row that can be trained: all rows with one seed, then with the next."""
    for seed in options.seeds:
        for row in rows:
            if row.run is None:
                continue
            progress = Progress(TerminalBar())
            steps = options.steps
            if options.core_hours:
                steps = remembered_steps(what, row.run, seed, options.core_hours)
            print(f"{row.title}, seed {seed}, {steps or 'all'} steps", flush=True)
            train_run(what, row.run, seed, steps, progress)


def remembered_steps(what: Task, run: Run, seed: int, core_hours: float) -> int:
    """The steps that fit into the core hours; stored, so that a resumed run has the same number."""
    path = result_path(what.folder, run, seed).with_name("budget.json")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = steps_in(what, run, seed, core_hours)
        write_json(path, {"core_hours": core_hours, "steps": steps})
    kept = read_json(path)
    if kept["core_hours"] != core_hours:
        raise InputError(f"{path}: is of {kept['core_hours']} core hours; give another folder")
    return int(kept["steps"])


def listed(row: Row, task_name: str, folder: Path, seeds: Sequence[int]) -> str:
    """A line for a row: the stored results, the paper's figures, and the note."""
    figures = ", ".join(filter(None, paper_cells(row, task_name)))
    if row.run is None:
        return f"- {row.title}: {row.note} (paper: {figures or 'not known'})"
    done = sum(result_path(folder, row.run, seed).exists() for seed in seeds)
    facts = [f"{done} of {len(seeds)} seeds done", f"paper: {figures or 'not known'}"]
    return f"- {row.title}: {'; '.join([*facts, row.note] if row.note else facts)}"


def cost_table(rows: Iterable[Row]) -> str:
    """Parameters and multiply-adds at 4 x 128 x 128 x 128, as the paper's Table III."""
    lines = [
        "| row | parameters | paper's | multiply-adds, no attention products | every product "
        "| paper's | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = ["", "", ""]
        if row.run:
            cost = network_cost(network(row.run), (4, *COST_SIZE))
            counts = (cost.multiply_adds_without_attention, cost.multiply_adds)
            cells = [f"{cost.parameters / 1e6:.2f} M", *(f"{n / 1e9:.1f} G" for n in counts)]
        parameters, products = (f"{x:g}" for x in row.cost) if row.cost else ("", "")
        line = [row.title, cells[0], parameters, *cells[1:], products, row.note]
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def network(run: Run) -> nn.Module:
    """The segmentation network of a run, as the paper would train it."""
    if run.peer:
        return peer(run.peer, 4, COST_SIZE).eval()
    return TransUNet(training_config("paper-brats", run.settings).network_for_task()).eval()


if __name__ == "__main__":
    main()
