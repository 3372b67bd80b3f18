"""Models of a detector on planes: fitted and predicted here, read and written by `services.models`."""
