"""Seeds that depend on what is drawn and not on the order in which it is drawn."""

import hashlib


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from the words given: the same words, the same seed, on any machine and in any order of work."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
