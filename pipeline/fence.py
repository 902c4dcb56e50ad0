"""Marks around untrusted text in a prompt that the text itself cannot close."""

import hashlib


def fenced(name: str, text: str) -> str:
    """`text` between two marks of that name; a text cannot hold its own hash, so nothing in it passes for the end of it."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"<<{name} {mark}\n{text}\n{name} {mark}>>"
