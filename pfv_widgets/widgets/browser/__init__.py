"""The only code that knows ipycanvas, and the script of the page."""
