"""The composition root: settings in, clients built, one worker process run per role."""
