"""The configuration file and what it may say."""
