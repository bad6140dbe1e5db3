"""What is drawn, as lines of words with roles: pure functions of what is known."""
