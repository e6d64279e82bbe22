"""The jobs. Each module here knows what it measures; `jobs.base` what they share."""
