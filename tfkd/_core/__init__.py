"""Internal foundations for all packages: names, files, graphs, fingerprints."""
