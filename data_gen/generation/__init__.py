"""How documents are asked for: facts become specs, specs become requests, and replies become documents."""
