"""Headline figures of fedspark, measured side by side with other systems: ``python -m benchmarks.psi --help``.

``harness`` runs cases and prints them, ``worker`` is the child process in which one side is measured, ``cpu`` the
clock, ``ours`` and ``peers`` the sides. See README.md.
"""
