"""Settings, the feature store, and :class:`PFV`, which renders a :class:`Frame`."""
