"""What is drawn and typed at a terminal: line editor, prompt, menu."""
