"""Components named by the classes whose score they raise and lower."""
