"""The command line, one file per command, and the process that runs a master."""
