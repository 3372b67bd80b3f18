"""Requests turned into stored frames: state, exposure, checks, files, and what to do when a device fails."""
