"""Owns the pictures of the console: a made-up system, and a camera that looks at it."""
