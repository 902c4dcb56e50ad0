"""What becomes of documents that passed: counts, the dataset card, and mixtures to train on."""
