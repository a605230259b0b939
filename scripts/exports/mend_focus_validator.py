"""Makes focus-validator 2.2.1 run on Python 3.11.

It declares 3.12 for the sake of one f-string that holds a backslash. Run by the interpreter of its own environment; does
nothing where that line is not there.
"""

import pathlib
import sysconfig

file = pathlib.Path(sysconfig.get_paths()["purelib"], "focus_validator/config_objects/focus_to_duckdb_converter.py")
text = file.read_text()
line = """f"'{k.replace('\\"', '\\"\\"')}'" for k in ignore_keys"""
instead = """"'" + k.replace('"', '""') + "'" for k in ignore_keys"""
if line in text:
    file.write_text(text.replace(line, instead))
