"""What a model is taught: one folder a scenario, plain text and data, and their loader. Imports no stage."""
