"""Chats to learn from instead of documents: positive controls, and transcripts to imitate."""
