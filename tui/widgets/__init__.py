"""What draws lines and tables on a terminal, and takes keys."""
