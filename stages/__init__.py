"""The stages between a ``pipeline.yaml`` and an accuracy measured on a board."""
