"""Cutting and augmentation of training patches."""
