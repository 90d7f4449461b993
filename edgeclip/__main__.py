"""``python -m edgeclip``: the commands, where the script is not on the path."""

from .cli import main

main(prog_name="edgeclip")
