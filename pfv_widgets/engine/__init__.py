"""Pictures as numbers: the engine, torch only."""
