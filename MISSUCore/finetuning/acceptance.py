"""The acceptance test: is a tuned model better than its base, on cases neither was tuned on?

The cases are split into folds. For each fold a model is tuned on the other folds and tried on this
one, after several numbers of steps and with several interpolation weights of the tuned model (see
:func:`.transfer.interpolated`); the model that the user gets is tuned on all cases, with the steps
and the weight that did best. To keep the scores unbiased, those of a fold are taken with the steps
and weight that the *other* folds choose. Cases that the base was already tuned on are in no fold:
all models learn from them, and none is tested on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..contract.tuning.verdict import (
    AcceptanceTest,
    CaseDice,
    Dice,
    Forgetting,
    MeanDice,
    RetainedDice,
    Verdict,
)

MINIMUM_GAIN = 0.01
MAXIMUM_LOSS = 0.01
# Measured with tunings of the bundled model on five cases: below 0.95 they lost 0.03 of Dice on the
# held-out BraTS cases, above it less than 0.01, though all gained on the simulated ones.
MINIMUM_AGREEMENT = 0.95
RULE = (
    "better: on cases that neither model was tuned on, mean Dice over cases and regions rises by "
    f"{MINIMUM_GAIN} or more, and at least half of the cases gain; forgets: it does, but on the "
    f"cases for checking what was forgotten it falls by more than {MAXIMUM_LOSS}, or the Dice of "
    f"the two models' answers with each other is below {MINIMUM_AGREEMENT}"
)


@dataclass(frozen=True)
class Setting:
    """How far a model is tuned.

    Attributes:
        steps: of the optimizer.
        mix: interpolation weight of the tuned model, the rest being the base's.
    """

    steps: int
    mix: float


# Dice by region, for each setting.
SettingScores = Mapping[Setting, NDArray[np.float64]]


@dataclass(frozen=True)
class CaseScores:
    """Dice of a case by region: arrays (regions,).

    Attributes:
        case: its name.
        fold: the fold in which it was held out, from 1.
        base: of the base model; None if it was trained for another task.
        tuned: of the models tuned without this case.
    """

    case: str
    fold: int
    base: NDArray[np.float64] | None
    tuned: SettingScores

    def gain(self, setting: Setting) -> float:
        """Mean Dice over the regions, minus that of the base if there is one."""
        return float(np.mean(self.tuned[setting] - (0 if self.base is None else self.base)))


@dataclass(frozen=True)
class Retention:
    """Dice of a case that the user did not give, by region: arrays (regions,).

    Attributes:
        case: its name.
        base: of the base model.
        tuned: of the final model, by interpolation weight.
        agreement: of that model's answer with the base model's, by interpolation weight.
    """

    case: str
    base: NDArray[np.float64]
    tuned: Mapping[float, NDArray[np.float64]]
    agreement: Mapping[float, NDArray[np.float64]]


def best_setting(scores: Sequence[CaseScores], allowed: Collection[float]) -> Setting:
    """The setting with the highest mean Dice; of equal ones the least tuned.

    Args:
        scores: of the cases that choose.
        allowed: interpolation weights that may be chosen.
    """
    settings = [setting for setting in scores[0].tuned if setting.mix in allowed]
    return max(
        settings,
        key=lambda setting: (
            np.mean([score.gain(setting) for score in scores]),
            -setting.mix,
            -setting.steps,
        ),
    )


def final_setting(scores: Sequence[CaseScores], allowed: Collection[float]) -> Setting:
    """The setting of the final model, chosen on these cases.

    The steps are chosen first: only once the model is tuned can it be known with which
    interpolation weights it forgets little.

    Args:
        scores: of the cases that choose.
        allowed: interpolation weights that may be chosen.
    """
    steps = best_setting(scores, {setting.mix for setting in scores[0].tuned}).steps
    return best_setting([_after(score, steps) for score in scores], allowed)


def unbiased_settings(
    scores: Sequence[CaseScores], allowed: Collection[float]
) -> dict[int, Setting]:
    """The setting for each fold, chosen on the other folds."""
    return {
        fold: final_setting([score for score in scores if score.fold != fold], allowed)
        for fold in {score.fold for score in scores}
    }


def allowed_mixes(forgetting: Sequence[Retention], mixes: Sequence[float]) -> list[float]:
    """The interpolation weights that forget little; all if there are no cases to check on."""
    return [
        mix
        for mix in mixes
        if not forgetting
        or (
            _loss(forgetting, mix) <= MAXIMUM_LOSS
            and _agreement(forgetting, mix) >= MINIMUM_AGREEMENT
        )
    ]


def accept(
    scores: Sequence[CaseScores],
    kept: Sequence[Retention],
    regions: Sequence[str],
    not_judged: Sequence[str] = (),
) -> AcceptanceTest:
    """The result of the acceptance test: table and verdict.

    Args:
        scores: of the cases, each by models that were tuned without it.
        kept: retention of the final model; empty if there are no cases to check it on.
        regions: their names.
        not_judged: names of training cases that the base was already tuned on.
    """
    mixes = sorted({setting.mix for setting in scores[0].tuned}, reverse=True)
    allowed = allowed_mixes(kept, mixes)
    chosen = unbiased_settings(scores, allowed or mixes)
    final = final_setting(scores, allowed or mixes)
    tuned = [score.tuned[chosen[score.fold]] for score in scores]
    known = [score.base for score in scores if score.base is not None]
    gains = [score.gain(chosen[score.fold]) for score in scores] if known else []
    verdict, reason = _verdict(gains, bool(allowed), bool(kept))
    return AcceptanceTest(
        verdict=verdict,
        reason=reason + _left_out(len(not_judged)),
        rule=RULE,
        regions=tuple(regions),
        folds=len(chosen),
        steps=final.steps,
        mix=final.mix,
        cases=tuple(
            CaseDice(
                score.case,
                score.fold,
                None if score.base is None else _named(score.base, regions),
                _named(values, regions),
            )
            for score, values in zip(scores, tuned)
        ),
        mean=MeanDice(
            _named(np.mean(known, axis=0), regions) if known else None,
            _named(np.mean(tuned, axis=0), regions),
            round(float(np.mean(gains)), 4) if gains else None,
        ),
        not_judged=tuple(not_judged),
        forgetting=_forgetting(kept, final.mix, regions) if kept else None,
    )


def _verdict(gains: Sequence[float], keeps: bool, checked: bool) -> tuple[Verdict, str]:
    """Verdict and reason, from the gain of each case and whether enough knowledge is retained."""
    if not gains:
        return (
            Verdict.NEW_TASK,
            "the base model does another task: there is nothing to compare with",
        )
    gain, improved = float(np.mean(gains)), sum(value > 0 for value in gains)
    of_all = f"{improved} of {len(gains)} gain"
    if gain < MINIMUM_GAIN or 2 * improved < len(gains):
        missed = (
            f"at least {MINIMUM_GAIN:+.3f} is asked for"
            if gain < MINIMUM_GAIN
            else "at least half must gain"
        )
        return Verdict.NOT_BETTER, (
            f"on cases it was not tuned on, mean Dice changes by {gain:+.3f}, and {of_all}; "
            f"{missed}"
        )
    if not keeps:
        return Verdict.FORGETS, (
            f"it gains {gain:.3f} of mean Dice on cases like yours ({of_all}), but its answers to "
            f"others have changed too much (at most {MAXIMUM_LOSS:g} of Dice may be lost, and "
            f"the answers' Dice with each other must be {MINIMUM_AGREEMENT:g} or more)"
        )
    doubt = "" if checked else "; what it forgot could not be checked"
    return Verdict.BETTER, (
        f"it gains {gain:.3f} of mean Dice on cases it was not tuned on ({of_all}){doubt}"
    )


def _left_out(cases: int) -> str:
    if not cases:
        return ""
    return f"; not judged by {cases} more of your cases, for the base was tuned on them already"


def _forgetting(kept: Sequence[Retention], mix: float, regions: Sequence[str]) -> Forgetting:
    return Forgetting(
        cases=tuple(
            CaseDice(
                case.case,
                base=_named(case.base, regions),
                tuned=_named(case.tuned[mix], regions),
            )
            for case in kept
        ),
        mean=RetainedDice(
            base=_named(np.mean([case.base for case in kept], axis=0), regions),
            tuned=_named(np.mean([case.tuned[mix] for case in kept], axis=0), regions),
            loss=round(_loss(kept, mix), 4),
            agreement=round(_agreement(kept, mix), 4),
        ),
    )


def _loss(forgetting: Sequence[Retention], mix: float) -> float:
    return float(np.mean([case.base - case.tuned[mix] for case in forgetting]))


def _agreement(forgetting: Sequence[Retention], mix: float) -> float:
    return float(np.mean([case.agreement[mix] for case in forgetting]))


def _after(score: CaseScores, steps: int) -> CaseScores:
    """The scores after a number of steps."""
    tuned = {setting: dice for setting, dice in score.tuned.items() if setting.steps == steps}
    return replace(score, tuned=tuned)


def _named(values: NDArray[np.float64], regions: Sequence[str]) -> Dice:
    return {name: round(float(value), 4) for name, value in zip(regions, values)}


def format_table(test: AcceptanceTest) -> str:
    """Figures and verdict for a terminal: base -> tuned, case by case.

    "Others" are cases that the user did not give: has anything been forgotten?
    """
    names = test.regions
    rows = [("Dice", list(names))]
    rows += [(case.case, _cells(names, case)) for case in test.cases]
    rows.append(("mean of your cases", _cells(names, test.mean)))
    if test.forgetting:
        rows += [(case.case, _cells(names, case)) for case in test.forgetting.cases]
        rows.append(("mean of others", _cells(names, test.forgetting.mean)))
    width = max(len(row[0]) for row in rows)
    lines = [f"{name:<{width}}  " + "  ".join(f"{cell:>14}" for cell in row) for name, row in rows]
    return "\n".join([*lines, f"{test.verdict}: {test.reason}"])


def _cells(names: Sequence[str], row: CaseDice | MeanDice | RetainedDice) -> list[str]:
    base, tuned = row.base, row.tuned
    if base is None:
        return [f"{tuned[name]:.3f}" for name in names]
    return [f"{base[name]:.3f} -> {tuned[name]:.3f}" for name in names]
