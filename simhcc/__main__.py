"""`python -m simhcc` is the command `simhcc`."""

from simhcc.cli import main

if __name__ == "__main__":
    main()
