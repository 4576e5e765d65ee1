"""The tab "Classes": components named by classes, and what cutting them out changes."""
