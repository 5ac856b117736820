"""What is true of the K210 and its boards; a library that knows nothing of stages."""
