"""`python -m dreamkit`, the same as the `dreamkit` command."""

from dreamkit.cli import main

if __name__ == "__main__":
    main()
