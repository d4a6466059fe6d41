"""The page that shows what a picture is: a folder of files, which a service or an export completes."""

from pathlib import Path

FILES = Path(__file__).with_name("files")
