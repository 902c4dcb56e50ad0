"""Report: complete runs → tables, figures and one page that says what was found. `python -m eval.report`."""
