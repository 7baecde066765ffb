"""From reduced runs to a study's image: projection, bins with errors, background."""
