"""What the project adds to doit: how tasks run, what is printed, new commands."""
