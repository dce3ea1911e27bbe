"""What every room needs and no user sees: names, files, graphs, fingerprints."""
