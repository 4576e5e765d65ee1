"""The sub-commands of ``pfv-widgets``, one file each: ``add_options(parser)``, ``run(options)``."""
