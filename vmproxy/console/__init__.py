"""What a console is: its state, its log, who is on it and who may write. No sockets, no protocols."""
