"""A claim's figure: our estimates beside the published ones, as one CSV and a drawing of it. `python -m eval.figure`."""
