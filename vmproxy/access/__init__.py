"""What the rules say: values only."""
