"""The parts of a K210 board that exist on the host only."""
