"""``python -m papsms_async.cli`` is ``papsms``."""

from papsms_async.cli import main

if __name__ == "__main__":
    main()
