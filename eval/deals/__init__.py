"""Offers to object and be paid: what was objected to, what was promised and kept. `python -m eval.deals`."""
