"""What the command line does beside serving: one file a command."""
