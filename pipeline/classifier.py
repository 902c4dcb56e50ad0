"""Sequence classifiers and reward models of transformers: a score for a request and what was answered.

A reward model gives one number on a scale of its own; a classifier gives the probability of one of its classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import Refused
from pipeline.language_model import best_device, load_tokenizer, model_location


class Classifier:
    """A classifier in this process, on the accelerator where there is one."""

    def __init__(
        self, name: str, label: int = 1, batch_size: int = 8, max_length: int = 4096, setting: str = "classifier"
    ) -> None:
        """Loads it.

        Args:
            name: a folder, or a name on the Hub; safetensors only.
            label: index of the class whose probability is the score; not looked at where there is one output.
            batch_size: texts at once.
            max_length: tokens of request and answer at most.
            setting: what the configuration calls it, for refusals.

        Raises:
            Refused: it cannot be loaded, or has no class of that index.
        """
        import torch
        from transformers import AutoModelForSequenceClassification

        self.label, self.batch_size, self.max_length = label, batch_size, max_length
        self.tokenizer: Any = load_tokenizer(name)
        self.tokenizer.padding_side = "right"
        try:
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                model_location(name), use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError) as error:  # the second where the folder holds another kind of model
            told = str(error).strip().splitlines()[0]
            raise Refused(f"{setting}.model={name}: cannot be loaded ({told})") from None
        if not 0 <= label < max(2, model.config.num_labels):
            raise Refused(f"{setting}.label={label}: {name} has {model.config.num_labels} classes")
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self.tokenizer.pad_token_id
        if best_device() == torch.device("cpu"):
            model = model.float()  # half precision on a CPU is slow and, for some layers, missing
        self.model = model.to(best_device()).eval()

    def scores(
        self, pairs: Sequence[tuple[str, str]], on_score: Callable[[], None] = lambda: None
    ) -> list[float | None]:
        """The score of each request and answer, in the order given; None for one that is too long, which is not cut."""
        import torch

        scores: list[float | None] = []
        for start in range(0, len(pairs), self.batch_size):
            texts = [self._text(request, answer) for request, answer in pairs[start : start + self.batch_size]]
            tokens = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            fits = [i for i, ids in enumerate(tokens) if len(ids) <= self.max_length]
            found: dict[int, float] = {}
            if fits:
                encoded = self.tokenizer(
                    [texts[i] for i in fits], add_special_tokens=False, padding=True, return_tensors="pt"
                )
                with torch.inference_mode():
                    logits = self.model(**encoded.to(self.model.device)).logits.float()
                found = dict(zip(fits, self._of_label(logits), strict=True))
            for i in range(len(texts)):
                scores.append(found.get(i))
                on_score()
        return scores

    def _of_label(self, logits: Any) -> list[float]:
        """Scores of a batch from its logits, shape (texts, classes)."""
        if logits.shape[1] == 1:
            return [float(value) for value in logits[:, 0]]
        return [float(value) for value in logits.softmax(dim=1)[:, self.label]]

    def _text(self, request: str, answer: str) -> str:
        """The pair as the classifier's own chat, or, where its tokenizer has no template, one after the other."""
        if self.tokenizer.chat_template is None:
            return f"{request}{self.tokenizer.sep_token or chr(10)}{answer}"
        chat = [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
        return str(self.tokenizer.apply_chat_template(chat, tokenize=False))
