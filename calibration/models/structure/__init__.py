"""What is new between two epochs of flats or darks, on planes: differences, significance, shapes and histories."""
