"""Preference tuning: a trained model is taught which of two stories is the better."""
