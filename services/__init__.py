"""The imperative shell: files, clock, threads, network — everything that touches the world."""
