"""The link to our firmware: frames, streams, requests."""
