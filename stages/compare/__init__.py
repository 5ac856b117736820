"""Runs side by side: which parameters differ, and what came of it."""
