"""Adapter → samples → figures: the paired measurement and its statistics. `python -m eval`, `python -m eval.report`."""
