"""Sessions of the sandbox, recorded and replayed: every answer has to be the same again.

A `Recorder` writes a line for each request and its answer, and for each webhook;
`replay_lines` and `replay_file` ask a fresh engine the same, at the same times, and compare.
"""

from __future__ import annotations

from .files import RecordingFile, replay_file
from .form import RecordingError
from .recorder import Recorder
from .replay import Difference, Replayed, replay_lines

__all__ = [
    "Difference",
    "Recorder",
    "RecordingError",
    "RecordingFile",
    "Replayed",
    "replay_file",
    "replay_lines",
]
