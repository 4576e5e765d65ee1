"""Methods × networks × images side by side."""
