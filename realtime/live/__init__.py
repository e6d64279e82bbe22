"""Live models: which rows are shown in which channels, and how their changes become publications."""
