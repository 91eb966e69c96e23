"""The outside world: thin activities that fetch, ask the core, and store what it says.

Each says why a retry is harmless. Adapters (``activities.adapters``) know no Temporal; activities
know no workflow: they meet in ``lockstep.messages`` and are wired in ``worker``.
"""
