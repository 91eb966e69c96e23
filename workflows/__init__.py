"""Durable order of steps: which activity, when, how often, and what stops it.

Deterministic: no clock but ``workflow.now()``, no randomness, no I/O, no set order. Decisions are
``lockstep``'s, effects are the activities'; the two packages never meet except in messages.
"""
