"""What is delivered: the manifest, its evidence and the qualification behind it."""
