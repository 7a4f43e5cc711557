"""The networks of the list in docs/networks.md, a family a section, and what is measured of each."""
