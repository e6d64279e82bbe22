"""The project that soaks: the cluster tests' own, with live models, a probe in each process, and leaks on demand."""
