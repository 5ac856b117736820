"""The commands of ``python -m k210``, one module each."""
