"""Puts the console together."""
