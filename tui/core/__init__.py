"""What the console knows and decides: plain values, no drawing, no I/O."""
