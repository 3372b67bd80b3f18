"""Commands: parse, call, render; nothing else. Everything heavy is imported inside the functions."""
