"""How the stages meet: artifacts, access to models, seeds, errors. `python -m pipeline` runs an experiment's stages."""
