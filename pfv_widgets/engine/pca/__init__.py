"""Moments of feature vectors, eigensolvers and the principal basis."""
