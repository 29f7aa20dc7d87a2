"""One file for each group of commands; each is loaded when its command is called."""
