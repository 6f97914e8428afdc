"""Makes `simworld`, the simulation itself, importable: the long run uses it too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
