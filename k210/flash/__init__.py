"""What lies in a board's flash: where, in which form, and how it gets there."""
