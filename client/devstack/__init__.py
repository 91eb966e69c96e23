"""The embedded stack: everything a first rollout needs, as processes of this machine.

Temporal's development server, one worker a role, a ``file://`` store with development trust, and
per environment a demo service behind a real weighted proxy under load. All of it lies in one
folder; ``client dev up / down / status`` are the only ways in (docs/tutorial).
"""
