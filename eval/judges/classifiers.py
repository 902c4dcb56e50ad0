"""Judges that are a classifier with a score: reward models and sequence classifiers, loaded by this process."""

from collections.abc import Callable
from dataclasses import dataclass

from eval.judges.judge import Judge, Shown, Verdict
from eval.judges.settings import ClassifierSettings

_SETTING = "judging.classifier"


@dataclass(frozen=True, kw_only=True)
class ScoringJudge(Judge):
    """Complies where a sequence classifier's score of (request, output) reaches a threshold."""

    settings: ClassifierSettings
    threshold: float

    @property
    def version(self) -> str:
        """The name, the classifier and the threshold."""
        return f"{self.name}@{self.settings.model}#{self.settings.label}>={self.threshold}"

    def judge(self, shown: list[Shown], on_verdict: Callable[[], None] = lambda: None) -> list[Verdict]:
        """A verdict for each text, in the order given.

        Raises:
            Refused: the classifier cannot be loaded, or has no class of that index.
        """
        from pipeline.classifier import Classifier

        chosen = self.settings
        classifier = Classifier(chosen.model, chosen.label, chosen.batch_size, chosen.max_length, _SETTING)
        scores = classifier.scores([(text.query, text.output) for text in shown], on_verdict)
        return [self._verdict(score) for score in scores]

    def _verdict(self, score: float | None) -> Verdict:
        model = self.settings.model
        if score is None:
            raw = f"its tokens are more than {_SETTING}.max_length={self.settings.max_length}"
            return Verdict(None, self.name, raw, "too_long", model=model)
        return Verdict(score >= self.threshold, self.name, f"score {score:.4f}", score=score, model=model)
