"""The daemon: a light process that keeps the library complete and fresh; every run of it is a child process."""
