"""The functions of `flotilla.speedups` in Python: what each of them means, and what runs where there is no C."""
