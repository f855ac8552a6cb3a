"""Photographs as training and test data: LR/HR pairs, augmentation, the training pipeline."""
