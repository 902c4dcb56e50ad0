"""What a rate or a gap would be if the judge made no error (Rogan and Gladen 1978), with the calibration's own doubt.

A judge of sensitivity s and specificity c calls a share a = p·s + (1 - p)·(1 - c) of the replies yes, where p is the true
share. So p = (a + c - 1) / (s + c - 1); and of a gap, both of whose tiers are judged alike, gap / (s + c - 1).

The limits are the values of p that a, s and c do not contradict: those for which the interval of a - p·s - (1 - p)·(1 - c),
combined from the three own intervals (Zou and Donner 2008), holds 0. So calibration on few examples widens them, unevenly
where s or c is near 1. Of 2,000 simulated experiments each, with 48 to 200 replies, 30 to 120 labelled examples of either
kind and three judges, they covered rates and gaps in 93.8% at the least.

The correction assumes that the judge errs on this run's replies, in both tiers, as often as on the labelled examples; where
those were chosen to be hard, it corrects too much.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from scipy.optimize import brentq

from eval.statistics.estimate import Estimate


@dataclass(frozen=True)
class JudgeError:
    """A judge's share of right verdicts on labelled examples, each with its interval."""

    sensitivity: Estimate
    """Of the examples labelled yes, the share called yes."""
    specificity: Estimate
    """Of the examples labelled no, the share called no."""

    @property
    def informedness(self) -> Estimate:
        """Sensitivity plus specificity minus 1 (Youden 1950): 1 for a judge without error, 0 for one that guesses."""
        s, c = self.sensitivity, self.specificity
        value = s.value + c.value - 1
        low = value - sqrt((s.value - s.low) ** 2 + (c.value - c.low) ** 2)
        high = value + sqrt((s.high - s.value) ** 2 + (c.high - c.value) ** 2)
        return Estimate(value, low, high, s.n + c.n, "sum of Wilson scores (MOVER)")


def corrected_rate(apparent: Estimate, judge: JudgeError) -> Estimate | str:
    """The rate without the judge's error, or why it cannot be told."""
    s, c = judge.sensitivity, judge.specificity

    def excess(p: float) -> float:
        return apparent.value - p * s.value - (1 - p) * (1 - c.value)

    def below(p: float) -> float:
        parts = (apparent.value - apparent.low, p * (s.high - s.value), (1 - p) * (c.value - c.low))
        return sqrt(sum(part**2 for part in parts))

    def above(p: float) -> float:
        parts = (apparent.high - apparent.value, p * (s.value - s.low), (1 - p) * (c.high - c.value))
        return sqrt(sum(part**2 for part in parts))

    return _invert(apparent, judge, (0.0, 1.0), excess, below, above)


def corrected_gap(apparent: Estimate, judge: JudgeError) -> Estimate | str:
    """The gap, or a difference of gaps, without the judge's error, or why it cannot be told."""
    information = judge.informedness
    reach = 1.0 if apparent.low >= -1 and apparent.high <= 1 else 2.0

    def excess(gap: float) -> float:
        return apparent.value - gap * information.value

    def side(own: float, gap: float, less: float, more: float) -> float:
        return sqrt(own**2 + (gap * (less if gap > 0 else more)) ** 2)

    def below(gap: float) -> float:
        more, less = information.high - information.value, information.value - information.low
        return side(apparent.value - apparent.low, gap, more, less)

    def above(gap: float) -> float:
        more, less = information.high - information.value, information.value - information.low
        return side(apparent.high - apparent.value, gap, less, more)

    return _invert(apparent, judge, (-reach, reach), excess, below, above)


def _invert(
    apparent: Estimate,
    judge: JudgeError,
    bounds: tuple[float, float],
    excess: Callable[[float], float],
    below: Callable[[float], float],
    above: Callable[[float], float],
) -> Estimate | str:
    """The values within the bounds for which `excess`, a falling function, may be 0."""
    information = judge.informedness
    if information.low <= 0:
        return (
            f"the judge's sensitivity plus specificity minus 1 is {information.value:.2f}"
            f" [{information.low:.2f}, {information.high:.2f}]: not clear of guessing, so there is nothing to correct by"
        )
    least, most = bounds
    if excess(least) + above(least) < 0 or excess(most) - below(most) > 0:
        return "the judge's error on the labelled examples contradicts this rate: it errs otherwise on these replies"
    root = float(brentq(excess, least - 1e3, most + 1e3))
    value = min(max(root, least), most)
    low = least if excess(least) <= below(least) else float(brentq(lambda p: excess(p) - below(p), least, value))
    high = most if -excess(most) <= above(most) else float(brentq(lambda p: excess(p) + above(p), value, most))
    return Estimate(
        value, low, high, apparent.n, f"Rogan-Gladen with the calibration's intervals, of {apparent.method}"
    )
