"""Whole worlds on virtual time: a manager, a faulty service, callers of every kind, and a judge.

``plan`` draws a world from a seed; ``service`` and ``callers`` act it out in ``world``; ``judge``
says what was wrong; ``mutants`` breaks the library on purpose, to show that the judge notices.
``benchmarks/simulation.py`` runs many worlds, or replays one.
"""
