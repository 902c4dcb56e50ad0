"""How far a judge can be believed, from labelled examples. `python -m eval.calibrate`."""
