"""An evidence pack: everything that shows what was agreed and done, in one file for strangers."""
