"""What to expose next, as typed generators: a plan yields requests and is sent what came of them.

A plan has no camera, clock or file; time reaches it through `FrameResult`. Modules: `settings` (the records plans are
given), `detector`, `bias`, `dark`, `flat`, `exposure_search`, `ladder`, `twilight`, and `sequence` (the night as data).
"""
