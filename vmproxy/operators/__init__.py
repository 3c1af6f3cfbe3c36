"""What an operator can do and see, for every front."""
