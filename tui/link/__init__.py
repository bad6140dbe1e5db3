"""The console's link to the control plane: REST, live events, recordings."""
